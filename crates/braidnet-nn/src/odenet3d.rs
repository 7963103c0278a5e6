//! Convolutional ODE networks on voxels.

use std::ops::Range;

use braidnet_grid::{GridError, TimeGrid};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::Depth;
use crate::conv3d::Conv3dRhs;
use crate::grid_space::VoxelSpace;
use crate::init::{Stream, draw, draw_layer};
use crate::opening::Repeat;
use crate::{CoarseOperator, Dense, DepthInit, NetworkError, OdeNet, SpaceCoarsening};

/// The part of an ODENet on voxels that consists of consecutive layers; made by [`OdeNet3dConfig::init`].
pub type OdeNet3d = OdeNet<VoxelSpace, Repeat, Conv3dRhs, Dense>;

/// An ODENet on voxels: the input's channels repeated, `layers` times `u + dt relu(conv(u))` with `dt = final_time / layers`, dense
/// closing layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OdeNet3dConfig {
    /// Number of ODE layers.
    pub layers: usize,
    /// Channels of the state, a multiple of those of the input.
    pub channels: usize,
    /// Channels, depth, height and width of the input.
    pub voxels: [usize; 4],
    /// Classes.
    pub classes: usize,
    /// Width of the closing layer.
    pub hidden: usize,
    /// Sum of all `dt`.
    pub final_time: f64,
    /// Operator of coarse steps.
    pub coarse: CoarseOperator,
    /// How initial parameters vary with depth.
    pub depth_init: DepthInit,
    /// Layers at either end that stay outside the solver and run one after the other.
    pub buffer: usize,
    /// Coarser grids on coarse levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<SpaceCoarsening>,
}

impl OdeNet3dConfig {
    /// `layers` layers of 4 channels for one channel of `side`^3 voxels of ten classes, final time 1.
    pub fn new(layers: usize, side: usize) -> Self {
        Self {
            layers,
            channels: 4,
            voxels: [1, side, side, side],
            classes: 10,
            hidden: 32,
            final_time: 1.0,
            coarse: CoarseOperator::Midpoint,
            depth_init: DepthInit::Piecewise { period: None, noise: 0.0 },
            buffer: 0,
            space: None,
        }
    }

    /// Checks all sizes.
    ///
    /// # Errors
    /// [`NetworkError`] naming the size and the remedy.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let [inputs, depth, height, width] = self.voxels;
        let sizes = [
            (self.channels, "the number of channels"),
            (inputs, "the number of input channels"),
            (depth, "the depth of the voxels"),
            (height, "the height of the voxels"),
            (width, "the width of the voxels"),
            (self.classes, "the number of classes"),
            (self.hidden, "the width of the closing layer"),
        ];
        if let Some((_, what)) = sizes.into_iter().find(|(n, _)| *n == 0) {
            return Err(NetworkError::Zero { what });
        }
        Repeat::new(inputs, self.channels)?;
        self.depth().validate()?;
        self.depth_init.validate()
    }

    fn depth(&self) -> Depth {
        Depth::new(self.layers, self.final_time, self.buffer)
    }

    /// The time grid of the layers that the solver counts.
    ///
    /// # Errors
    /// [`GridError::NoSteps`] for zero layers.
    pub fn grid(&self) -> Result<TimeGrid, GridError> {
        self.depth().grid()
    }

    /// The layers `range`, as the solver counts, with parameters from (seed, global layer) alone; with the opening layer if `range` starts
    /// with layer 0 and the closing layer if it ends with the last. `run` is the longest coarse step, the default
    /// period of [`DepthInit::Piecewise`].
    ///
    /// # Errors
    /// As [`OdeNet3dConfig::validate`].
    pub fn init(&self, range: Range<usize>, run: usize, seed: u64, device: &Device) -> Result<OdeNet3d, NetworkError> {
        self.validate()?;
        let [inputs, extents @ ..] = self.voxels;
        let shape: Vec<usize> = std::iter::once(self.channels).chain(extents).collect();
        let features = shape.iter().product();
        OdeNet::build(
            (VoxelSpace::new(self.voxels, shape).coarsened(self.space.clone()), self.depth(), self.coarse, device),
            range,
            || Repeat::new(inputs, self.channels),
            |n| Ok(draw_layer(Conv3dRhs::new(self.channels, device), seed, n, self.depth_init, run)),
            || Ok(draw(Dense::new(features, self.hidden, self.classes, device), seed, Stream::Closing)),
        )
    }
}
