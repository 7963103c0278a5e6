//! What a run is told.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control::ControlConfig;
use crate::{LearningRate, OptimizerConfig, Precision, TrainError};

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerConfig {
    /// Passes over the training samples.
    pub epochs: usize,
    /// Samples per step, over all data ranks.
    pub batch: usize,
    /// Parts into which each data rank cuts its share of a batch: gradients are accumulated over them, or they go
    /// through the pipeline.
    pub micro_batches: usize,
    /// The type of states and of the layers' parameters in solves; all else is in single precision.
    #[serde(default)]
    pub precision: Precision,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate.
    pub learning_rate: LearningRate,
    /// Largest norm of the gradients; longer ones are scaled down to it.
    pub clip: Option<f64>,
    /// Weight of a penalty on parameters that jump from layer to layer ([`Continuity`](crate::Continuity)).
    #[serde(default)]
    pub continuity: Option<f64>,
    /// What a loss or state that is not finite does.
    pub on_nan: OnNan,
    /// Seed of the order of samples.
    pub seed: u64,
    /// Measure gradient error and rho every so many steps.
    pub probe_every: Option<usize>,
    /// The controller of inexact gradients.
    #[serde(default)]
    pub control: ControlConfig,
    /// Folder for metrics and checkpoints; none are written without one.
    pub out: Option<PathBuf>,
    /// The program's configuration, for `config.toml` in that folder.
    #[serde(skip)]
    pub configuration: Option<String>,
    /// Checkpoints.
    pub checkpoints: CheckpointConfig,
    /// Save and stop before this much time has passed since the first configuration was made in this process, which is to
    /// be early on.
    pub time_limit: Option<Duration>,
    /// A timeline of some steps.
    pub trace: Option<TraceConfig>,
    /// What rank 0 prints.
    pub show: Show,
}

/// What rank 0 prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// The plan, progress, and a line per epoch, on stdout.
    Progress,
    /// Nothing.
    Nothing,
}

/// A timeline of what every rank does in a few steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceConfig {
    /// Folder for `trace.json`.
    pub folder: PathBuf,
    /// How many steps, after the first three of the run.
    pub steps: usize,
}

/// When checkpoints are made, and from which the run goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointConfig {
    /// Every so many steps; `None`: only when the run is stopped or ends.
    pub every: Option<usize>,
    /// The newest so many stay.
    pub keep: usize,
    /// Where to go on from.
    pub resume: Resume,
}

/// Where a run goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resume {
    /// A new run; refused where the folder has checkpoints already.
    No,
    /// The latest checkpoint of the run's folder; a new run where there is none.
    Auto,
    /// A checkpoint, or a folder of them.
    From(PathBuf),
}

/// What a loss or state that is not finite does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNan {
    /// Ends the run with step and layer; the checkpoints stay as they are.
    Stop,
    /// Leaves the step's update out; ends the run after a hundred in a row.
    Skip,
}

impl TrainerConfig {
    /// Stochastic gradient descent with momentum 0.9, batches of 50, no checkpoints.
    pub fn new(epochs: usize, learning_rate: f64) -> Self {
        super::stop::start_clock();
        Self {
            epochs,
            batch: 50,
            micro_batches: 1,
            precision: Precision::F32,
            optimizer: OptimizerConfig::Sgd { momentum: 0.9 },
            learning_rate: LearningRate::constant(learning_rate),
            clip: None,
            continuity: None,
            on_nan: OnNan::Stop,
            seed: 0,
            probe_every: None,
            control: ControlConfig::default(),
            out: None,
            configuration: None,
            checkpoints: CheckpointConfig { every: None, keep: 3, resume: Resume::No },
            time_limit: None,
            trace: None,
            show: Show::Progress,
        }
    }

    /// Checks all numbers.
    ///
    /// # Errors
    /// [`TrainError::Config`] with all problems.
    pub fn validate(&self) -> Result<(), TrainError> {
        let mut problems = Vec::new();
        let counts = [
            (Some(self.epochs), "the number of epochs"),
            (Some(self.batch), "the batch"),
            (Some(self.micro_batches), "the number of micro-batches"),
            (self.checkpoints.every, "the number of steps between checkpoints"),
            (Some(self.checkpoints.keep), "the number of checkpoints to keep"),
            (self.probe_every, "the number of steps between probes"),
            (self.trace.as_ref().map(|trace| trace.steps), "the number of steps in the timeline"),
        ];
        problems.extend(
            counts.iter().filter(|(n, _)| *n == Some(0)).map(|(_, what)| format!("{what} is 0: use at least 1")),
        );
        if let Some(clip) = self.clip.filter(|clip| !(clip.is_finite() && *clip > 0.0)) {
            problems.push(format!("the largest gradient norm is {clip}: use a finite number above 0, or none"));
        }
        if let Some(gamma) = self.continuity.filter(|gamma| !(gamma.is_finite() && *gamma >= 0.0)) {
            problems.push(format!("the weight of the penalty on jumps is {gamma}: use a finite number, at least 0"));
        }
        if self.out.is_none() {
            let needs = [
                (self.checkpoints.every.is_some(), "checkpoints need"),
                (self.checkpoints.resume == Resume::Auto, "resuming automatically needs"),
                (self.time_limit.is_some(), "a time limit, before which the run is saved, needs"),
            ];
            problems.extend(
                needs.iter().filter(|(wanted, _)| *wanted).map(|(_, what)| format!("{what} a folder for the run")),
            );
        }
        problems.extend(self.control.problems());
        problems.extend(self.learning_rate.start(1, 0).err().map(|e| e.to_string()));
        problems.extend(crate::Optimizer::new(self.optimizer, self.learning_rate.rate).err().map(|e| e.to_string()));
        problems.dedup();
        if problems.is_empty() { Ok(()) } else { Err(TrainError::Config { problems }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_listed() {
        let mut config = TrainerConfig::new(0, -1.0);
        config.batch = 0;
        config.clip = Some(f64::NAN);
        config.checkpoints.every = Some(0);
        config.time_limit = Some(Duration::from_secs(1));
        let message = config.validate().unwrap_err().to_string();
        for part in
            ["epochs is 0", "batch is 0", "norm is NaN", "between checkpoints is 0", "time limit", "learning rate"]
        {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        assert!(TrainerConfig::new(1, 0.1).validate().is_ok());
    }
}
