//! Convolutional right-hand sides, linearised by hand.

use braidnet_mgrit::{Output, StepError};
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu;
use burn::tensor::{Bool, Device, Tensor};

use crate::conv::{apply, apply_transposed, conv3x3, parameter_gradients};
use crate::grid_space::{ImageSpace, Samples};
use crate::rhs::At;
use crate::{Forward, PendingRhs, RhsTape, RightHandSide, TensorState};

/// `F(u) = relu(conv(u))`.
#[derive(Module, Debug)]
pub struct OneConv {
    conv: Conv2d,
}

/// `F(u) = relu(conv2(relu(conv1(u))))`.
#[derive(Module, Debug)]
pub struct TwoConv {
    conv1: Conv2d,
    conv2: Conv2d,
}

/// One or two 3x3 convolutions, each followed by a ReLU; `c` channels in and out, extents kept.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // One per layer, and the larger variant is the usual one.
pub enum ConvRhs {
    /// One convolution.
    One(OneConv),
    /// Two convolutions.
    Two(TwoConv),
}

impl ConvRhs {
    /// `n_convs` (1, otherwise 2) convolutions with burn's default initialisation.
    pub fn new(n_convs: usize, channels: usize, device: &Device) -> Self {
        let conv = || conv3x3(channels, channels, device);
        match n_convs {
            1 => Self::One(OneConv { conv: conv() }),
            _ => Self::Two(TwoConv { conv1: conv(), conv2: conv() }),
        }
    }

    /// Convolutions, 1 or 2.
    pub fn n_convs(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Two(_) => 2,
        }
    }

    fn convs(&self) -> impl Iterator<Item = &Conv2d> {
        let (first, second) = match self {
            Self::One(OneConv { conv }) => (conv, None),
            Self::Two(TwoConv { conv1, conv2 }) => (conv1, Some(conv2)),
        };
        std::iter::once(first).chain(second)
    }
}

impl Forward for ConvRhs {
    type Space = ImageSpace;

    fn forward(&self, TensorState(u): TensorState<4>, _: At<'_, Samples>) -> TensorState<4> {
        TensorState(self.convs().fold(u, |u, conv| relu(conv.forward(u))))
    }
}

/// One convolution and ReLU at one state.
#[derive(Debug, Clone)]
struct Stage {
    conv: Conv2d,
    input: Tensor<4>,
    /// Where the ReLU is zero.
    off: Tensor<4, Bool>,
}

impl Stage {
    /// `delta` through the ReLU.
    fn through_relu(&self, delta: Tensor<4>) -> Tensor<4> {
        delta.mask_fill(self.off.clone(), 0.0)
    }
}

/// The linearisation of [`ConvRhs`]: inputs and ReLU masks of its convolutions, first to last.
#[derive(Debug, Clone)]
pub struct ConvTape {
    stages: Vec<Stage>,
}

impl RightHandSide for ConvRhs {
    type Space = ImageSpace;
    type Tape = ConvTape;

    fn evaluate(&self, TensorState(u): TensorState<4>, _: At<'_, Samples>) -> TensorState<4> {
        TensorState(self.convs().fold(u, |u, conv| relu(apply(conv, u))))
    }

    fn linearize(&self, u: TensorState<4>, _: At<'_, Samples>, _: Output) -> (TensorState<4>, ConvTape) {
        let mut stages = Vec::with_capacity(2);
        let TensorState(mut u) = u;
        for conv in self.convs() {
            let input = u.clone();
            u = relu(apply(conv, u));
            stages.push(Stage { conv: conv.clone(), input, off: u.clone().lower_equal_elem(0.0) });
        }
        (TensorState(u), ConvTape { stages })
    }

    /// Input and ReLU mask of every convolution.
    fn tape_bytes(&self, _: &Samples, state_bytes: usize) -> usize {
        let n = state_bytes / size_of::<f32>();
        self.n_convs() * (state_bytes + n * size_of::<bool>())
    }
}

impl RhsTape for ConvTape {
    type State = TensorState<4>;

    fn pullback(&self, TensorState(delta): TensorState<4>) -> Result<TensorState<4>, StepError> {
        let back = |delta, stage: &Stage| apply_transposed(&stage.conv, stage.through_relu(delta));
        Ok(TensorState(self.stages.iter().rev().fold(delta, back)))
    }

    fn pullback_with_gradients(
        self,
        TensorState(delta): TensorState<4>,
        output: Output,
    ) -> Result<(Option<TensorState<4>>, PendingRhs), StepError> {
        let mut delta = Some(delta);
        let mut formed_from = Vec::with_capacity(self.stages.len());
        for (n, stage) in self.stages.into_iter().enumerate().rev() {
            let Some(through) = delta.take().map(|d| stage.through_relu(d)) else { break };
            if n > 0 || output == Output::Used {
                delta = Some(apply_transposed(&stage.conv, through.clone()));
            }
            formed_from.push((stage, through));
        }
        let gradients = move || {
            let each = formed_from.into_iter().rev();
            Ok(each.flat_map(|(stage, through)| parameter_gradients(&stage.conv, stage.input, through)).collect())
        };
        Ok((delta.map(TensorState), Box::new(gradients)))
    }
}
