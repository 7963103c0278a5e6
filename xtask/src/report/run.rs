//! What a run left behind.

use std::path::Path;

use anyhow::{Result, bail};
use braidnet_monitor::metrics::{self, Epoch, Event, Probe, Record, Step};
use braidnet_monitor::timeline::{self, Trace};

/// The metrics and the timeline of a run; what is not there is empty.
#[derive(Debug, Default)]
pub struct Run {
    /// The name of its folder.
    pub name: String,
    /// What it is; the newest, if it was resumed.
    pub settings: Option<metrics::Run>,
    pub steps: Vec<Step>,
    pub probes: Vec<Probe>,
    /// Each with the step that ended it.
    pub epochs: Vec<(u64, Epoch)>,
    pub events: Vec<Event>,
    pub trace: Option<Trace>,
}

impl Run {
    /// Reads `metrics.jsonl` and `trace.json`, of which one may be absent.
    pub fn read(dir: &Path) -> Result<Self> {
        let (metrics, trace) = (dir.join("metrics.jsonl"), dir.join("trace.json"));
        if !metrics.exists() && !trace.exists() {
            bail!(
                "{}: neither metrics.jsonl nor trace.json is there; name the folder of a training run",
                dir.display()
            );
        }
        let name = dir.canonicalize()?.file_name().map_or("run".into(), |name| name.to_string_lossy().into_owned());
        let records = if metrics.exists() { metrics::read(&metrics)? } else { Vec::new() };
        let trace = if trace.exists() { Some(timeline::read(&trace)?) } else { None };
        Ok(Self { name, trace, ..Self::from_records(records) })
    }

    fn from_records(records: Vec<Record>) -> Self {
        let mut run = Self::default();
        for record in records {
            match record {
                Record::Run(settings) => run.settings = Some(settings),
                Record::Step(step) => run.steps.push(step),
                Record::Probe(probe) => run.probes.push(probe),
                Record::Epoch(epoch) => {
                    let last = run.steps.last().map_or(0, |step| step.step);
                    run.epochs.push((last, epoch));
                }
                Record::Event(event) => run.events.push(event),
                Record::Checkpoint(_) => {}
            }
        }
        run
    }
}
