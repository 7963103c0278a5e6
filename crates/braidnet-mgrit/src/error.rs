//! What can go wrong in a solve.

use braidnet_comm::CommError;
use braidnet_grid::GridError;

/// Why a step could not be applied, in the propagator's own words.
pub type StepError = Box<dyn std::error::Error + Send + Sync>;

/// An error of the solver. Not converging is none: see [`crate::SolveReport`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MgritError {
    /// The grid, its coarsening or its partition is invalid.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// A message failed, or another rank did.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// Options that contradict themselves or each other; all problems at once.
    #[error("invalid solver options: {}", .problems.join("; "))]
    Options {
        /// One sentence per problem.
        problems: Vec<String>,
    },
    /// A step failed.
    #[error("layer {layer} failed on level {level}, rank {rank}: {source}")]
    Step {
        /// Level of the step.
        level: usize,
        /// Layer whose parameters it uses.
        layer: usize,
        /// Rank that evaluated it.
        rank: usize,
        /// The propagator's error.
        source: StepError,
    },
    /// A state has a NaN or an infinity.
    #[error(
        "the {what} of layer {layer} is not finite (level {level}, found on rank {rank}): \
         lower the learning rate or the time step, or check the input"
    )]
    NonFinite {
        /// `output`, or `input` for the state that the solve started from.
        what: &'static str,
        /// Layer whose output it is.
        layer: usize,
        /// Level, always the finest.
        level: usize,
        /// Rank that found it.
        rank: usize,
    },
    /// The rank that holds point 0 was given no initial state.
    #[error("rank {rank} holds point 0 but was given no initial state: pass it to solve on that rank")]
    NoInitialState {
        /// The rank.
        rank: usize,
    },
    /// A warm start without anything to start from.
    #[error("a warm start needs an earlier solve of the same solver: pass an initial guess the first time")]
    NothingToWarmStart,
    /// The communicator and the partition disagree.
    #[error(
        "the partition is for {partition} ranks, the communicator has {communicator}: make both for the same ranks"
    )]
    WrongSize {
        /// Ranks of the partition.
        partition: usize,
        /// Ranks of the communicator.
        communicator: usize,
    },
    /// An adjoint on a grid whose last point is not a C-point.
    #[error(
        "level {level} ends in a tail of F-points, which has no adjoint: \
         use LastInterval::Short for grids whose adjoint is solved"
    )]
    Tail {
        /// The level.
        level: usize,
    },
    /// Forward and adjoint solve were not made for the same layers.
    #[error(
        "rank {rank} owns layers {forward:?} in the forward solve and {adjoint:?} in the adjoint: use one partition for both"
    )]
    LayersDiffer {
        /// The rank.
        rank: usize,
        /// Its layers in the forward solve.
        forward: std::ops::Range<usize>,
        /// Its layers in the adjoint solve.
        adjoint: std::ops::Range<usize>,
    },
    /// A source of the adjoint at the last point or behind it.
    #[error(
        "rank {rank} was given a source of point {point}, but only points 0 to {} have one: \
         what the loss makes of the last state is lambda_end",
        .n_layers - 1
    )]
    NoSuchSource {
        /// The point.
        point: usize,
        /// Layers, and index of the last point.
        n_layers: usize,
        /// Rank that was given it.
        rank: usize,
    },
}
