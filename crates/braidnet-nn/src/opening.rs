//! Opening layers: from the input to the first state.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::autograd::parameter_gradients;
use crate::conv::conv3x3;
use crate::grid_space::{ImageSpace, Samples, VoxelSpace};
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

/// From the input `[batch, inputs, h, w]` to the first state `[batch, channels, h, w]`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // One per network.
pub enum Opening {
    /// Convolution and ReLU.
    Conv(Conv2d),
    /// Repetition.
    Repeat(Repeat),
}

impl Opening {
    /// An opening layer with burn's default initialisation.
    ///
    /// # Errors
    /// [`NetworkError::CannotRepeat`] if `channels` is no multiple of `inputs`.
    pub fn new(kind: OpeningKind, inputs: usize, channels: usize, device: &Device) -> Result<Self, NetworkError> {
        match kind {
            OpeningKind::Conv => Ok(Self::Conv(conv3x3(inputs, channels, device))),
            OpeningKind::Repeat => Repeat::new(inputs, channels).map(Self::Repeat),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => relu(conv.forward(x)),
            Self::Repeat(repeat) => repeat.forward(x),
        }
    }
}

impl OpeningLayer<ImageSpace> for Opening {
    fn open(&self, input: &Tensor<4>, _: &Samples) -> TensorState<4> {
        TensorState(self.forward(input.clone()))
    }

    fn open_recorded(&self, input: &Tensor<4>, _: &Samples) -> (TensorState<4>, OpeningPullback<TensorState<4>>) {
        let opening = self.clone().train();
        let u = opening.forward(input.clone().autodiff());
        let state = TensorState(u.clone().inner());
        let pullback = move |TensorState(lambda): TensorState<4>| {
            if opening.num_params() == 0 {
                return Ok(Gradients::new());
            }
            Ok(parameter_gradients(&opening, &mut (u * lambda.autodiff()).backward()))
        };
        (state, Box::new(pullback))
    }
}
