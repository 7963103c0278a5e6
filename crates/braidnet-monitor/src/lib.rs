//! What a training run tells while it runs, and leaves behind.
//!
//! | module | what |
//! |---|---|
//! | [`metrics`] | `metrics.jsonl`: one record a line, and event files for TensorBoard |
//! | [`logging`] | log lines on stderr, each with its rank |
//! | [`Measurement`] | what a bench measured, one record a line |
//! | [`timeline`] | what every rank did when, as one trace for Perfetto |
//!
//! Nothing here knows tensors or layers: the training loop brings numbers and opens spans. `docs/metrics.md` describes
//! the files for those who read them with other tools.

mod error;
mod file;
pub mod logging;
mod measurement;
pub mod metrics;
pub mod timeline;

pub use error::MonitorError;
pub use measurement::{Framework, Measurement, Seconds, Transport};
