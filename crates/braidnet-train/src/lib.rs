//! Layer-parallel training.
//!
//! [`LayerParallel`] is a network spread over the ranks of a communicator: `forward`, `loss`, `backward`. Every rank
//! calls the same things; the opening layer works on the first rank, closing layer and loss on the last. A
//! [`Schedule`] says how the two solves are done, [`LayerParallel::gradient_error`] how far the gradients are from the
//! exact ones, and an [`Optimizer`] updates each rank's own layers.
//!
//! The vocabulary that all crates share is in `docs/conventions.md`.

pub mod data;
mod error;
mod gradient_error;
mod learning_rate;
mod loss;
pub mod memory;
mod model;
mod norm;
mod optimizer;
mod pipeline;
mod reducer;
mod schedule;
mod snapshot;
mod spread;
mod step;
pub mod trainer;

pub use braidnet_mgrit::Activations;
pub use error::TrainError;
pub use gradient_error::GradientError;
pub use learning_rate::{Decay, LearningRate};
pub use loss::{correct, cross_entropy};
pub use model::{Backward, Forward, LayerParallel, Loss};
pub use norm::{clip, gradient_norm};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use reducer::GradientReducer;
pub use schedule::{MicroBatching, Schedule, ScheduleError, ScheduleKind, SolveConfig};
pub use spread::spread_within_runs;
pub use step::{Forwarded, Shard, StepReport, Task};
pub use trainer::probe::Probe;
pub use trainer::{Trainer, TrainerConfig};
