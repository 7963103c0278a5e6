//! Convolutional ODE networks on images.

use std::ops::Range;

use braidnet_grid::{GridError, TimeGrid};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::init::{Stream, draw, draw_layer};
use crate::{
    CoarseOperator, ConvRhs, Dense, DepthInit, NetworkError, OdeBlock, Opening, OpeningKind, Parameter,
    load_parameters, visit_parameters,
};

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
        }
    }

    /// Checks all sizes.
    ///
    /// # Errors
    /// [`NetworkError`] naming the size and the remedy.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let [inputs, height, width] = self.image;
        let sizes = [
            (self.layers, "the number of layers"),
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
        let bad = |what, value, remedy| Err(NetworkError::BadNumber { what, value, remedy });
        if self.convs > 2 {
            return bad("the number of convolutions", self.convs as f64, "use 1 or 2");
        }
        if !(self.final_time.is_finite() && self.final_time > 0.0) {
            return bad("the final time", self.final_time, "use a finite number above 0");
        }
        if self.opening == OpeningKind::Repeat && !self.channels.is_multiple_of(inputs) {
            return Err(NetworkError::CannotRepeat { inputs, channels: self.channels });
        }
        self.depth_init.validate()
    }

    /// The time grid.
    ///
    /// # Errors
    /// [`GridError::NoSteps`] for zero layers.
    pub fn grid(&self) -> Result<TimeGrid, GridError> {
        TimeGrid::uniform(self.layers, 0.0, self.final_time)
    }

    /// The layers `range` with parameters from (seed, global layer) alone; with the opening layer if `range` starts
    /// with layer 0 and the closing layer if it ends with the last. `run` is the longest coarse step, the default
    /// period of [`DepthInit::Piecewise`].
    ///
    /// # Errors
    /// As [`OdeNet2dConfig::validate`].
    pub fn init(&self, range: Range<usize>, run: usize, seed: u64, device: &Device) -> Result<OdeNet2d, NetworkError> {
        self.validate()?;
        let [inputs, height, width] = self.image;
        let opening = (range.start == 0)
            .then(|| Opening::new(self.opening, inputs, self.channels, device))
            .transpose()?
            .map(|opening| draw(opening, seed, Stream::Opening));
        let features = self.channels * height * width;
        let closing = (range.end == self.layers)
            .then(|| draw(Dense::new(features, self.hidden, self.classes, device), seed, Stream::Closing));
        let layer = |n| draw_layer(ConvRhs::new(self.convs, self.channels, device), seed, n, self.depth_init, run);
        let block = OdeBlock::new(range.start, range.clone().map(layer).collect(), self.coarse, device);
        let state_shape = [self.channels, height, width];
        Ok(OdeNet2d { opening, block, closing, state_shape })
    }
}

/// The part of an ODENet on images that consists of consecutive layers; made by [`OdeNet2dConfig::init`].
#[derive(Module, Debug)]
pub struct OdeNet2d {
    /// Opening layer, if the part starts with layer 0.
    pub opening: Option<Opening>,
    /// ODE layers.
    pub block: OdeBlock<4, ConvRhs>,
    /// Closing layer, if the part ends with the last layer.
    pub closing: Option<Dense>,
    #[module(skip)]
    state_shape: [usize; 3],
}

/// `layers.00017`: sorts by depth, whatever the part.
fn layer_prefix(n: usize) -> String {
    format!("layers.{n:05}")
}

impl OdeNet2d {
    /// Channels, height and width of a state.
    pub fn state_shape(&self) -> [usize; 3] {
        self.state_shape
    }

    /// Calls `f` with every parameter, named by global layer (`layers.00017.conv1.weight`).
    pub fn visit_parameters(&self, mut f: impl FnMut(Parameter)) {
        if let Some(opening) = &self.opening {
            visit_parameters(opening, "open", &mut f);
        }
        for (n, layer) in self.block.layers() {
            visit_parameters(layer, &layer_prefix(n), &mut f);
        }
        if let Some(closing) = &self.closing {
            visit_parameters(closing, "close", &mut f);
        }
    }

    /// Loads every parameter by global name from `source`, which returns shape and values in PyTorch's layout.
    ///
    /// # Errors
    /// [`NetworkError::MissingParameter`], [`NetworkError::WrongShape`].
    pub fn load(self, mut source: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>) -> Result<Self, NetworkError> {
        let opening = self.opening.map(|o| load_parameters(o, "open", &mut source)).transpose()?;
        let block = self.block.try_map_layers(|n, layer| load_parameters(layer, &layer_prefix(n), &mut source))?;
        let closing = self.closing.map(|c| load_parameters(c, "close", &mut source)).transpose()?;
        Ok(Self { opening, block, closing, ..self })
    }
}
