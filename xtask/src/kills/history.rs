//! What a run has left on the disk: losses, the starts it went on from, its newest checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use braidnet_monitor::metrics::{self, RESUMED, Record};

/// Where a run may keep its checkpoints, below its folder.
const CHECKPOINT_FOLDERS: [&str; 2] = ["checkpoints", "."];

/// How far losses may be from those of a run on other data ranks, as a share of them: sums in another order differ in
/// their last bits, and training makes more of that; 0.02 % was measured after 400 steps.
const ROUNDING: f64 = 1e-3;

/// The lines of a run's `metrics.jsonl` as written, also those that a later start made void. Losses as text: parsers
/// may round their last bit away.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// The step and the loss of every line of a step.
    pub steps: Vec<(u64, String)>,
    /// The epoch, the mean loss of its steps and the loss on the test images of every line of an epoch.
    pub epochs: Vec<(u64, [String; 2])>,
    /// For every start that went on from a checkpoint, its step.
    pub resumed: Vec<u64>,
}

impl History {
    /// Reads the file; a run that has not begun has an empty history, and a kill may have torn the last line.
    ///
    /// # Errors
    /// If another line is no record.
    pub fn read(out: &Path) -> Result<Self> {
        let text = fs::read(metrics_path(out)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut history = Self::default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (index, line) in whole.lines().enumerate() {
            history.add(line).with_context(|| format!("line {} of {}", index + 1, metrics_path(out).display()))?;
        }
        Ok(history)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        match serde_json::from_str(line)? {
            Record::Step(step) => self.steps.push((step.step, field(line, "\"loss\":")?)),
            Record::Epoch(epoch) => {
                self.epochs.push((epoch.epoch, [field(line, "\"loss\":")?, field(line, "\"test_loss\":")?]));
            }
            Record::Event(event) if event.what == RESUMED => self.resumed.push(event.step),
            _ => {}
        }
        Ok(())
    }

    /// The step of the last line.
    pub fn last_step(&self) -> u64 {
        self.steps.last().map_or(0, |(step, _)| *step)
    }
}

/// What stands behind a name in a line.
fn field(line: &str, name: &str) -> Result<String> {
    let value = line.split_once(name).and_then(|(_, rest)| rest.split([',', '}']).next());
    Ok(value.with_context(|| format!("no {name}"))?.to_owned())
}

/// How well losses must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// To the last digit.
    Exact,
    /// But for rounding.
    Rounding,
}

/// The losses of a run that nothing disturbed.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    steps: BTreeMap<u64, String>,
    epochs: BTreeMap<u64, [String; 2]>,
    precision: Precision,
}

impl Reference {
    /// Reads the losses of a run that is done, with which others must agree that well.
    ///
    /// # Errors
    /// If it recorded no steps, or not every step once.
    pub fn read(out: &Path, precision: Precision) -> Result<Self> {
        let history = History::read(out)?;
        let n_lines = history.steps.len();
        let steps: BTreeMap<_, _> = history.steps.into_iter().collect();
        ensure!(!steps.is_empty(), "{} names no steps", metrics_path(out).display());
        ensure!(
            steps.len() == n_lines && steps.keys().copied().eq(1..=steps.len() as u64),
            "{} does not name the steps from 1, each once",
            metrics_path(out).display()
        );
        Ok(Self { steps, epochs: history.epochs.into_iter().collect(), precision })
    }

    /// The number of steps.
    pub fn n_steps(&self) -> u64 {
        self.steps.len() as u64
    }

    /// That every line that a disturbed run ever wrote has the loss of the undisturbed one.
    ///
    /// # Errors
    /// The first step or epoch that has another.
    pub fn agrees(&self, history: &History) -> Result<()> {
        for (step, loss) in &history.steps {
            let Some(expected) = self.steps.get(step) else {
                bail!("step {step} was done, but the undisturbed run ends at step {}", self.n_steps());
            };
            self.compare(&format!("step {step}"), loss, expected)?;
        }
        for (epoch, losses) in &history.epochs {
            let expected = self.epochs.get(epoch).with_context(|| format!("there is no epoch {epoch}"))?;
            for (loss, expected) in losses.iter().zip(expected) {
                self.compare(&format!("epoch {epoch}"), loss, expected)?;
            }
        }
        Ok(())
    }

    fn compare(&self, what: &str, loss: &str, expected: &str) -> Result<()> {
        let is_near = || {
            let (loss, expected): (f64, f64) = (loss.parse().ok()?, expected.parse().ok()?);
            Some((loss - expected).abs() <= ROUNDING * expected.abs())
        };
        let agrees = loss == expected || (self.precision == Precision::Rounding && is_near() == Some(true));
        ensure!(agrees, "{what} has the loss {loss}, in the undisturbed run {expected}");
        Ok(())
    }

    /// That the records which count, by the rule of every reader of the file, are all steps and epochs in order.
    ///
    /// # Errors
    /// If one is missing.
    pub fn is_complete(&self, out: &Path) -> Result<()> {
        let (mut steps, mut epochs) = (Vec::new(), Vec::new());
        for record in metrics::read(metrics_path(out))? {
            match record {
                Record::Step(step) => steps.push(step.step),
                Record::Epoch(epoch) => epochs.push(epoch.epoch),
                _ => {}
            }
        }
        are_all("step", &steps, self.steps.keys()).and_then(|()| are_all("epoch", &epochs, self.epochs.keys()))
    }
}

/// That numbers are the expected ones, in order.
fn are_all<'a>(what: &str, got: &[u64], expected: impl ExactSizeIterator<Item = &'a u64>) -> Result<()> {
    let n = expected.len();
    for (at, number) in expected.enumerate() {
        ensure!(got.get(at) == Some(number), "{what} {number} is missing in the metrics");
    }
    ensure!(got.len() == n, "there are {} {what}s instead of {n}", got.len());
    Ok(())
}

/// How long a checkpoint took in the middle of those recorded.
///
/// # Errors
/// If none is recorded.
pub fn checkpoint_duration(out: &Path) -> Result<Duration> {
    let seconds = |record| if let Record::Checkpoint(checkpoint) = record { Some(checkpoint.seconds) } else { None };
    let mut all: Vec<f64> = metrics::read(metrics_path(out))?.into_iter().filter_map(seconds).collect();
    all.sort_by(f64::total_cmp);
    let median = all.get(all.len() / 2).with_context(|| format!("{} names no checkpoint", out.display()))?;
    Ok(Duration::try_from_secs_f64(*median)?)
}

/// The step of the newest complete checkpoint: the one that `latest` names, or the last folder where the very first
/// checkpoint was cut off before that.
pub fn newest_checkpoint(out: &Path) -> Option<u64> {
    CHECKPOINT_FOLDERS.iter().find_map(|name| {
        let root = out.join(name);
        let named = fs::read_to_string(root.join("latest")).ok().and_then(|text| step_of(text.trim()));
        named.or_else(|| names(&root).iter().filter_map(|name| step_of(name)).max())
    })
}

/// Whether a checkpoint was cut off while it was being written.
pub fn has_unfinished_checkpoint(out: &Path) -> bool {
    let is_unfinished = |name: &String| name.strip_suffix(".tmp").is_some_and(|name| step_of(name).is_some());
    CHECKPOINT_FOLDERS.iter().any(|folder| names(&out.join(folder)).iter().any(is_unfinished))
}

/// What the program wrote to `state`, if it came to that.
pub fn state(out: &Path) -> Option<String> {
    fs::read_to_string(out.join("state")).ok().map(|text| text.trim().to_owned())
}

/// The number of steps recorded, counted without reading them: it is asked for often.
pub fn count_steps(out: &Path) -> usize {
    let text = fs::read_to_string(metrics_path(out)).unwrap_or_default();
    text.matches("\"kind\":\"step\"").count()
}

/// The file of metrics.
pub fn metrics_path(out: &Path) -> PathBuf {
    out.join("metrics.jsonl")
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.parse().ok()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines in the short form that readers accept: `3 0.5` is a step and its loss, `resumed 2` an event, `epoch 0.5`
    /// the end of epoch 0.
    fn run(lines: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let record = |line: &&str| match line.split_once(' ').unwrap() {
            ("resumed", step) => format!(r#"{{"kind":"event","step":{step},"what":"resumed","detail":""}}"#),
            ("epoch", loss) => format!(r#"{{"kind":"epoch","epoch":0,"loss":{loss},"test_loss":0.5,"seconds":1.0}}"#),
            (step, loss) => format!(
                r#"{{"kind":"step","step":{step},"epoch":0,"samples":20,"loss":{loss},"learning_rate":0.1,"milliseconds":1.0,"clipped":false,"skipped":false}}"#
            ),
        };
        let text = lines.iter().map(record).collect::<Vec<_>>().join("\n") + "\n{\"kind\":\"st";
        fs::write(metrics_path(folder.path()), text).unwrap();
        folder
    }

    fn reference() -> Reference {
        Reference::read(run(&["1 0.5", "2 0.25", "3 0.1", "epoch 0.28"]).path(), Precision::Exact).unwrap()
    }

    #[test]
    fn a_resumed_run_agrees() {
        let resumed = run(&["1 0.5", "2 0.25", "resumed 1", "2 0.25", "3 0.1", "epoch 0.28"]);
        let history = History::read(resumed.path()).unwrap();
        assert_eq!((history.resumed.as_slice(), history.last_step()), ([1].as_slice(), 3));
        reference().agrees(&history).unwrap();
        reference().is_complete(resumed.path()).unwrap();
    }

    #[test]
    fn other_losses_are_found() {
        let complaint = |lines: &[&str]| {
            let history = History::read(run(lines).path()).unwrap();
            reference().agrees(&history).unwrap_err().to_string()
        };
        // Also in a line that a later start has made void, and in the last digit that a parser would keep.
        assert!(complaint(&["1 0.5", "2 0.26", "resumed 1", "2 0.25"]).starts_with("step 2 has the loss 0.26"));
        assert!(complaint(&["1 0.50000000000000001"]).starts_with("step 1"));
        assert!(complaint(&["1 0.5", "4 0.5"]).contains("ends at step 3"));
        assert!(complaint(&["epoch 0.29"]).starts_with("epoch 0 has the loss 0.29"));
    }

    #[test]
    fn rounding_may_be_allowed() {
        let reference = Reference { precision: Precision::Rounding, ..reference() };
        let agrees = |lines: &[&str]| reference.agrees(&History::read(run(lines).path()).unwrap());
        agrees(&["1 0.50001", "2 0.2499"]).unwrap();
        assert!(agrees(&["1 0.51"]).is_err() && agrees(&["1 null"]).is_err());
    }

    #[test]
    fn missing_steps_are_found() {
        let complaint = |lines: &[&str]| reference().is_complete(run(lines).path()).unwrap_err().to_string();
        assert!(complaint(&["1 0.5", "3 0.1"]).starts_with("step 2 is missing"));
        assert!(complaint(&["1 0.5", "2 0.25"]).starts_with("step 3 is missing"));
        assert!(complaint(&["1 0.5", "2 0.25", "resumed 1", "3 0.1"]).starts_with("step 2 is missing"));
        assert!(complaint(&["1 0.5", "2 0.25", "3 0.1"]).starts_with("epoch 0 is missing"));
        assert!(Reference::read(run(&["1 0.5", "1 0.5"]).path(), Precision::Exact).is_err());
        assert!(Reference::read(tempfile::tempdir().unwrap().path(), Precision::Exact).is_err());
    }

    #[test]
    fn checkpoints_are_found() {
        let out = tempfile::tempdir().unwrap();
        assert_eq!((newest_checkpoint(out.path()), has_unfinished_checkpoint(out.path())), (None, false));
        let root = out.path().join("checkpoints");
        fs::create_dir_all(root.join("step-00000005")).unwrap();
        assert_eq!(newest_checkpoint(out.path()), Some(5));
        fs::create_dir_all(root.join("step-00000010")).unwrap();
        fs::create_dir_all(root.join("step-00000015.tmp")).unwrap();
        fs::write(root.join("latest"), "step-00000005\n").unwrap();
        assert_eq!((newest_checkpoint(out.path()), has_unfinished_checkpoint(out.path())), (Some(5), true));
    }
}
