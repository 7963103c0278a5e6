//! What the benches share: networks, batches and training steps of the sizes that are compared.
//!
//! - A [`Case`] names a network and its batch; [`Case::visit`] does something with it as a [`Built`], which makes it on any ranks.
//! - A [`Way`] is how a training step is done, a [`Variant`] a way on so many ranks and what was measured of it. A [`Preset`] is a
//!   list of them.
//! - [`compare`] is all of a bench: [`time_in_turns`], [`measure_errors`] and [`train`] measure, [`report`] prints and writes it.
//!
//! `cargo bench -p benches` runs all benches on threads; under `mpirun -n 2`, with `--features mpi`, those of training steps measure
//! processes instead. Compare ratios of one run: absolute times depend on the machine and on what else it does.

mod built;
mod case;
mod compare;
mod floor;
pub mod layers;
mod parameters;
mod presets;
mod record;
pub mod samples;
mod step;
mod variants;
mod way;

pub use built::{Batch, Built, SamplesFn};
pub use case::{Case, CaseError, RUN, Visit};
pub use compare::{CompareArgs, compare, on_ranks, own_device};
pub use floor::{Rates, Work};
pub use parameters::Parameters;
pub use presets::{Group, Preset};
pub use record::{device_name, kind_of_ranks, report};
pub use variants::{At, Errors, StepTime, Variant, measure_errors, time_in_turns, train};
pub use way::{Way, WayError};

/// Samples of a batch of images.
pub const BATCH: usize = 50;
