//! Layer-parallel training.
//!
//! [`LayerParallel`] is a network spread over the ranks of a communicator: `forward`, `loss`, `backward`. Every rank
//! calls the same things; the opening layer works on the first rank, closing layer and loss on the last. A
//! [`Schedule`] says how the two solves are done, [`LayerParallel::gradient_error`] how far the gradients are from the
//! exact ones, and an [`Optimizer`] updates each rank's own layers.
//!
//! The vocabulary that all crates share is in `docs/conventions.md`.

mod error;
mod gradient_error;
mod loss;
pub mod memory;
mod model;
mod optimizer;
mod schedule;
mod spread;

pub use error::TrainError;
pub use gradient_error::GradientError;
pub use loss::{correct, cross_entropy};
pub use model::{Backward, Forward, LayerParallel, Loss};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use schedule::{Schedule, ScheduleError, ScheduleKind, SolveConfig};
pub use spread::spread_within_runs;
