//! The results of a suite: what was measured, and on what.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use braidnet_monitor::{Framework, Measurement, Seconds, Transport};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::ratios::is_on_cpu;

/// Everything that a suite leaves.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Results {
    /// The suite's name.
    pub suite: String,
    /// Where it ran.
    pub machine: Machine,
    /// What was left out, and why.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What was measured.
    pub measurements: Vec<Measurement>,
}

impl Results {
    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, or holds no results.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let results: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} does not hold the results of a bench", path.display()))?;
        ensure!(!results.measurements.is_empty(), "{} holds no measurements", path.display());
        Ok(results)
    }

    /// Writes one JSON file.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The cases, each once, in the order measured.
    pub fn cases(&self) -> Vec<(&str, &str)> {
        let mut cases = Vec::new();
        for one in &self.measurements {
            let case = (one.bench.as_str(), one.case.as_str());
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        cases
    }

    /// The measurements of one bench of one case.
    pub fn of_case(&self, (bench, case): (&str, &str)) -> Vec<&Measurement> {
        self.measurements.iter().filter(|one| one.bench == bench && one.case == case).collect()
    }
}

/// What tells one measurement from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key<'a> {
    bench: &'a str,
    case: &'a str,
    variant: &'a str,
    by: Framework,
    ranks: usize,
    transport: Transport,
    device: &'a str,
    place: String,
}

impl<'a> Key<'a> {
    /// That of a measurement.
    pub fn of(one: &'a Measurement) -> Self {
        let Measurement { bench, case, variant, by, ranks, transport, device, .. } = one;
        Self { bench, case, variant, by: *by, ranks: *ranks, transport: *transport, device, place: place(one) }
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}, {}", self.bench, self.case, self.variant, self.place)
    }
}

/// Whose code, on what: `2 ranks`, `4 ranks (MPI)`, `PyTorch, 1 thread`, and on a GPU `PyTorch`.
pub fn place(one: &Measurement) -> String {
    let ranks = one.ranks;
    let plural = if ranks == 1 { "" } else { "s" };
    match (one.by, one.transport) {
        (Framework::PyTorch, _) if !is_on_cpu(one) => "PyTorch".to_owned(),
        (Framework::PyTorch, _) => format!("PyTorch, {ranks} thread{plural}"),
        (Framework::Braidnet, Transport::Mpi) => format!("{ranks} rank{plural} (MPI)"),
        (Framework::Braidnet, Transport::Threads | Transport::None) => format!("{ranks} rank{plural}"),
    }
}

/// Measurements of the same thing as one, in the order first measured.
///
/// The median is that of the medians; the deciles are the least and the greatest, because what changes from one start to
/// the next is spread too. Waiting is the mean; errors, launches and the floor are the last ones; of memory the most counts.
pub fn merge(measurements: Vec<Measurement>) -> Vec<Measurement> {
    let mut groups: Vec<Vec<Measurement>> = Vec::new();
    for one in measurements {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| Key::of(first) == Key::of(&one))) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups.into_iter().filter_map(merge_group).collect()
}

fn merge_group(group: Vec<Measurement>) -> Option<Measurement> {
    let last_of = |value: fn(&Measurement) -> Option<f64>| group.iter().rev().find_map(value);
    let waiting: Vec<f64> = group.iter().filter_map(|one| one.waiting).collect();
    let merged = Measurement {
        seconds: merge_seconds(&group),
        waiting: (!waiting.is_empty()).then(|| waiting.iter().sum::<f64>() / waiting.len() as f64),
        gradient_error: last_of(|one| one.gradient_error),
        gradient_error_trained: last_of(|one| one.gradient_error_trained),
        state_error: last_of(|one| one.state_error),
        predicted: last_of(|one| one.predicted),
        peak_bytes: group.iter().filter_map(|one| one.peak_bytes).max(),
        count: group.iter().rev().find_map(|one| one.count),
        launches: group.iter().rev().find_map(|one| one.launches),
        copies: group.iter().rev().find_map(|one| one.copies),
        floor: last_of(|one| one.floor),
        ..group.last()?.clone()
    };
    Some(merged)
}

fn merge_seconds(group: &[Measurement]) -> Option<Seconds> {
    let all: Vec<Seconds> = group.iter().filter_map(|one| one.seconds).collect();
    Some(Seconds {
        first_decile: all.iter().map(|one| one.first_decile).reduce(f64::min)?,
        median: middle(all.iter().map(|one| one.median).collect())?,
        last_decile: all.iter().map(|one| one.last_decile).reduce(f64::max)?,
        n: all.iter().map(|one| one.n).sum(),
    })
}

/// The middle value, or the mean of the middle two: there are few.
fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = values.len().checked_sub(1)? / 2;
    Some((values.get(lower)? + values.get(upper)?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{measured, timed};
    use super::*;

    #[test]
    fn repeats_become_one() {
        let repeat = |median, waiting| Measurement { waiting, ..timed("lp:2/4/1/1", 2, median) };
        let merged =
            merge(vec![repeat(0.3, Some(0.1)), timed("seq", 1, 0.5), repeat(0.1, None), repeat(0.2, Some(0.3))]);
        assert_eq!(merged.len(), 2);
        let seconds = merged[0].seconds.unwrap();
        assert_eq!((seconds.median, seconds.n), (0.2, 30));
        assert!((seconds.first_decile - 0.09).abs() < 1e-12 && (seconds.last_decile - 0.33).abs() < 1e-12);
        assert_eq!((merged[0].waiting, merged[1].variant.as_str()), (Some(0.2), "seq"));
    }

    #[test]
    fn the_middle_of_two_is_their_mean() {
        assert_eq!(
            [vec![], vec![3.0], vec![4.0, 1.0], vec![9.0, 1.0, 2.0]].map(middle),
            [None, Some(3.0), Some(2.5), Some(2.0)]
        );
    }

    #[test]
    fn results_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strong.json");
        let results = measured(vec![timed("seq", 1, 0.1)]);
        results.write(&path).unwrap();
        assert_eq!(Results::read(&path).unwrap(), results);
        assert_eq!(results.cases(), [("study", "conv:36x3@50")]);
    }

    #[test]
    fn what_holds_no_results_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.json");
        let error = || format!("{:#}", Results::read(&path).unwrap_err());
        assert!(error().contains("cannot read ") && error().contains("old.json"));
        fs::write(&path, "{\n\"suite\": \"x\"\n").unwrap();
        assert!(error().contains("old.json does not hold the results of a bench") && error().contains("line 3"));
        measured(Vec::new()).write(&path).unwrap();
        assert!(error().ends_with("old.json holds no measurements"));
    }

    #[test]
    fn keys_read_well() {
        let peer = Measurement { by: Framework::PyTorch, transport: Transport::None, ..timed("eager", 1, 0.1) };
        assert_eq!(Key::of(&peer).to_string(), "study conv:36x3@50, eager, PyTorch, 1 thread");
        let on_gpu = Measurement { device: "cuda:0 (NVIDIA H200)".into(), ..peer };
        assert_eq!(Key::of(&on_gpu).to_string(), "study conv:36x3@50, eager, PyTorch");
        let mpi = Measurement { transport: Transport::Mpi, ..timed("seq", 2, 0.1) };
        assert_eq!(Key::of(&mpi).to_string(), "study conv:36x3@50, seq, 2 ranks (MPI)");
    }
}
