//! Layer-parallel training.
//!
//! [`Trainer`] is the loop as users of other frameworks know it: [`Trainer::fit`] with progress, metrics, checkpoints and
//! a controlled end. It is made of pieces that can be used without it:
//!
//! - [`LayerParallel`] is a network spread over the layer axis: `forward`, `loss`, `backward`. Every rank calls the same
//!   things; the opening layer works on the first rank, closing layer and loss on the last.
//! - A [`Schedule`] says how the two solves are done, what is kept between them, and whether micro-batches go in turn or
//!   as a pipeline; [`LayerParallel::gradient_error`] says how far the gradients are from the exact ones. An [`InitialGuess`], or one given
//!   by [`LayerParallel::set_guess`], is what solves begin with.
//! - [`Schedule::partition`] says which rank gets which layers; a [`Balance`] goes by what [`LayerParallel::layer_costs`] measures.
//! - [`control`] chooses a more exact schedule where the solves converge badly, or a cheaper one where that would do.
//! - [`LayerParallel::train_step`] forms the gradients of a shard of a global batch, which a [`GradientReducer`] sums over
//!   micro-batches and over the data axis. A [`Task`] has the loss, a mean over samples or over tokens; [`sum_copies`] makes copies of
//!   a parameter one, [`Continuity`] holds layers together.
//! - An [`Optimizer`] updates each rank's own layers, at the rates of a [`LearningRate`], and their running statistics.
//! - [`data`] gives each rank its part of the samples.
//! - [`predict`](mod@predict) says beforehand what a step will take on ranks that need not be there.
//!
//! `docs/training.md` is the guide for users; the vocabulary that all crates share is in `docs/conventions.md`.

mod balance;
mod continuity;
pub mod control;
mod copies;
pub mod data;
mod decode;
mod error;
mod forward;
mod gradient_error;
mod guess;
mod learning_rate;
mod loss;
pub mod memory;
mod model;
mod norm;
mod optimizer;
mod pipeline;
mod precision;
pub mod predict;
mod reading;
mod reducer;
mod schedule;
mod shortage;
mod snapshot;
mod solvers;
mod spread;
mod step;
pub mod trainer;
mod working;

pub use balance::Balance;
pub use braidnet_mgrit::Activations;
pub use continuity::Continuity;
pub use copies::sum_copies;
pub use decode::Decoding;
pub use error::TrainError;
pub use forward::{Backward, Forward, Loss};
pub use gradient_error::GradientError;
pub use guess::{GivenGuess, InitialGuess};
pub use learning_rate::{Decay, LearningRate};
pub use loss::{correct, cross_entropy, masked_cross_entropy};
pub use model::LayerParallel;
pub use norm::{clip, gradient_norm};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use precision::{CastState, Precision};
pub use reducer::GradientReducer;
pub use schedule::{MicroBatching, Schedule, ScheduleError, ScheduleKind, SolveConfig};
pub use shortage::Shortage;
pub use spread::spread_within_runs;
pub use step::{Forwarded, Shard, StepReport, Task};
pub use trainer::probe::Probe;
pub use trainer::{Trainer, TrainerConfig};
