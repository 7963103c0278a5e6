//! Which network of blocks.

use braidnet_nn::{BlockNetConfig, NormKind, Pooling};
use clap::{Args, ValueEnum};

use super::SpaceArgs;
use super::network::{CoarseName, DepthInitName, coarse_operator, depth_init};

/// Normalisations by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NormName {
    /// Every channel over samples and positions.
    Batch,
    /// Every sample and `--group-size` channels over positions.
    Group,
    /// Every sample over channels and positions.
    Layer,
    /// None.
    None,
}

/// What transitions begin with, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PoolingName {
    /// The largest of 3x3 points.
    Max,
    /// The mean of 3x3 points.
    Average,
    /// Nothing.
    None,
}

/// An ODENet on images in blocks: from one to the next extents are halved and channels doubled.
#[derive(Debug, Clone, Args)]
pub struct BlockArgs {
    /// ODE layers of every block.
    #[arg(long, value_name = "LAYERS", value_delimiter = ',', default_value = "16,16,16,16")]
    pub blocks: Vec<usize>,
    /// Channels of the first block.
    #[arg(long, default_value_t = 8)]
    pub channels: usize,
    /// Convolutions per layer, 1 or 2.
    #[arg(long, default_value_t = 2)]
    pub convs: usize,
    /// What follows every convolution.
    #[arg(long, value_enum, default_value_t = NormName::Batch)]
    pub norm: NormName,
    /// Channels that are normalised together with `--norm group`.
    #[arg(long, default_value_t = 4)]
    pub group_size: usize,
    /// What transitions between blocks begin with.
    #[arg(long, value_enum, default_value_t = PoolingName::Max)]
    pub pooling: PoolingName,
    /// Sum of all time steps.
    #[arg(long, default_value_t = 1.0)]
    pub final_time: f64,
    /// Layers at either end that stay outside the solver and run one after the other.
    #[arg(long, default_value_t = 0)]
    pub buffer: usize,
    /// Operator of coarse steps.
    #[arg(long, value_enum, default_value_t = CoarseName::Midpoint)]
    pub coarse_operator: CoarseName,
    /// How initial parameters vary with depth within a block.
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

impl BlockArgs {
    /// The network for images of shape `image` (channels, height, width).
    pub fn config(&self, image: [usize; 3], classes: usize) -> BlockNetConfig {
        BlockNetConfig {
            image,
            classes,
            final_time: self.final_time,
            convs: self.convs,
            norm: match self.norm {
                NormName::Batch => Some(NormKind::Batch),
                NormName::Group => Some(NormKind::Group(self.group_size)),
                NormName::Layer => Some(NormKind::Layer),
                NormName::None => None,
            },
            pooling: match self.pooling {
                PoolingName::Max => Pooling::Max,
                PoolingName::Average => Pooling::Average,
                PoolingName::None => Pooling::None,
            },
            coarse: coarse_operator(self.coarse_operator),
            depth_init: depth_init(self.depth_init, self.depth_period, self.depth_noise),
            buffer: self.buffer,
            space: self.space.coarsening(),
            ..BlockNetConfig::new(self.blocks.clone(), self.channels)
        }
    }
}
