//! What a training step will take on a machine that need not be there.
//!
//! [`predict`] runs a step on [virtual clocks](braidnet_comm::simulate): the solver, the all-reduce and the order of the pipeline are the
//! code that trains, on states that have a size and layers that take time. What they take is a table, [`Costs`]:
//! [`LayerParallel::measure_costs`](crate::LayerParallel::measure_costs) measures it, a [`MachineFile`] keeps it, or a person states it as an
//! assumption. [`propose`] tries schedules and splits of the ranks, and sorts them by time.
//!
//! A step is one that all ranks begin at the same time, as after a barrier, and that ends when the last of them has updated its
//! parameters. Reading samples, metrics and checkpoints are not in it; nor is what the system does besides.

mod costs;
mod error;
mod ghost;
mod machine;
mod measure;
pub(crate) mod memory;
mod network;
mod prediction;
mod propose;
mod reducer;
mod step;
mod times;

pub use costs::{CoarseCosts, Costs, EndCosts, LayerCosts, SharedCosts, StateCosts};
pub use error::PredictError;
pub use machine::{Link, Machine, MachineFile};
pub(crate) use measure::{Measured, Op};
pub use measure::{Measuring, measure_links};
pub use prediction::{Prediction, RankPrediction, Setup, predict};
pub use propose::{Kind, Proposal, Search, propose};
pub use times::Times;
