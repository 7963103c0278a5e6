//! Kernels of our own on GPUs, where this build has them and the tensors are there; `None` elsewhere.

use braidnet_cubecl as kernels;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

pub(crate) use kernels::{activate, activate_with_derivative, softmax, softmax_pullback};
pub(crate) use kernels::{alignment, axpy, join, join_all, order, pack, split, split_all, unpack};
pub(crate) use kernels::{gru_gates, gru_pullback, gru_step, layer_norm, layer_norm_pullback};

/// Whether `device` is a GPU, which is better given many layers in one call.
pub(crate) fn is_gpu(device: &Device) -> bool {
    // Where the kernels run says the same; without the feature there is no need to ask the device.
    cfg!(feature = "cubecl") && kernels::join(&[Tensor::<1>::empty([1], device)]).is_some()
}

/// Whether the kernels take this convolution.
fn takes(conv: &Conv2d) -> Option<()> {
    (conv.stride == [1, 1]).then_some(())
}

/// As [`crate::conv::apply`], and a ReLU behind it if wanted.
pub(crate) fn convolve(conv: &Conv2d, u: &Tensor<4>, layers: usize, relu: bool) -> Option<Tensor<4>> {
    takes(conv)?;
    let bias = conv.bias.as_ref().map(|bias| bias.val());
    kernels::conv3x3(u, &conv.weight.val(), bias.as_ref(), layers, relu)
}

/// As [`crate::conv::apply_transposed`] of what `delta` has where `relu_output`, if there is one, is above 0.
pub(crate) fn convolve_transposed(
    conv: &Conv2d,
    delta: &Tensor<4>,
    relu_output: Option<&Tensor<4>>,
    layers: usize,
) -> Option<Tensor<4>> {
    takes(conv)?;
    kernels::conv3x3_transposed(delta, &conv.weight.val(), relu_output, layers)
}

/// The gradient of the weight, of [`crate::conv::parameter_gradients`].
pub(crate) fn weight_gradient(
    conv: &Conv2d,
    input: &Tensor<4>,
    delta: &Tensor<4>,
    relu_output: Option<&Tensor<4>>,
    layers: usize,
) -> Option<Tensor<4>> {
    takes(conv)?;
    kernels::conv3x3_weight_gradient(input, delta, relu_output, layers)
}

/// The gradient of the bias, likewise.
pub(crate) fn bias_gradient(delta: &Tensor<4>, relu_output: Option<&Tensor<4>>, layers: usize) -> Option<Tensor<1>> {
    kernels::channel_sums(delta, relu_output, layers)
}
