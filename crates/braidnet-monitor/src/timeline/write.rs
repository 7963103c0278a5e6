//! Writing one trace of all ranks.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use braidnet_comm::{Communicator, ReduceOp, thread_rank};

use super::clock::{Alignment, align};
use super::recorder::{Taken, take};
use super::trace::{OtherData, render};
use crate::MonitorError;
use crate::file::write_whole;

/// Writes the spans recorded since the last call to `DIR/trace.json`, on rank 0; it replaces a file that is there.
///
/// Times are on rank 0's clock; other processes' clocks are compared with it by messages back and forth. Spans that are
/// still open are left for the next call.
///
/// # Errors
/// [`MonitorError::Comm`], and on rank 0 [`MonitorError::Io`].
///
/// # Communication
/// Collective over the world: every rank calls it. An all-gather, an all-reduce and a gather, and 41 messages between
/// rank 0 and each other process, with the last tag that users have; nothing may be under way with that tag.
pub fn write(dir: impl AsRef<Path>, world: &Communicator) -> Result<(), MonitorError> {
    let dir = dir.as_ref();
    let alignment = align(world)?;
    let taken = take(thread_rank(), alignment.is_first);
    let (first_ns, n_dropped) = survey(world, &taken, alignment)?;
    let rank = thread_rank().unwrap_or(world.rank());
    let text = render(rank, taken, alignment.offset_ns - first_ns).map_err(io::Error::from);
    let text = text.map_err(MonitorError::io("encode the spans for", dir))?;
    let Some(parts) = world.gather(0, text, &())? else { return Ok(()) };
    if n_dropped > 0 {
        tracing::warn!("the timeline is cut short: {n_dropped} spans found no room; record fewer steps");
    }
    write_file(dir, &parts, n_dropped)
}

/// When the first span of all ranks began, on rank 0's clock, and how many spans found no room.
fn survey(world: &Communicator, taken: &Taken, alignment: Alignment) -> Result<(i64, u64), MonitorError> {
    // As a float, for which there is a minimum over ranks: exact to the nanosecond for three months.
    let own = taken.events.first().map(|event| (event.start_ns as i64 + alignment.offset_ns) as f64);
    let mut first = [own.unwrap_or(f64::INFINITY)];
    world.all_reduce(&mut first, ReduceOp::Min)?;
    let mut n_dropped = [taken.n_dropped];
    world.all_reduce(&mut n_dropped, ReduceOp::Sum)?;
    Ok((if first[0].is_finite() { first[0] as i64 } else { 0 }, n_dropped[0]))
}

fn write_file(dir: &Path, parts: &[String], dropped: u64) -> Result<(), MonitorError> {
    fs::create_dir_all(dir).map_err(MonitorError::io("create the folder", dir))?;
    let other = OtherData { version: env!("CARGO_PKG_VERSION").to_owned(), dropped };
    write_whole(&dir.join("trace.json"), |out| {
        let other = serde_json::to_string(&other)?;
        writeln!(out, r#"{{"displayTimeUnit":"ms","otherData":{other},"traceEvents":["#)?;
        for (rank, part) in parts.iter().enumerate() {
            let end = if rank + 1 == parts.len() { "\n" } else { ",\n" };
            write!(out, "{part}{end}")?;
        }
        writeln!(out, "]}}")
    })
}
