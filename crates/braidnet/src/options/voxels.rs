//! Which network on voxels.

use braidnet_nn::OdeNet3dConfig;
use clap::Args;

use super::network::{coarse_operator, depth_init};
use super::{CoarseName, DepthInitName, SpaceArgs};

/// An ODENet on voxels.
#[derive(Debug, Clone, Args)]
pub struct VoxelArgs {
    /// ODE layers.
    #[arg(long, default_value_t = 32)]
    pub layers: usize,
    /// Channels of the state; the opening layer repeats the input so often.
    #[arg(long, default_value_t = 4)]
    pub channels: usize,
    /// Width of the closing layer.
    #[arg(long, default_value_t = 32)]
    pub hidden: usize,
    /// Sum of all time steps.
    #[arg(long, default_value_t = 1.0)]
    pub final_time: f64,
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
    /// Coarser grids on coarse levels.
    #[command(flatten)]
    pub space: SpaceArgs,
}

impl VoxelArgs {
    /// The network for one channel of `side`^3 voxels.
    pub fn config(&self, side: usize, classes: usize) -> OdeNet3dConfig {
        OdeNet3dConfig {
            channels: self.channels,
            classes,
            hidden: self.hidden,
            final_time: self.final_time,
            coarse: coarse_operator(self.coarse_operator),
            depth_init: depth_init(self.depth_init, self.depth_period, self.depth_noise),
            buffer: self.buffer,
            space: self.space.coarsening(),
            ..OdeNet3dConfig::new(self.layers, side)
        }
    }
}
