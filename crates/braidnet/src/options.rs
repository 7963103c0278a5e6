//! Command-line options that training programs share; every default is shown by `--help`.

use braidnet_comm::Launch;
use braidnet_mgrit::Relaxation;
use braidnet_nn::{CoarseOperator, DepthInit, OdeNet2dConfig, OpeningKind};
use braidnet_train::{Schedule, ScheduleKind, SolveConfig};
use burn::tensor::Device;
use clap::{Args, ValueEnum};

/// How many ranks.
#[derive(Debug, Clone, Args)]
pub struct LaunchArgs {
    /// Ranks on the layer axis: threads of this process, or, under mpirun, all processes started. [default: 2 threads]
    #[arg(long)]
    pub layer_ranks: Option<usize>,
}

impl LaunchArgs {
    /// What [`braidnet_comm::launch`] needs.
    pub fn launch(&self) -> Launch {
        let threads = if braidnet_comm::under_mpi() { None } else { Some(2) };
        Launch { ranks: self.layer_ranks.or(threads) }
    }
}

/// Which device.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// Device that tensors live on.
    #[arg(long, value_enum, default_value_t = DeviceKind::Flex)]
    pub device: DeviceKind,
}

/// Devices that this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceKind {
    /// The processor, by burn's flex backend; each rank works on its own thread.
    Flex,
}

impl DeviceArgs {
    /// burn's device.
    pub fn device(&self) -> Device {
        match self.device {
            DeviceKind::Flex => Device::flex(),
        }
    }
}

/// Schedules by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScheduleName {
    /// Layer by layer both ways; exact.
    Sequential,
    /// MGRIT both ways.
    LayerParallel,
    /// Layer by layer forward, MGRIT backward.
    Mixed,
}

/// Relaxations by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RelaxationName {
    /// F-relaxation.
    F,
    /// FCF-relaxation.
    Fcf,
    /// FCFCF-relaxation.
    Fcfcf,
}

impl From<RelaxationName> for Relaxation {
    fn from(name: RelaxationName) -> Self {
        match name {
            RelaxationName::F => Self::F,
            RelaxationName::Fcf => Self::Fcf(1),
            RelaxationName::Fcfcf => Self::Fcf(2),
        }
    }
}

/// How the two solves of a training step are done.
#[derive(Debug, Clone, Args)]
pub struct ScheduleArgs {
    /// Schedule of a training step.
    #[arg(long, value_enum, default_value_t = ScheduleName::LayerParallel)]
    pub schedule: ScheduleName,
    /// Levels of the forward solve at most.
    #[arg(long, default_value_t = 2)]
    pub fwd_levels: usize,
    /// Levels of the backward solve at most.
    #[arg(long, default_value_t = 2)]
    pub bwd_levels: usize,
    /// Coarsening factor of the forward solve.
    #[arg(long, default_value_t = 4)]
    pub fwd_cfactor: usize,
    /// Coarsening factor of the backward solve.
    #[arg(long, default_value_t = 4)]
    pub bwd_cfactor: usize,
    /// Iterations of the forward solve.
    #[arg(long, default_value_t = 1)]
    pub fwd_max_iters: usize,
    /// Iterations of the backward solve.
    #[arg(long, default_value_t = 1)]
    pub bwd_max_iters: usize,
    /// Relaxation of the finest level in the forward solve.
    #[arg(long, value_enum, default_value_t = RelaxationName::F)]
    pub fwd_relax: RelaxationName,
    /// Relaxation of the finest level in the backward solve.
    #[arg(long, value_enum, default_value_t = RelaxationName::F)]
    pub bwd_relax: RelaxationName,
    /// Start the forward solve on the coarsest level.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub fwd_skip_downcycle: bool,
    /// Start the backward solve on the coarsest level.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub bwd_skip_downcycle: bool,
}

impl ScheduleArgs {
    /// The schedule.
    pub fn schedule(&self) -> Schedule {
        let forward = SolveConfig {
            max_levels: self.fwd_levels,
            max_iters: self.fwd_max_iters,
            relaxation: self.fwd_relax.into(),
            skip_downcycle: self.fwd_skip_downcycle,
            ..SolveConfig::new(self.fwd_cfactor)
        };
        let backward = SolveConfig {
            max_levels: self.bwd_levels,
            max_iters: self.bwd_max_iters,
            relaxation: self.bwd_relax.into(),
            skip_downcycle: self.bwd_skip_downcycle,
            ..SolveConfig::new(self.bwd_cfactor)
        };
        let kind = match self.schedule {
            ScheduleName::Sequential => ScheduleKind::Sequential,
            ScheduleName::LayerParallel => ScheduleKind::LayerParallel,
            ScheduleName::Mixed => ScheduleKind::Mixed,
        };
        Schedule::new(kind, forward, backward)
    }
}

/// Initial parameters by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DepthInitName {
    /// Every layer has parameters of its own.
    Independent,
    /// Layers of a coarse step start equal, up to `--depth-noise`.
    Piecewise,
}

/// Coarse operators by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CoarseName {
    /// Parameters of the first layer of the run.
    FirstLayer,
    /// As first-layer, evaluated at the predicted middle of the run: second order in time.
    Midpoint,
    /// Mean parameters of the run.
    Mean,
    /// Sum over the run at the frozen state.
    Sum,
}

/// Opening layers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OpeningName {
    /// Convolution and ReLU.
    Conv,
    /// The input's channels repeated.
    Repeat,
}

/// An ODENet on images.
#[derive(Debug, Clone, Args)]
pub struct NetworkArgs {
    /// ODE layers.
    #[arg(long, default_value_t = 36)]
    pub layers: usize,
    /// Channels of the state.
    #[arg(long, default_value_t = 3)]
    pub channels: usize,
    /// Convolutions per layer, 1 or 2.
    #[arg(long, default_value_t = 2)]
    pub convs: usize,
    /// Width of the closing layer.
    #[arg(long, default_value_t = 32)]
    pub hidden: usize,
    /// Sum of all time steps.
    #[arg(long, default_value_t = 1.0)]
    pub final_time: f64,
    /// Opening layer.
    #[arg(long, value_enum, default_value_t = OpeningName::Conv)]
    pub opening: OpeningName,
    /// Operator of coarse steps.
    #[arg(long, value_enum, default_value_t = CoarseName::Midpoint)]
    pub coarse_operator: CoarseName,
    /// How initial parameters vary with depth.
    #[arg(long, value_enum, default_value_t = DepthInitName::Piecewise)]
    pub depth_init: DepthInitName,
    /// Layers that start equal with piecewise initialisation. [default: the longest coarse step]
    #[arg(long)]
    pub depth_period: Option<usize>,
    /// Noise between piecewise constant (0) and independent (1) initial parameters.
    #[arg(long, default_value_t = 0.0)]
    pub depth_noise: f64,
}

impl NetworkArgs {
    /// The network for images of shape `image` (channels, height, width).
    pub fn config(&self, image: [usize; 3], classes: usize) -> OdeNet2dConfig {
        let piecewise = DepthInit::Piecewise { period: self.depth_period, noise: self.depth_noise };
        OdeNet2dConfig {
            image,
            classes,
            hidden: self.hidden,
            final_time: self.final_time,
            convs: self.convs,
            opening: match self.opening {
                OpeningName::Conv => OpeningKind::Conv,
                OpeningName::Repeat => OpeningKind::Repeat,
            },
            coarse: match self.coarse_operator {
                CoarseName::FirstLayer => CoarseOperator::FirstLayer,
                CoarseName::Midpoint => CoarseOperator::Midpoint,
                CoarseName::Mean => CoarseOperator::Mean,
                CoarseName::Sum => CoarseOperator::Sum,
            },
            depth_init: match self.depth_init {
                DepthInitName::Independent => DepthInit::Independent,
                DepthInitName::Piecewise => piecewise,
            },
            ..OdeNet2dConfig::new(self.layers, self.channels)
        }
    }
}
