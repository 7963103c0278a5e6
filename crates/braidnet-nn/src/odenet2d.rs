//! Convolutional ODE networks on images.

use std::ops::Range;

use braidnet_grid::{GridError, TimeGrid};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::Depth;
use crate::grid_space::ImageSpace;
use crate::init::{Stream, draw, draw_layer};
use crate::{CoarseOperator, ConvRhs, Dense, DepthInit, NetworkError, OdeNet, Opening, OpeningKind, SpaceCoarsening};

/// The part of an ODENet on images that consists of consecutive layers; made by [`OdeNet2dConfig::init`].
pub type OdeNet2d = OdeNet<ImageSpace, Opening, ConvRhs, Dense>;

/// An ODENet on images: opening layer, `layers` times `u + dt F(u)` with `dt = final_time / layers`, dense closing layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OdeNet2dConfig {
    /// Number of ODE layers.
    pub layers: usize,
    /// Channels of the state.
    pub channels: usize,
    /// Channels, height and width of the input.
    pub image: [usize; 3],
    /// Classes.
    pub classes: usize,
    /// Width of the closing layer.
    pub hidden: usize,
    /// Sum of all `dt`.
    pub final_time: f64,
    /// Convolutions in the right-hand side: 1 or 2.
    pub convs: usize,
    /// Opening layer.
    pub opening: OpeningKind,
    /// Operator of coarse steps.
    pub coarse: CoarseOperator,
    /// How initial parameters vary with depth.
    pub depth_init: DepthInit,
    /// Layers at either end that stay outside the solver and run one after the other.
    #[serde(default)]
    pub buffer: usize,
    /// Coarser grids on coarse levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<SpaceCoarsening>,
}

impl OdeNet2dConfig {
    /// `layers` layers of `channels` channels with two convolutions for images `[1, 28, 28]` of ten classes, final time 1.
    pub fn new(layers: usize, channels: usize) -> Self {
        Self {
            layers,
            channels,
            image: [1, 28, 28],
            classes: 10,
            hidden: 32,
            final_time: 1.0,
            convs: 2,
            opening: OpeningKind::Conv,
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
        let [inputs, height, width] = self.image;
        let sizes = [
            (self.channels, "the number of channels"),
            (inputs, "the number of input channels"),
            (height, "the height of the image"),
            (width, "the width of the image"),
            (self.classes, "the number of classes"),
            (self.hidden, "the width of the closing layer"),
            (self.convs, "the number of convolutions"),
        ];
        if let Some((_, what)) = sizes.into_iter().find(|(n, _)| *n == 0) {
            return Err(NetworkError::Zero { what });
        }
        if self.convs > 2 {
            let (what, remedy) = ("the number of convolutions", "use 1 or 2");
            return Err(NetworkError::BadNumber { what, value: self.convs as f64, remedy });
        }
        if self.opening == OpeningKind::Repeat && !self.channels.is_multiple_of(inputs) {
            return Err(NetworkError::CannotRepeat { inputs, channels: self.channels });
        }
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
    /// As [`OdeNet2dConfig::validate`].
    pub fn init(&self, range: Range<usize>, run: usize, seed: u64, device: &Device) -> Result<OdeNet2d, NetworkError> {
        self.validate()?;
        let [inputs, height, width] = self.image;
        let space = ImageSpace::new(self.image, [self.channels, height, width]).coarsened(self.space.clone());
        let features = self.channels * height * width;
        OdeNet::build(
            (space, self.depth(), self.coarse, device),
            range,
            || Ok(draw(Opening::new(self.opening, None, inputs, self.channels, device)?, seed, Stream::Opening)),
            |n| Ok(draw_layer(ConvRhs::new(self.convs, None, self.channels, device), seed, n, self.depth_init, run)),
            || Ok(draw(Dense::new(features, self.hidden, self.classes, device), seed, Stream::Closing)),
        )
    }
}
