//! `metrics.jsonl`: what happened in a run, one JSON object a line.
//!
//! Each line is a [`Record`]; its field `kind` says which: `run`, `step`, `probe`, `epoch`, `checkpoint`, `event`. The
//! fields are those of the structs of this module; a value that is unknown or not finite is `null`. `docs/metrics.md`
//! describes the file for those who read it with other tools.
//!
//! [`MetricsWriter`] writes a line at a time, so that a kill loses at most the line being written. [`read`] returns what
//! counts: of a run that was resumed, the steps that the resumed run did again count once.

mod reader;
mod record;
#[cfg(feature = "tensorboard")]
mod tensorboard;
mod writer;

pub use reader::read;
pub use record::{Checkpoint, Epoch, Event, Probe, RESUMED, RanksAre, Record, Run, SCHEMA, Step};
#[cfg(feature = "tensorboard")]
pub use tensorboard::TensorBoardWriter;
pub use writer::MetricsWriter;
