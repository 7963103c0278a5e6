//! Convolutional right-hand sides on voxels, linearised by hand.
//!
//! Shapes: `u [batch, c, d, h, w]`, weight `[c, c, 3, 3, 3]`, stride 1, padding 1.

use braidnet_mgrit::{Output, StepError};
use burn::module::Module;
use burn::nn::PaddingConfig3d;
use burn::nn::conv::{Conv3d, Conv3dConfig};
use burn::tensor::activation::relu;
use burn::tensor::module::conv3d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Bool, Device, Tensor};

use crate::grid_space::{Samples, VoxelSpace};
use crate::rhs::At;
use crate::{Forward, Gradient, Gradients, PendingRhs, RhsTape, RightHandSide, TensorState};

/// `F(u) = relu(conv(u))` with a 3x3x3 convolution that keeps channels and extents.
#[derive(Module, Debug)]
pub struct Conv3dRhs {
    conv: Conv3d,
}

fn options() -> ConvOptions<3> {
    ConvOptions::new([1; 3], [1; 3], [1; 3], 1)
}

impl Conv3dRhs {
    /// A right-hand side on states of `channels` channels, with burn's default initialisation.
    pub fn new(channels: usize, device: &Device) -> Self {
        let config = Conv3dConfig::new([channels, channels], [3, 3, 3]);
        Self { conv: config.with_padding(PaddingConfig3d::Explicit(1, 1, 1)).init(device) }
    }

    /// `W u + b`.
    fn apply(&self, u: Tensor<5>) -> Tensor<5> {
        conv3d(u, self.conv.weight.val(), self.conv.bias.as_ref().map(|bias| bias.val()), options())
    }

    /// `W^T delta`: the kernel flipped, its channels swapped.
    fn apply_transposed(&self, delta: Tensor<5>) -> Tensor<5> {
        conv3d(delta, self.conv.weight.val().swap_dims(0, 1).flip([2, 3, 4]), None, options())
    }

    /// Gradients of weight and bias: `delta` correlated with the input, samples in the place of channels, and summed.
    fn gradients(&self, input: Tensor<5>, delta: Tensor<5>) -> Gradients {
        let mut gradients = Vec::with_capacity(2);
        let weight = conv3d(input.swap_dims(0, 1), delta.clone().swap_dims(0, 1), None, options()).swap_dims(0, 1);
        gradients.push(Gradient::new(self.conv.weight.id, weight));
        if let Some(bias) = &self.conv.bias {
            let [batch, channels, depth, height, width] = delta.dims();
            let sums = delta.reshape([batch, channels, depth * height * width]).sum_dim(2).sum_dim(0);
            gradients.push(Gradient::new(bias.id, sums));
        }
        gradients
    }
}

impl Forward for Conv3dRhs {
    type Space = VoxelSpace;

    fn forward(&self, TensorState(u): TensorState<5>, _: At<'_, Samples>) -> TensorState<5> {
        TensorState(relu(self.conv.forward(u)))
    }
}

/// The linearisation of [`Conv3dRhs`]: its input and where its ReLU is zero.
#[derive(Debug, Clone)]
pub struct Conv3dTape {
    rhs: Conv3dRhs,
    input: Tensor<5>,
    off: Tensor<5, Bool>,
}

impl RightHandSide for Conv3dRhs {
    type Space = VoxelSpace;
    type Tape = Conv3dTape;

    fn evaluate(&self, TensorState(u): TensorState<5>, _: At<'_, Samples>) -> TensorState<5> {
        TensorState(relu(self.apply(u)))
    }

    fn linearize(&self, TensorState(u): TensorState<5>, _: At<'_, Samples>, _: Output) -> (TensorState<5>, Conv3dTape) {
        let f = relu(self.apply(u.clone()));
        let off = f.clone().lower_equal_elem(0.0);
        (TensorState(f), Conv3dTape { rhs: self.clone(), input: u, off })
    }

    /// Input and ReLU mask.
    fn tape_bytes(&self, _: &Samples, state_bytes: usize) -> usize {
        state_bytes + state_bytes / size_of::<f32>() * size_of::<bool>()
    }
}

impl RhsTape for Conv3dTape {
    type State = TensorState<5>;

    fn pullback(&self, TensorState(delta): TensorState<5>) -> Result<TensorState<5>, StepError> {
        Ok(TensorState(self.rhs.apply_transposed(delta.mask_fill(self.off.clone(), 0.0))))
    }

    fn pullback_with_gradients(
        self,
        TensorState(delta): TensorState<5>,
        output: Output,
    ) -> Result<(Option<TensorState<5>>, PendingRhs), StepError> {
        let Self { rhs, input, off } = self;
        let through = delta.mask_fill(off, 0.0);
        let state = (output == Output::Used).then(|| TensorState(rhs.apply_transposed(through.clone())));
        Ok((state, Box::new(move || Ok(rhs.gradients(input, through)))))
    }
}
