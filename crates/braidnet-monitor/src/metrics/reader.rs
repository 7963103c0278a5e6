//! Reading records.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::record::{RESUMED, Record, SCHEMA};
use crate::MonitorError;

/// Reads `metrics.jsonl` and returns the records that count, in the order of the file.
///
/// Where the run was resumed from a step, what was recorded of later steps before is dropped, also the epochs that ended
/// later. Of several records of one step, or of one epoch, the last counts. A torn last line is ignored.
///
/// # Errors
/// [`MonitorError::Io`]; [`MonitorError::MalformedRecord`] for any other line that is no record;
/// [`MonitorError::NewerSchema`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Record>, MonitorError> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(MonitorError::io("read", path))?;
    let mut history = History::default();
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    for (index, line) in lines.iter().enumerate() {
        // What follows the last line break is empty, or a line that a kill may have torn.
        let may_be_torn = index + 1 == lines.len();
        if line.is_empty() && may_be_torn {
            break;
        }
        match serde_json::from_slice(line) {
            Ok(Record::Run(run)) if run.schema > SCHEMA => {
                let path = path.to_owned();
                return Err(MonitorError::NewerSchema { path, line: index + 1, schema: run.schema, known: SCHEMA });
            }
            Ok(record) => history.add(record),
            Err(_) if may_be_torn => {}
            Err(error) => {
                let (path, reason) = (path.to_owned(), error.to_string());
                return Err(MonitorError::MalformedRecord { path, line: index + 1, reason });
            }
        }
    }
    Ok(history.finish())
}

/// The records so far, each with the step it belongs to.
#[derive(Default)]
struct History {
    records: Vec<(u64, Record)>,
    /// The newest step done, for records that name none.
    step: u64,
}

impl History {
    fn add(&mut self, record: Record) {
        let step = match &record {
            Record::Run(run) => {
                if let Some(step) = run.resumed_from {
                    self.go_back_to(step);
                }
                self.step
            }
            Record::Step(step) => {
                self.step = step.step;
                step.step
            }
            Record::Epoch(_) => self.step,
            Record::Probe(probe) => probe.step,
            Record::Checkpoint(checkpoint) => checkpoint.step,
            Record::Event(event) => {
                if event.what == RESUMED {
                    self.go_back_to(event.step);
                }
                event.step
            }
        };
        self.records.push((step, record));
    }

    /// Drops what happened after `step`; what the run is stays.
    fn go_back_to(&mut self, step: u64) {
        self.records.retain(|(at, record)| *at <= step || matches!(record, Record::Run(_)));
        self.step = self.step.min(step);
    }

    fn finish(self) -> Vec<Record> {
        let mut last = HashMap::new();
        for (index, (_, record)) in self.records.iter().enumerate() {
            last.extend(number(record).map(|number| (number, index)));
        }
        let counts = |(index, (_, record)): (usize, (u64, Record))| {
            let is_last = number(&record).is_none_or(|number| last.get(&number) == Some(&index));
            is_last.then_some(record)
        };
        self.records.into_iter().enumerate().filter_map(counts).collect()
    }
}

/// What a record is the only one of: its step, or its epoch.
fn number(record: &Record) -> Option<(&'static str, u64)> {
    match record {
        Record::Step(step) => Some(("step", step.step)),
        Record::Epoch(epoch) => Some(("epoch", epoch.epoch)),
        _ => None,
    }
}
