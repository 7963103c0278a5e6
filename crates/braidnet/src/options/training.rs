//! How a network is trained.

use std::path::PathBuf;
use std::time::Duration;

use braidnet_train::control::{ControlConfig, ControlKind};
use braidnet_train::trainer::{CheckpointConfig, OnNan, Resume, TraceConfig, TrainerConfig};
use braidnet_train::{Decay, LearningRate, OptimizerConfig, Precision};
use clap::{Args, ValueEnum};

use crate::config::duration;

/// Optimizers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OptimizerName {
    /// Gradient descent with momentum 0.9.
    Sgd,
    /// Adam.
    Adam,
    /// Adam with weight decay 0.01.
    AdamW,
}

/// Learning-rate decays by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DecayName {
    /// A constant rate.
    None,
    /// A straight line down to `--decay-end` of the rate.
    Linear,
    /// Half a cosine down to `--decay-end` of the rate.
    Cosine,
    /// As one over the square root of the step, after `--warmup`.
    InverseSqrt,
    /// By `--decay-gamma` every `--decay-every` steps.
    Steps,
    /// By `--decay-gamma` every step.
    Exponential,
}

/// Precisions by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionName {
    /// Single precision.
    F32,
    /// 16 bits with the range of single precision.
    Bf16,
    /// 16 bits with more digits and a small range.
    F16,
}

/// What to do at a NaN, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnNanName {
    /// End the run with step and layer.
    Stop,
    /// Leave the update out.
    Skip,
}

/// A training run.
#[derive(Debug, Clone, Args)]
pub struct TrainingArgs {
    /// Passes over the training samples.
    #[arg(long, default_value_t = 2)]
    pub epochs: usize,
    /// Samples per step, over all data ranks.
    #[arg(long, default_value_t = 50)]
    pub batch: usize,
    /// Parts into which each data rank cuts its share of a batch, one after the other or through the pipeline.
    #[arg(long, default_value_t = 1)]
    pub micro_batches: usize,
    /// Type of states and of the layers' parameters in solves; parameters, moments and sums are kept in single precision.
    #[arg(long, value_enum, default_value_t = PrecisionName::F32)]
    pub precision: PrecisionName,
    /// Optimizer.
    #[arg(long, value_enum, default_value_t = OptimizerName::Sgd)]
    pub optimizer: OptimizerName,
    /// Learning rate.
    #[arg(long, default_value_t = 1e-2)]
    pub learning_rate: f64,
    /// Steps over which the learning rate grows to its value.
    #[arg(long, default_value_t = 0)]
    pub warmup: usize,
    /// How the learning rate falls then.
    #[arg(long, value_enum, default_value_t = DecayName::None)]
    pub decay: DecayName,
    /// Part of the learning rate that is left at the end of a linear or cosine decay.
    #[arg(long, default_value_t = 0.0)]
    pub decay_end: f64,
    /// Steps between two learning rates of a decay by steps.
    #[arg(long, default_value_t = 1000)]
    pub decay_every: usize,
    /// Factor between two learning rates of a decay by steps, or exponential.
    #[arg(long, default_value_t = 0.1)]
    pub decay_gamma: f64,
    /// Largest norm of the gradients; longer ones are scaled down to it.
    #[arg(long)]
    pub clip: Option<f64>,
    /// What a loss or a state that is not finite does.
    #[arg(long, value_enum, default_value_t = OnNanName::Stop)]
    pub on_nan: OnNanName,
    /// Seed of parameters and of the order of samples.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Weight of a penalty on parameters that jump from layer to layer.
    #[arg(long)]
    pub continuity: Option<f64>,
    /// Whether probes of the solves' convergence change the schedule.
    #[arg(long, value_enum, default_value_t = ControlName::Off)]
    pub control: ControlName,
    /// Steps between two probes of the control.
    #[arg(long, default_value_t = 100)]
    pub control_every: usize,
    /// A more exact schedule where the convergence factor rho is above this; above 1 the exact one.
    #[arg(long, default_value_t = 0.75)]
    pub rho_up: f64,
    /// A cheaper schedule where rho stays below this.
    #[arg(long, default_value_t = 0.4)]
    pub rho_down: f64,
    /// A more exact schedule where the relative gradient error, which is then measured too, is above this.
    #[arg(long)]
    pub max_gradient_error: Option<f64>,
    /// A more exact schedule after an epoch where test accuracies as scheduled and exact differ by more (0.01: one point).
    #[arg(long)]
    pub max_mismatch: Option<f64>,
    /// Measure gradient error and rho every so many steps; 0: never.
    #[arg(long, default_value_t = 50)]
    pub probe_every: usize,
    /// Folder of the run, for metrics, checkpoints and configuration.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Steps between checkpoints. [default: one at the end]
    #[arg(long, value_name = "STEPS")]
    pub checkpoint_every: Option<usize>,
    /// Checkpoints that are kept.
    #[arg(long, default_value_t = 3)]
    pub keep: usize,
    /// Go on from a checkpoint: `no`, `auto` (the latest of the run's folder, if there is one), or its path.
    #[arg(long, default_value = "no", value_name = "no|auto|PATH")]
    pub resume: String,
    /// Save and stop before this much time has passed (as 55m, 1h30m, 02:30:00).
    #[arg(long, value_parser = duration)]
    pub time_limit: Option<Duration>,
    /// Write a timeline of some steps to `DIR/trace.json`, for Perfetto or `cargo xtask report`.
    #[arg(long, value_name = "DIR")]
    pub trace: Option<PathBuf>,
    /// Steps in the timeline.
    #[arg(long, default_value_t = 5)]
    pub trace_steps: usize,
}

/// Controls by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ControlName {
    /// No probes; the schedule stays.
    Off,
    /// Probes, and what they would change is told; the schedule stays.
    Fixed,
    /// Probes change the schedule.
    Adaptive,
}

impl TrainingArgs {
    fn control(&self) -> ControlConfig {
        ControlConfig {
            kind: match self.control {
                ControlName::Off => ControlKind::Off,
                ControlName::Fixed => ControlKind::Fixed,
                ControlName::Adaptive => ControlKind::Adaptive,
            },
            probe_every: self.control_every,
            rho_up: self.rho_up,
            rho_down: self.rho_down,
            gradient_error: self.max_gradient_error.is_some(),
            max_gradient_error: self.max_gradient_error,
            max_mismatch: self.max_mismatch,
            ..ControlConfig::default()
        }
    }

    /// What the trainer is told.
    pub fn config(&self) -> TrainerConfig {
        let optimizer = match self.optimizer {
            OptimizerName::Sgd => OptimizerConfig::Sgd { momentum: 0.9 },
            OptimizerName::Adam => OptimizerConfig::Adam,
            OptimizerName::AdamW => OptimizerConfig::AdamW { weight_decay: 0.01 },
        };
        let decay = match self.decay {
            DecayName::None => Decay::None,
            DecayName::Linear => Decay::Linear { end: self.decay_end },
            DecayName::Cosine => Decay::Cosine { end: self.decay_end },
            DecayName::InverseSqrt => Decay::InverseSqrt,
            DecayName::Exponential => Decay::Exponential { gamma: self.decay_gamma },
            DecayName::Steps => Decay::Steps { every: self.decay_every, gamma: self.decay_gamma },
        };
        let resume = match self.resume.as_str() {
            "no" => Resume::No,
            "auto" => Resume::Auto,
            path => Resume::From(path.into()),
        };
        let trace = self.trace.clone().map(|folder| TraceConfig { folder, steps: self.trace_steps });
        TrainerConfig {
            batch: self.batch,
            micro_batches: self.micro_batches,
            precision: match self.precision {
                PrecisionName::F32 => Precision::F32,
                PrecisionName::Bf16 => Precision::Bf16,
                PrecisionName::F16 => Precision::F16,
            },
            optimizer,
            learning_rate: LearningRate { rate: self.learning_rate, warmup: self.warmup, decay },
            clip: self.clip,
            on_nan: match self.on_nan {
                OnNanName::Stop => OnNan::Stop,
                OnNanName::Skip => OnNan::Skip,
            },
            seed: self.seed,
            continuity: self.continuity,
            control: self.control(),
            probe_every: (self.probe_every > 0).then_some(self.probe_every),
            out: self.out.clone(),
            checkpoints: CheckpointConfig { every: self.checkpoint_every, keep: self.keep, resume },
            time_limit: self.time_limit,
            trace,
            ..TrainerConfig::new(self.epochs, self.learning_rate)
        }
    }
}
