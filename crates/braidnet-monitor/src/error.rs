//! What can go wrong with metrics, logs and timelines.

use std::io;
use std::path::{Path, PathBuf};

use braidnet_comm::CommError;

/// An error of metrics, logs or timelines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// A file could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A line that is no record, other than a torn last one.
    #[error("{}, line {line}: not a record of a training run ({reason}); correct or remove the line", path.display())]
    MalformedRecord {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A line that is no measurement.
    #[error("{}, line {line}: not a measurement of a bench ({reason}); correct or remove the line", path.display())]
    MalformedMeasurement {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Records of a later version.
    #[error(
        "{}, line {line}: schema {schema}, written by a newer braidnet; this one reads up to schema {known}, upgrade it",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The schema of the file.
        schema: u32,
        /// The newest schema known.
        known: u32,
    },
    /// A file that is no timeline.
    #[error("{}: not a timeline of a training run ({reason}); record it again", path.display())]
    MalformedTrace {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `LOG_RANK` is not understood.
    #[error("LOG_RANK is `{value}`; set it to `all`, a rank as `0`, or several as `0,2`")]
    BadLogRank {
        /// Its value.
        value: String,
    },
    /// `RUST_LOG` is not understood.
    #[error("RUST_LOG is `{value}` ({reason}); set it to levels as `info` or `warn,braidnet=debug`")]
    BadLogFilter {
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process has a logger already.
    #[error("logging was already started in this process; call `logging::init` once, at the start of the program")]
    LoggingStarted,
    /// A message between ranks failed.
    #[error(transparent)]
    Comm(#[from] CommError),
}

impl MonitorError {
    /// Names the file of an input or output error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
