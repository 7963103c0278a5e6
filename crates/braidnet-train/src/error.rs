//! What can go wrong in training.

use braidnet_comm::CommError;
use braidnet_grid::GridError;
use braidnet_mgrit::MgritError;
use braidnet_nn::NetworkError;

use crate::ScheduleError;

/// An error of training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A message failed, or another rank did.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// A grid or partition is invalid.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// A solve failed.
    #[error(transparent)]
    Solve(#[from] MgritError),
    /// The network is invalid.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The schedule is invalid.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The first rank was given no input.
    #[error("rank {rank} has the opening layer but was given no input: pass the batch on the first layer rank")]
    NoInput {
        /// The rank.
        rank: usize,
    },
    /// A batch without samples.
    #[error("a batch of 0 samples: use at least 1")]
    EmptyBatch,
    /// A loss that is no finite number.
    #[error("the loss is {loss}: lower the learning rate, or check the input")]
    LossNotFinite {
        /// The loss.
        loss: f64,
    },
    /// An optimizer setting that is no usable number.
    #[error("the {what} is {value}: use {remedy}")]
    BadSetting {
        /// Name of the setting.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What to use.
        remedy: &'static str,
    },
}
