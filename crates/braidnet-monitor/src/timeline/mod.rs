//! What every rank did when: spans, recorded for a few steps and written as one trace.
//!
//! The spans are those of `tracing` with the target `braidnet::timeline`. Their names are the phases of training
//! (`step`, `forward`, `relax`, `coarse solve`, `linearize`, `backward`, `pullback`, `gradients`, `send`, `wait`,
//! `all-reduce`, `optimizer`, `load`, `checkpoint`, ...), their fields what belongs to them. The training loop puts each
//! step into a span `step` with the field `step`; the chart of one step is cut along these.
//!
//! ```
//! use braidnet_comm::{Communicator, LaunchError, launch};
//! use braidnet_monitor::{MonitorError, logging, timeline};
//!
//! logging::init(Some(timeline::layer()))?;
//! # let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
//! # let dir = dir.path();
//! launch(&Default::default(), |world: Communicator| -> Result<(), MonitorError> {
//!     timeline::record(true);
//!     tracing::trace_span!(target: "braidnet::timeline", "step", step = 1).in_scope(|| "train");
//!     timeline::record(false);
//!     timeline::write(dir, &world)?; // DIR/trace.json, for https://ui.perfetto.dev
//!     Ok(())
//! })?;
//! assert_eq!(timeline::read(dir.join("trace.json"))?.events.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cost
//! Off, as it is at first, a span costs one comparison, some nanoseconds: `tracing` is told that nobody wants it. On, it
//! costs about a microsecond: two readings of the clock, its fields, and an entry in a buffer of its thread. Buffers hold
//! 2,000,000 spans per process together; what comes after is counted and reported by [`write()`].

mod clock;
mod layer;
mod recorder;
mod trace;
mod write;

pub use layer::{TimelineLayer, layer};
pub use recorder::record;
pub use trace::{Event, Trace, read};
pub use write::write;

/// The target of the spans that the timeline records.
pub const TARGET: &str = "braidnet::timeline";
