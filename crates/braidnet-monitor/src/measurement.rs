//! Measurements of benches: one JSON object a line, appended by every program that measures, read by who compares.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::MonitorError;

/// What a bench measured of one variant of one case.
///
/// On reading, unknown keys are ignored and missing optional ones are `None`, so that older and newer files can be
/// compared. Errors are relative: 0.01 is one per cent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Measurement {
    /// The program that measured: `study`, `layer`, ...
    pub bench: String,
    /// What was measured: a network and its size, as `conv:36x3@50`.
    pub case: String,
    /// How it was computed: a schedule, a number of threads.
    pub variant: String,
    /// Whose code was measured.
    pub by: Framework,
    /// The number of ranks; of PyTorch, of threads.
    pub ranks: usize,
    /// What carries messages between ranks.
    pub transport: Transport,
    /// Where it ran: `cpu`, or a GPU with its name, as `cuda:0 (NVIDIA H200)`.
    pub device: String,
    /// The time of one repetition; `None` where none was taken, as with [`count`](Self::count).
    #[serde(default)]
    pub seconds: Option<Seconds>,
    /// The part of the time that ranks wait for each other, mean over ranks, 0 to 1.
    #[serde(default)]
    pub waiting: Option<f64>,
    /// The relative error of the gradient at the initial parameters.
    #[serde(default)]
    pub gradient_error: Option<f64>,
    /// The relative error of the gradient after some training.
    #[serde(default)]
    pub gradient_error_trained: Option<f64>,
    /// The relative error of the last state at the initial parameters.
    #[serde(default)]
    pub state_error: Option<f64>,
    /// The most memory that the process held at a time, in bytes.
    #[serde(default)]
    pub peak_bytes: Option<u64>,
    /// The time of one repetition that the model of costs predicts, in seconds.
    #[serde(default)]
    pub predicted: Option<f64>,
    /// Instructions executed, where these are counted in place of time.
    #[serde(default)]
    pub count: Option<u64>,
    /// Kernels that one repetition starts on GPUs.
    #[serde(default)]
    pub launches: Option<u64>,
    /// Those of them that only move values.
    #[serde(default)]
    pub copies: Option<u64>,
    /// The least time of one repetition that the device's memory and arithmetic allow, in seconds.
    #[serde(default)]
    pub floor: Option<f64>,
}

/// How long `n` repetitions took each, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Seconds {
    /// A tenth of the repetitions took less.
    pub first_decile: f64,
    /// Half of them took less.
    pub median: f64,
    /// A tenth of them took more.
    pub last_decile: f64,
    /// The number of repetitions.
    pub n: usize,
}

impl Seconds {
    /// Deciles of the times of all repetitions, in seconds, in any order; `None` if there are none.
    pub fn of(times: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut times: Vec<f64> = times.into_iter().collect();
        times.sort_by(f64::total_cmp);
        let decile = |tenths: usize| times.get(tenths * times.len() / 10).copied();
        Some(Self { first_decile: decile(1)?, median: decile(5)?, last_decile: decile(9)?, n: times.len() })
    }
}

/// Whose code was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framework {
    /// This one.
    #[default]
    Braidnet,
    /// PyTorch, as the peer to compare with.
    PyTorch,
}

/// What carries messages between ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Transport {
    /// Ranks are threads of one process.
    #[serde(rename = "threads")]
    Threads,
    /// Ranks are processes of an MPI job.
    #[serde(rename = "MPI")]
    Mpi,
    /// There are no ranks.
    #[default]
    #[serde(rename = "none")]
    None,
}

impl Measurement {
    /// Appends this measurement to a file, as one line; begins the file, and its folder, if need be.
    ///
    /// Numbers that are not finite are written as `null`, which only optional ones are read back from.
    ///
    /// # Errors
    /// [`MonitorError::Io`].
    pub fn append(&self, path: impl AsRef<Path>) -> Result<(), MonitorError> {
        let path = path.as_ref();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(MonitorError::io("create the folder", folder))?;
        }
        let written = serde_json::to_string(self).map_err(Into::into).and_then(|line| {
            // In one write: programs may append to the same file at the same time.
            File::options().create(true).append(true).open(path)?.write_all((line + "\n").as_bytes())
        });
        written.map_err(MonitorError::io("append to", path))
    }

    /// Reads all measurements of a file, in its order; empty lines are ignored.
    ///
    /// # Errors
    /// [`MonitorError::Io`]; [`MonitorError::MalformedMeasurement`] for a line that is no measurement.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>, MonitorError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(MonitorError::io("read", path))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let parsed = lines.map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| MonitorError::MalformedMeasurement {
                path: path.to_owned(),
                line: index + 1,
                reason: error.to_string(),
            })
        });
        parsed.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = r#"{"bench":"study","case":"conv:36x3@50","variant":"sequential","by":"braidnet","ranks":2,"transport":"MPI","device":"cpu","seconds":{"first_decile":0.1,"median":0.2,"last_decile":0.3,"n":30},"waiting":0.12,"gradient_error":null,"gradient_error_trained":null,"state_error":null,"peak_bytes":null,"predicted":null,"count":null,"launches":null,"copies":null,"floor":null}"#;

    fn study() -> Measurement {
        Measurement {
            bench: "study".into(),
            case: "conv:36x3@50".into(),
            variant: "sequential".into(),
            ranks: 2,
            transport: Transport::Mpi,
            device: "cpu".into(),
            seconds: Some(Seconds { first_decile: 0.1, median: 0.2, last_decile: 0.3, n: 30 }),
            waiting: Some(0.12),
            ..Measurement::default()
        }
    }

    #[test]
    fn lines_look_as_documented() {
        assert_eq!(serde_json::to_string(&study()).unwrap(), LINE);
        let peer = LINE.replace(r#""braidnet""#, r#""pytorch""#).replace(r#""MPI""#, r#""none""#);
        let read: Measurement = serde_json::from_str(&peer).unwrap();
        assert_eq!((read.by, read.transport), (Framework::PyTorch, Transport::None));
    }

    #[test]
    fn keys_may_be_missing_or_unknown() {
        let short = r#"{"bench":"points","case":"a","variant":"b","by":"braidnet","ranks":1,"transport":"none",
            "device":"cpu","count":7,"colour":"red"}"#;
        let read: Measurement = serde_json::from_str(short).unwrap();
        assert_eq!((read.count, read.seconds, read.waiting), (Some(7), None, None));
        let error = serde_json::from_str::<Measurement>(&short.replace(r#""ranks":1,"#, "")).unwrap_err();
        assert!(error.to_string().contains("`ranks`"), "{error}");
    }

    #[test]
    fn broken_lines_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/study.jsonl");
        study().append(&path).unwrap();
        fs::write(&path, format!("{LINE}\n\n{}\n", &LINE[..40])).unwrap();
        let error = Measurement::read(&path).unwrap_err();
        assert!(matches!(error, MonitorError::MalformedMeasurement { line: 3, .. }), "{error}");
        assert!(error.to_string().contains("study.jsonl, line 3: not a measurement"), "{error}");
        let error = Measurement::read(folder.path().join("none")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read ") && error.contains("none"), "{error}");
    }

    #[test]
    fn deciles_are_of_sorted_times() {
        let seconds = Seconds::of((1..=10).rev().map(f64::from)).unwrap();
        assert_eq!((seconds.first_decile, seconds.median, seconds.last_decile, seconds.n), (2.0, 6.0, 10.0, 10));
        assert_eq!(Seconds::of([7.0]).unwrap().last_decile, 7.0);
        assert_eq!(Seconds::of([]), None);
    }

    proptest! {
        #[test]
        fn what_was_appended_is_read(medians in prop::collection::vec(0.0f64..1e9, 0..5), count in any::<Option<u64>>()) {
            let path = tempfile::tempdir().unwrap().keep().join("m.jsonl");
            let all: Vec<_> = medians.iter().map(|&median| Measurement {
                seconds: Seconds::of([median]),
                gradient_error: Some(median / 3.0),
                count,
                ..study()
            }).collect();
            all.iter().for_each(|one| one.append(&path).unwrap());
            let read = if all.is_empty() { Vec::new() } else { Measurement::read(&path).unwrap() };
            fs::remove_dir_all(path.parent().unwrap()).unwrap();
            prop_assert_eq!(read, all);
        }
    }
}
