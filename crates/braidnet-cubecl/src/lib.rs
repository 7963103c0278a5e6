//! Kernels for GPUs, written once in CubeCL and compiled by burn for CUDA, ROCm, Vulkan, Metal and WebGPU.
//!
//! A layer of a small network is too little work for a GPU, and starting it takes longer than running it. The layers
//! that a solve evaluates at once are therefore *stacked*: the states of K layers lie below each other along the first
//! axis, `[K * batch, c, h, w]`, their parameters likewise, and one launch evaluates all of them.
//!
//! - [`join`], [`split`]: states below each other as one tensor, and back, without copies.
//! - [`conv3x3`], [`conv3x3_transposed`], [`conv3x3_weight_gradient`], [`channel_sums`]: the convolution of stacked
//!   layers with bias and ReLU, its derivative by the input, by the weights, by the bias.
//!
//! # Where they run
//! On plain (not tracked for differentiation) tensors of 32-bit floats on a device of one of burn's GPU backends. For
//! all others, and without the feature `devices`, every function returns `None`, and the caller uses burn's operations.
//! Tensors of 2^31 elements and more count among the others, as the kernels count in 32 bits.
//!
//! # The same bits every time
//! Every sum has an order that depends on the sizes alone, and no kernel adds by atomics: a result has the same bits
//! in every run on one device. Whether a product and a sum are contracted into one rounding is left to the device's
//! compiler, so devices may differ from each other and from the processor.
//!
//! The vocabulary that all crates share is in `docs/conventions.md`.

use burn::tensor::Tensor;

#[cfg(feature = "devices")]
mod device;
#[cfg(not(feature = "devices"))]
#[path = "no_device.rs"]
mod device;

/// `tensors`, of equal shape, below each other along the first axis, without a copy.
///
/// Works where they lie one behind the other in one buffer, as the parts that [`split`] or burn's slices of a stack
/// give; `None` otherwise, and for no tensors, or tensors without elements.
///
/// # Why the parts are safe
/// The result is one more counted reference to the buffer, with a range that begins with the first part and ends with
/// the last. It keeps the buffer alive, and burn writes in place only through the last reference to a buffer
/// (`CubeTensor::can_mut`). While a part, the result or the stack they come from lives beside another, an operation on
/// any of them writes to memory of its own. The last one left may be written in place: nobody else sees the buffer.
///
/// # Cost
/// No launch and no memory traffic.
pub fn join<const D: usize>(tensors: &[Tensor<D>]) -> Option<Tensor<D>> {
    device::join(tensors)
}

/// The `n` equal parts of `stack` along the first axis, without copies: the inverse of [`join`].
///
/// `None` where a part would begin at an address that the device cannot bind: burn wants multiples of 512 bytes on
/// CUDA, of up to 256 with Vulkan and WebGPU.
///
/// # Cost
/// No launch and no memory traffic.
///
/// # Panics
/// If `n` does not divide the first axis, or is zero.
pub fn split<const D: usize>(stack: &Tensor<D>, n: usize) -> Option<Vec<Tensor<D>>> {
    device::split(stack, n)
}

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
