//! Opening layers: from the input to the first state.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::conv::{conv3x3, conv3x3_without_bias};
use crate::grid_space::{ImageSpace, Samples, VoxelSpace};
use crate::norm::{Norm, NormKind};
use crate::stage::Stage;
use crate::{Gradients, NetworkError, OpeningLayer, OpeningPullback, TensorState};

/// Which opening layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpeningKind {
    /// `relu(conv3x3(x))`.
    #[default]
    Conv,
    /// The input's channels repeated, without parameters.
    Repeat,
}

/// Repeats the channels of its input.
#[derive(Module, Debug)]
pub struct Repeat {
    times: usize,
}

impl Repeat {
    /// From `inputs` channels to `channels`.
    ///
    /// # Errors
    /// [`NetworkError::CannotRepeat`] if `channels` is no multiple of `inputs`.
    pub fn new(inputs: usize, channels: usize) -> Result<Self, NetworkError> {
        match inputs > 0 && channels.is_multiple_of(inputs) {
            true => Ok(Self { times: channels / inputs }),
            false => Err(NetworkError::CannotRepeat { inputs, channels }),
        }
    }

    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        x.repeat_dim(1, self.times)
    }
}

impl OpeningLayer<VoxelSpace> for Repeat {
    fn open(&self, input: &Tensor<5>, _: &Samples) -> TensorState<5> {
        TensorState(self.forward(input.clone()))
    }

    fn open_recorded(&self, input: &Tensor<5>, batch: &Samples) -> (TensorState<5>, OpeningPullback<TensorState<5>>) {
        (self.open(input, batch), Box::new(|_| Ok(Gradients::new())))
    }
}

/// `relu(norm(conv3x3(x)))`.
#[derive(Module, Debug)]
pub struct NormedConv {
    conv: Conv2d,
    norm: Norm,
}

/// From the input `[batch, inputs, h, w]` to the first state `[batch, channels, h, w]`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // One per network.
pub enum Opening {
    /// Convolution and ReLU.
    Conv(Conv2d),
    /// Convolution, norm and ReLU.
    Normed(NormedConv),
    /// Repetition.
    Repeat(Repeat),
}

impl Opening {
    /// An opening layer with burn's default initialisation; a convolution followed by `norm` if there is one.
    ///
    /// # Errors
    /// [`NetworkError::CannotRepeat`] if `channels` is no multiple of `inputs`.
    pub fn new(
        kind: OpeningKind,
        norm: Option<NormKind>,
        inputs: usize,
        channels: usize,
        device: &Device,
    ) -> Result<Self, NetworkError> {
        match (kind, norm) {
            (OpeningKind::Conv, None) => Ok(Self::Conv(conv3x3(inputs, channels, device))),
            (OpeningKind::Conv, Some(norm)) => {
                let conv = conv3x3_without_bias(inputs, channels, 1, device);
                Ok(Self::Normed(NormedConv { conv, norm: Norm::new(norm, channels, device) }))
            }
            (OpeningKind::Repeat, _) => Repeat::new(inputs, channels).map(Self::Repeat),
        }
    }

    /// The convolution and its norm; what repeats has none.
    fn stage(&self) -> Result<Stage<'_>, &Repeat> {
        match self {
            Self::Conv(conv) => Ok(Stage { conv, norm: None, layers: 1 }),
            Self::Normed(NormedConv { conv, norm }) => Ok(Stage { conv, norm: Some(norm), layers: 1 }),
            Self::Repeat(repeat) => Err(repeat),
        }
    }
}

impl OpeningLayer<ImageSpace> for Opening {
    fn open(&self, input: &Tensor<4>, batch: &Samples) -> TensorState<4> {
        TensorState(match self.stage() {
            Ok(stage) => stage.evaluate(input.clone(), batch.is_training),
            Err(repeat) => repeat.forward(input.clone()),
        })
    }

    fn open_recorded(&self, input: &Tensor<4>, _: &Samples) -> (TensorState<4>, OpeningPullback<TensorState<4>>) {
        match self.stage() {
            Ok(stage) => {
                let (u, tape) = stage.linearize(input.clone());
                let pullback = move |TensorState(lambda): TensorState<4>| {
                    let (_, deltas) = tape.pull_back_for_gradients(lambda, false);
                    Ok(deltas.gradients())
                };
                (TensorState(u), Box::new(pullback))
            }
            Err(repeat) => (TensorState(repeat.forward(input.clone())), Box::new(|_| Ok(Gradients::new()))),
        }
    }
}
