//! The time grid of a layer-parallel network: integers and times, no tensors, no messages.
//!
//! A network with `N` layers is a grid with `N` steps and `N + 1` points. Point `n` is the state before
//! layer `n`, point `N` is the output, step `n` applies layer `n`. Level 0 is the finest; a coarse step
//! stands for a contiguous run of finer steps.
//!
//! - [`TimeGrid`]: the finest grid, with its times and its transitions.
//! - [`Hierarchy`] of [`Level`]s: the grid coarsened by one factor per level ([`Coarsening`]).
//! - [`Partition`]: which rank owns which layers.
//! - [`Layout`]: what one rank does on every level, and which messages that takes.
//!
//! The index legend that all crates share is in `docs/conventions.md`.

mod coarsening;
mod error;
mod hierarchy;
mod layout;
mod level;
mod partition;
mod step;
mod time_grid;

pub use coarsening::{Coarsening, LastInterval};
pub use error::GridError;
pub use hierarchy::Hierarchy;
pub use layout::{Layout, Share, Transfer, Transfers};
pub use level::Level;
pub use partition::Partition;
pub use step::{Step, StepKind};
pub use time_grid::TimeGrid;
