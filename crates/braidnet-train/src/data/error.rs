//! What can go wrong in loading data.

use std::{error::Error, io};

/// An error of loading data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A number that must not be 0.
    #[error("the number of {what} is 0: use at least 1")]
    Zero {
        /// Of what.
        what: &'static str,
    },
    /// A data rank that does not exist.
    #[error("data rank {data_rank} of {data_ranks}: data ranks count from 0")]
    NoSuchDataRank {
        /// The rank.
        data_rank: usize,
        /// How many there are.
        data_ranks: usize,
    },
    /// A place behind the end of the epoch.
    #[error("position {position} in an epoch of {n} samples: the data is not what the run was started with")]
    PositionPastEnd {
        /// The position.
        position: usize,
        /// Samples in the epoch.
        n: usize,
    },
    /// A source of the wrong length.
    #[error("{got} {what} for an epoch of {expected} samples: give as many inputs as targets")]
    WrongLength {
        /// Inputs or targets.
        what: &'static str,
        /// Samples in the epoch.
        expected: usize,
        /// Samples in the source.
        got: usize,
    },
    /// A sample could not be had.
    #[error("cannot read sample {index}: {source}")]
    Sample {
        /// Which one, from 0, as stored or as streamed.
        index: usize,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A stream that ends early.
    #[error("the stream ends after {got} samples, but was said to have {expected}: correct the length")]
    StreamTooShort {
        /// The length given.
        expected: usize,
        /// Samples that came.
        got: usize,
    },
    /// A stream that goes on too long.
    #[error("the stream has at least {at_least} samples, but was said to have {expected}: correct the length")]
    StreamTooLong {
        /// The length given.
        expected: usize,
        /// Samples that came.
        at_least: usize,
    },
    /// More samples were asked for than are left.
    #[error("{wanted} samples asked for where the epoch has {left} left: cut the epoch by the length of the source")]
    PastEnd {
        /// Samples asked for.
        wanted: usize,
        /// Samples left.
        left: usize,
    },
    /// A reader gave a number of samples that was not asked for.
    #[error("the reader of a source gave {got} samples where {expected} were asked for: correct its `read`")]
    WrongCount {
        /// Samples asked for.
        expected: usize,
        /// Samples that came.
        got: usize,
    },
    /// The loader's thread could not be started.
    #[error("cannot start the loader's thread: {0}")]
    Thread(#[source] io::Error),
    /// The source, or what makes a batch of its samples, panicked.
    #[error("the loader panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// A step could not be loaded.
    #[error("cannot load the step at sample {position} of the epoch: {source}")]
    Step {
        /// Samples of the epoch before the step.
        position: usize,
        /// Why.
        source: Box<LoadError>,
    },
}
