//! What keeps a step from being predicted.

use std::path::PathBuf;

use braidnet_comm::LaunchError;
use braidnet_grid::GridError;

use crate::TrainError;

/// An error of a prediction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// A file of costs cannot be read or written.
    #[error("{}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and key where there is one.
        reason: String,
    },
    /// Costs that do not fit together.
    #[error("costs: {problem}")]
    BadCosts {
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A step that cannot be done.
    #[error("not possible: {problem}")]
    NotPossible {
        /// Why, and what to do.
        problem: String,
    },
    /// The layers make no grid.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// An invalid schedule.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A rank of the simulation failed.
    #[error(transparent)]
    Simulation(#[from] LaunchError),
}
