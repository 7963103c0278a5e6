//! Convolutional right-hand sides on voxels, linearised by hand.
//!
//! Shapes: `u [batch, c, d, h, w]`, weight `[c, c, 3, 3, 3]`, stride 1, padding 1. Layers are not stacked: a step of voxels is large.

use braidnet_kernels as kernels;
use braidnet_mgrit::{Output, StepError};
use burn::module::Module;
use burn::nn::PaddingConfig3d;
use burn::nn::conv::{Conv3d, Conv3dConfig};
use burn::tensor::activation::relu;
use burn::tensor::module::conv3d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use crate::conv::relu_pullback;
use crate::grid_space::{Samples, VoxelSpace};
use crate::host::{Numbers, on_host, tensor};
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

    /// Sizes for the kernel of this crate's own, where it applies to `u`.
    fn kernel(&self, u: &Tensor<5>) -> Option<kernels::Conv<3>> {
        let ([outputs, inputs, ..], [_, _, extents @ ..]) = (self.conv.weight.dims(), u.dims());
        on_host(u).then_some(kernels::Conv { inputs, outputs, extents })
    }

    /// `relu(W u + b)`.
    fn apply(&self, u: Tensor<5>) -> Tensor<5> {
        let (weight, bias) = (self.conv.weight.val(), self.conv.bias.as_ref().map(|bias| bias.val()));
        let Some(kernel) = self.kernel(&u) else { return relu(conv3d(u, weight, bias, options())) };
        let (dims, u, weight, bias) = (u.dims(), Numbers::of(u), Numbers::of(weight), bias.map(Numbers::of));
        let mut f = vec![0.0; u.as_slice().len()];
        kernel.apply(u.as_slice(), weight.as_slice(), bias.as_ref().map(Numbers::as_slice), true, &mut f);
        tensor(f, dims)
    }

    /// `W^T delta`: the kernel flipped, its channels swapped.
    fn apply_transposed(&self, delta: Tensor<5>) -> Tensor<5> {
        let weight = self.conv.weight.val();
        let Some(kernel) = self.kernel(&delta) else {
            return conv3d(delta, weight.swap_dims(0, 1).flip([2, 3, 4]), None, options());
        };
        let (dims, delta, weight) = (delta.dims(), Numbers::of(delta), Numbers::of(weight));
        let mut back = vec![0.0; delta.as_slice().len()];
        kernel.apply_transposed(delta.as_slice(), weight.as_slice(), &mut back);
        tensor(back, dims)
    }

    /// Gradients of weight and bias: `delta` correlated with the input, samples in the place of channels, and summed.
    fn gradients(&self, input: Tensor<5>, delta: Tensor<5>) -> Gradients {
        let mut gradients = Vec::with_capacity(2);
        if let Some(bias) = &self.conv.bias {
            let [batch, channels, depth, height, width] = delta.dims();
            let sums = delta.clone().reshape([batch, channels, depth * height * width]).sum_dim(2).sum_dim(0);
            gradients.push(Gradient::new(bias.id, sums));
        }
        let weight = match self.kernel(&input) {
            None => conv3d(input.swap_dims(0, 1), delta.swap_dims(0, 1), None, options()).swap_dims(0, 1),
            Some(kernel) => {
                let (input, delta) = (Numbers::of(input), Numbers::of(delta));
                let mut weight = vec![0.0; 27 * kernel.inputs * kernel.outputs];
                kernel.weight_gradient(input.as_slice(), delta.as_slice(), &mut weight);
                tensor(weight, [kernel.outputs, kernel.inputs, 3, 3, 3])
            }
        };
        gradients.push(Gradient::new(self.conv.weight.id, weight));
        gradients
    }
}

impl Forward for Conv3dRhs {
    type Space = VoxelSpace;

    fn forward(&self, TensorState(u): TensorState<5>, _: At<'_, Samples>) -> TensorState<5> {
        TensorState(relu(self.conv.forward(u)))
    }
}

/// The linearisation of [`Conv3dRhs`]: its input and its output, which is zero where the ReLU is.
#[derive(Debug, Clone)]
pub struct Conv3dTape {
    rhs: Conv3dRhs,
    input: Tensor<5>,
    output: Tensor<5>,
}

impl RightHandSide for Conv3dRhs {
    type Space = VoxelSpace;
    type Tape = Conv3dTape;

    fn evaluate(&self, TensorState(u): TensorState<5>, _: At<'_, Samples>) -> TensorState<5> {
        TensorState(self.apply(u))
    }

    fn linearize(&self, TensorState(u): TensorState<5>, _: At<'_, Samples>, _: Output) -> (TensorState<5>, Conv3dTape) {
        let f = self.apply(u.clone());
        (TensorState(f.clone()), Conv3dTape { rhs: self.clone(), input: u, output: f })
    }

    /// Input and output.
    fn tape_bytes(&self, _: &Samples, state_bytes: usize) -> usize {
        2 * state_bytes
    }
}

impl RhsTape for Conv3dTape {
    type State = TensorState<5>;

    fn pullback(&self, TensorState(delta): TensorState<5>) -> Result<TensorState<5>, StepError> {
        Ok(TensorState(self.rhs.apply_transposed(relu_pullback(delta, &self.output))))
    }

    fn pullback_with_gradients(
        self,
        TensorState(delta): TensorState<5>,
        output: Output,
    ) -> Result<(Option<TensorState<5>>, PendingRhs), StepError> {
        let Self { rhs, input, output: f } = self;
        let through = relu_pullback(delta, &f);
        let state = (output == Output::Used).then(|| TensorState(rhs.apply_transposed(through.clone())));
        Ok((state, Box::new(move || Ok(rhs.gradients(input, through)))))
    }
}
