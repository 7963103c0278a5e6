//! The trace: events in the trace-event format that Perfetto and Chrome read.
//!
//! Spans are events of phase `X` with start `ts` and duration `dur` in microseconds; a rank is a process `pid`, a thread
//! of it a `tid`; events of phase `M` name and order them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::recorder::Taken;
use crate::MonitorError;

/// A span of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The phase of training.
    pub name: String,
    /// The rank.
    pub rank: usize,
    /// The thread; numbers are those of one process.
    pub thread: usize,
    /// When it began. The first span of the trace began at 0.
    pub start_ns: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// The fields of the span.
    pub args: Map<String, Value>,
}

/// A trace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace {
    /// The spans, by rank, and on each by start, outer before inner.
    pub events: Vec<Event>,
    /// The name of each rank's threads.
    pub threads: BTreeMap<(usize, usize), String>,
    /// The spans that found no room.
    pub n_dropped: u64,
}

/// An event as it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    cat: String,
    ph: String,
    pid: usize,
    #[serde(default)]
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    #[serde(default)]
    args: Map<String, Value>,
}

/// The file around the events.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    trace_events: Vec<Entry>,
    #[serde(default)]
    other_data: OtherData,
}

/// What the format leaves to the writer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct OtherData {
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub dropped: u64,
}

/// The events of one rank as elements of a JSON array, one a line; at least one. `shift_ns` is added to every start.
pub fn render(rank: usize, taken: Taken, shift_ns: i64) -> serde_json::Result<String> {
    let mut entries = vec![
        metadata("process_name", rank, 0, "name", format!("rank {rank}")),
        metadata("process_sort_index", rank, 0, "sort_index", rank),
    ];
    entries.extend(taken.threads.into_iter().map(|(id, name)| metadata("thread_name", rank, id, "name", name)));
    entries.extend(taken.events.into_iter().map(|event| Entry {
        name: event.name.to_owned(),
        cat: "braidnet".to_owned(),
        ph: "X".to_owned(),
        pid: rank,
        tid: event.thread,
        ts: Some(microseconds((event.start_ns as i64 + shift_ns).max(0) as u64)),
        dur: Some(microseconds(event.duration_ns)),
        args: event.args.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }));
    let lines: Result<Vec<_>, _> = entries.iter().map(serde_json::to_string).collect();
    Ok(lines?.join(",\n"))
}

fn metadata(name: &str, pid: usize, tid: usize, key: &str, value: impl Into<Value>) -> Entry {
    let args = Map::from_iter([(key.to_owned(), value.into())]);
    Entry {
        name: name.to_owned(),
        cat: "__metadata".to_owned(),
        ph: "M".to_owned(),
        pid,
        tid,
        ts: None,
        dur: None,
        args,
    }
}

fn microseconds(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// Reads a trace that [`write`](super::write()) wrote.
///
/// # Errors
/// [`MonitorError::Io`], [`MonitorError::MalformedTrace`].
pub fn read(path: impl AsRef<Path>) -> Result<Trace, MonitorError> {
    let path = path.as_ref();
    let malformed = |reason: String| MonitorError::MalformedTrace { path: path.to_owned(), reason };
    let file = File::open(path).map_err(MonitorError::io("read", path))?;
    let document: Document = serde_json::from_reader(BufReader::new(file)).map_err(|e| malformed(e.to_string()))?;
    let mut trace = Trace { n_dropped: document.other_data.dropped, ..Trace::default() };
    for entry in document.trace_events {
        match (entry.ph.as_str(), entry.name.as_str()) {
            ("X", _) => trace.events.push(event(entry).map_err(malformed)?),
            ("M", "thread_name") => {
                if let Some(Value::String(name)) = entry.args.get("name") {
                    trace.threads.insert((entry.pid, entry.tid), name.clone());
                }
            }
            _ => {}
        }
    }
    trace.events.sort_by_key(|event| (event.rank, event.start_ns, u64::MAX - event.duration_ns));
    Ok(trace)
}

fn event(entry: Entry) -> Result<Event, String> {
    let time = |what: &str, value: Option<f64>| match value {
        Some(value) if value.is_finite() && value >= 0.0 => Ok((value * 1000.0).round() as u64),
        _ => Err(format!("the event `{}` has no {what}", entry.name)),
    };
    let (start_ns, duration_ns) = (time("start `ts`", entry.ts)?, time("duration `dur`", entry.dur)?);
    let Entry { name, pid: rank, tid: thread, args, .. } = entry;
    Ok(Event { name, rank, thread, start_ns, duration_ns, args })
}
