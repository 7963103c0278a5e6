//! Convolutions of stacked layers.

use burn::tensor::Tensor;

use crate::device;

/// Convolutions of `layers` stacked layers with windows of 3 x 3, stride 1 and padding 1, plus `bias`, then a ReLU
/// if `relu`.
///
/// # Shapes
/// - `u`: `[layers * batch, c_in, h, w]`
/// - `weight`: `[layers * c_out, c_in, 3, 3]`
/// - `bias`: `[layers * c_out]`
/// - result: `[layers * batch, c_out, h, w]`
///
/// # Cost
/// One launch. `18 * layers * batch * c_in * c_out * h * w` operations; reads `u` and the parameters and writes the
/// result once each, beyond the device's cache.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn conv3x3(
    u: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    layers: usize,
    relu: bool,
) -> Option<Tensor<4>> {
    device::conv3x3(u, weight, bias, layers, relu)
}

/// The derivative of [`conv3x3`] by its input, applied to `delta`, the derivative by its output.
///
/// With `relu_output`, the output of the convolution's ReLU, `delta` counts only where that is above zero; where it is
/// NaN, so is what counts.
///
/// # Shapes
/// - `delta`, `relu_output`: `[layers * batch, c_out, h, w]`
/// - `weight`: `[layers * c_out, c_in, 3, 3]`
/// - result: `[layers * batch, c_in, h, w]`
///
/// # Cost
/// As [`conv3x3`].
///
/// # Panics
/// If the shapes do not fit each other.
pub fn conv3x3_transposed(
    delta: &Tensor<4>,
    weight: &Tensor<4>,
    relu_output: Option<&Tensor<4>>,
    layers: usize,
) -> Option<Tensor<4>> {
    device::conv3x3_transposed(delta, weight, relu_output, layers)
}

/// The derivative of [`conv3x3`] by its weights: sums over the batch and all positions, of each layer.
///
/// `relu_output` as for [`conv3x3_transposed`].
///
/// # Shapes
/// - `input`: `[layers * batch, c_in, h, w]`
/// - `delta`, `relu_output`: `[layers * batch, c_out, h, w]`
/// - result: `[layers * c_out, c_in, 3, 3]`
///
/// # Cost
/// Two launches, or one if the sums are short. Operations as [`conv3x3`].
///
/// # Panics
/// If the shapes do not fit each other.
pub fn conv3x3_weight_gradient(
    input: &Tensor<4>,
    delta: &Tensor<4>,
    relu_output: Option<&Tensor<4>>,
    layers: usize,
) -> Option<Tensor<4>> {
    device::conv3x3_weight_gradient(input, delta, relu_output, layers)
}

/// The derivative of [`conv3x3`] by its bias: the sums of `delta` per channel, of each layer.
///
/// `relu_output` as for [`conv3x3_transposed`].
///
/// # Shapes
/// - `delta`, `relu_output`: `[layers * batch, c, h, w]`
/// - result: `[layers * c]`
///
/// # Cost
/// One launch, which reads `delta` (and `relu_output`) once.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn channel_sums(delta: &Tensor<4>, relu_output: Option<&Tensor<4>>, layers: usize) -> Option<Tensor<1>> {
    device::channel_sums(delta, relu_output, layers)
}
