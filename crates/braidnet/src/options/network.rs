//! Which network.

use braidnet_nn::{CoarseOperator, DepthInit, OdeNet2dConfig, OpeningKind};
use clap::{Args, ValueEnum};

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
    /// Parameters of the run's middle layer at the predicted middle, both ways: second order also where parameters change
    /// smoothly.
    Centred,
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
    /// Layers at either end that stay outside the solver and run one after the other.
    #[arg(long, default_value_t = 0)]
    pub buffer: usize,
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

pub(super) fn coarse_operator(name: CoarseName) -> CoarseOperator {
    match name {
        CoarseName::FirstLayer => CoarseOperator::FirstLayer,
        CoarseName::Midpoint => CoarseOperator::Midpoint,
        CoarseName::Centred => CoarseOperator::Centred,
        CoarseName::Mean => CoarseOperator::Mean,
        CoarseName::Sum => CoarseOperator::Sum,
    }
}

pub(super) fn depth_init(name: DepthInitName, period: Option<usize>, noise: f64) -> DepthInit {
    match name {
        DepthInitName::Independent => DepthInit::Independent,
        DepthInitName::Piecewise => DepthInit::Piecewise { period, noise },
    }
}

impl NetworkArgs {
    /// The network for images of shape `image` (channels, height, width).
    pub fn config(&self, image: [usize; 3], classes: usize) -> OdeNet2dConfig {
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
            coarse: coarse_operator(self.coarse_operator),
            depth_init: depth_init(self.depth_init, self.depth_period, self.depth_noise),
            buffer: self.buffer,
            ..OdeNet2dConfig::new(self.layers, self.channels)
        }
    }
}
