//! Kernels for GPUs, written once in CubeCL and compiled by burn for CUDA, ROCm, Vulkan, Metal and WebGPU.
//!
//! A layer of a small network is too little work for a GPU, and starting it takes longer than running it. The layers
//! that a solve evaluates at once are therefore *stacked*: the states of K layers lie below each other along the first
//! axis, `[K * batch, c, h, w]`, their parameters likewise, and one launch evaluates all of them.
//!
//! - [`join`], [`split`]: states and parameters below each other as one tensor, and back, without copies or with few
//!   launches.
//! - [`pack`], [`unpack`]: vectors of any lengths as one, and back.
//! - [`axpy`]: what a step of an ODE adds to a state.
//! - [`conv3x3`], [`conv3x3_transposed`], [`conv3x3_weight_gradient`], [`channel_sums`]: the convolution of stacked
//!   layers with bias and ReLU, its derivative by the input, by the weights, by the bias.
//! - [`layer_norm`], [`softmax`], [`activate`] and their derivatives: what transformer layers have besides products.
//! - [`gru_gates`], [`gru_step`], [`gru_pullback`]: what gated recurrent units have besides products.
//! - [`lend`], [`room`]: the memory of tensors, for an MPI library that reads and writes that of CUDA devices.
//! - [`memory_limits`]: what a device says of its memory.
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

use braidnet_comm::DeviceBuffer;
use braidnet_kernels::Activation;
use burn::tensor::{DType, Device, Tensor};

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "no_cuda.rs"]
mod cuda;
#[cfg(feature = "devices")]
mod device;
#[cfg(not(feature = "devices"))]
#[path = "no_device.rs"]
mod device;

/// `tensors`, of equal shape, below each other along the first axis.
///
/// Where they lie one behind the other in one buffer, as the parts that [`split`] gives can and burn's slices of a stack
/// do, the result is a view of it. `None` for no tensors, tensors without elements, and tensors that are not alike.
///
/// # Why views are safe
/// A view is one more counted reference to the buffer, with a range that begins with the first part and ends with
/// the last. It keeps the buffer alive, and burn writes in place only through the last reference to a buffer
/// (`CubeTensor::can_mut`). While a part, the result or the stack they come from lives beside another, an operation on
/// any of them writes to memory of its own. The last one left may be written in place: nobody else sees the buffer.
///
/// # Cost
/// Nothing for a view. Otherwise a copy: one launch where the tensors lie equally far apart in one buffer, in the order
/// given, else one for every 32 of them, or as many as the device binds at a time; and one for each that has gaps.
pub fn join<const D: usize>(tensors: &[Tensor<D>]) -> Option<Tensor<D>> {
    device::join(tensors)
}

/// The tensors by where in their buffers they lie, as places in `tensors`: the order in which [`join`] needs no copy, if
/// there is one. Those that lie alike keep their order.
///
/// # Cost
/// Nothing.
pub fn order<const D: usize>(tensors: &[Tensor<D>]) -> Option<Vec<usize>> {
    device::order(tensors)
}

/// [`join`] of the tensors of each kind.
///
/// # Cost
/// As [`join`], where each kind that is copied counts as one tensor if its tensors are equally far apart.
pub fn join_all(kinds: &[Vec<Tensor<1>>]) -> Option<Vec<Tensor<1>>> {
    device::join_all(kinds)
}

/// The `n` equal parts of `stack` along the first axis: the inverse of [`join`].
///
/// They are views of one buffer and equally far apart in it: of that of `stack`, or of a copy in which each begins at
/// an address that the device can bind. burn wants multiples of 512 bytes on CUDA, of up to 256 with Vulkan and WebGPU.
/// The buffer lives as long as one of them.
///
/// # Cost
/// Nothing, or a copy in one launch.
///
/// # Panics
/// If `n` does not divide the first axis, or is zero.
pub fn split<const D: usize>(stack: &Tensor<D>, n: usize) -> Option<Vec<Tensor<D>>> {
    device::split(stack, n)
}

/// [`split`] of each stack.
///
/// # Cost
/// One launch for every 32 stacks that are copied.
///
/// # Panics
/// As [`split`].
pub fn split_all(stacks: &[Tensor<1>], n: usize) -> Option<Vec<Vec<Tensor<1>>>> {
    device::split_all(stacks, n)
}

/// Vectors of any lengths behind each other as one. Each begins at a multiple of [`alignment`]; what is in between is
/// zero, or whatever it was in a vector that [`unpack`] took apart. The result ends with the last vector.
///
/// # Cost
/// Nothing where they are those of [`unpack`], all and in order: then it is a view of their buffer. Else a launch for
/// every 32, or as many as the device binds at a time.
pub fn pack(vectors: &[Tensor<1>]) -> Option<Tensor<1>> {
    device::pack(vectors)
}

/// The inverse of [`pack`] for vectors of these lengths: views of the one buffer, which lives as long as one of them.
///
/// # Cost
/// Nothing.
///
/// # Panics
/// If the lengths are not those of vectors that were packed to `all`.
pub fn unpack(all: &Tensor<1>, lengths: &[usize]) -> Option<Vec<Tensor<1>>> {
    device::unpack(all, lengths)
}

/// The elements between places at which a vector may begin in a buffer of the device of `tensor`.
pub fn alignment(tensor: &Tensor<1>) -> Option<usize> {
    device::alignment(tensor)
}

/// `y + a x`, in memory of its own.
///
/// # Cost
/// One launch; 12 bytes and two operations per element.
///
/// # Panics
/// If the shapes differ.
pub fn axpy<const D: usize>(y: &Tensor<D>, a: f32, x: &Tensor<D>) -> Option<Tensor<D>> {
    device::axpy(y, a, x)
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

/// Rows that were normalised.
#[derive(Debug)]
pub struct Normed {
    /// `n weight + bias`.
    pub y: Tensor<2>,
    /// `n = (x - mean) / sigma`, and `1 / sigma` as a column, where they were asked for.
    pub tape: Option<(Tensor<2>, Tensor<2>)>,
}

/// Every row of stacked layers with mean 0 and variance 1, then scaled and shifted by the numbers of its layer.
///
/// # Shapes
/// - `x`: `[layers * rows, columns]`
/// - `weight`, `bias`: `[layers * columns]`
///
/// # Cost
/// One launch; 8 bytes per element, and 4 more with a `tape`.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn layer_norm(x: &Tensor<2>, weight: &Tensor<1>, bias: &Tensor<1>, epsilon: f32, tape: bool) -> Option<Normed> {
    device::layer_norm(x, weight, bias, epsilon, tape)
}

/// The derivative of [`layer_norm`] by its input, applied to `delta`, with what its tape has.
///
/// # Cost
/// One launch; 12 bytes per element.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn layer_norm_pullback(
    delta: &Tensor<2>,
    weight: &Tensor<1>,
    normalised: &Tensor<2>,
    inverse_std: &Tensor<2>,
) -> Option<Tensor<2>> {
    device::layer_norm_pullback(delta, weight, normalised, inverse_std)
}

/// `softmax(scale scores)` of every row over the keys that count: those that are not `masked`, and, if `causal`, those up to the
/// query's own place. The others become 0, and so does a row in which none counts.
///
/// # Shapes
/// - `scores`, result: `[samples, heads, queries, keys]`
/// - `masked`: `[samples, keys]`, not 0 where no query of the sample attends to the key
///
/// # Cost
/// One launch; 8 bytes per element.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn softmax(scores: &Tensor<4>, scale: f32, causal: bool, masked: Option<&Tensor<2>>) -> Option<Tensor<4>> {
    device::softmax(scores, scale, causal, masked)
}

/// The derivative of [`softmax`] by the scores, applied to `delta`: `scale p (delta - sum(p delta))` in every row.
///
/// # Cost
/// One launch; 12 bytes per element.
///
/// # Panics
/// If the shapes differ.
pub fn softmax_pullback(p: &Tensor<4>, delta: &Tensor<4>, scale: f32) -> Option<Tensor<4>> {
    device::softmax_pullback(p, delta, scale)
}

/// The function of every element.
///
/// # Cost
/// One launch; 8 bytes per element.
pub fn activate(activation: Activation, x: &Tensor<2>) -> Option<Tensor<2>> {
    device::activate(activation, x)
}

/// As [`activate`], and the derivative of every element.
///
/// # Cost
/// One launch; 12 bytes per element.
pub fn activate_with_derivative(activation: Activation, x: &Tensor<2>) -> Option<(Tensor<2>, Tensor<2>)> {
    device::activate_with_derivative(activation, x)
}

/// What steps of a gated recurrent unit do with their gates: `h' = k h + (1 - k) n` with the retention `k(z)`.
#[derive(Debug, Clone)]
pub struct GruPace {
    /// Whether `k = 1 / (1 + dt (1 - z))`; otherwise `k = 1 - dt (1 - z)`.
    pub implicit: bool,
    /// Whether several fine steps are so many with the same gates, `k` to the power of their number; otherwise one of
    /// their whole length.
    pub frozen: bool,
    /// Length of a fine step.
    pub dt: f32,
    /// How many fine steps count: in all rows, where there is not a number for each.
    pub count: f32,
    /// How many count in each row, none where a sequence has ended: `[rows]`.
    pub each: Option<Tensor<1>>,
}

/// The derivatives by what a step of a gated recurrent unit begins with.
#[derive(Debug)]
pub struct GruDeltas {
    /// By the state, without what goes through the products: `[rows, h]`.
    pub direct: Tensor<2>,
    /// By the product with the state: `[rows, 3h]`.
    pub state: Tensor<2>,
    /// By the product with the input: `[rows, 3h]`.
    pub input: Tensor<2>,
}

/// The gates `r = sigmoid(xp_r + hp_r)`, `z = sigmoid(xp_z + hp_z)`, `n = tanh(xp_n + r hp_n)`, and `hp_n` beside them, of
/// every row; `xp` is `from_input`, `hp` is `from_state + bias`.
///
/// # Shapes
/// - `from_input`, `from_state`: `[rows, 3h]`, blocks r, z, n
/// - `bias`: `[3h]`
/// - result: `[rows, 4h]`, blocks r, z, n, `hp_n`
///
/// # Cost
/// One launch; 40 bytes per number of the state.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn gru_gates(from_input: &Tensor<2>, from_state: &Tensor<2>, bias: &Tensor<1>) -> Option<Tensor<2>> {
    device::gru_gates(from_input, from_state, bias)
}

/// The states `[rows, h]` after steps with these gates from the states `h`.
///
/// # Cost
/// One launch; 16 bytes per number of the state.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn gru_step(gates: &Tensor<2>, h: &Tensor<2>, pace: &GruPace) -> Option<Tensor<2>> {
    device::gru_step(gates, h, pace)
}

/// The derivatives by what such steps begin with, of `lambda`, the derivative by the states behind them.
///
/// # Cost
/// One launch; 52 bytes per number of the state.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn gru_pullback(gates: &Tensor<2>, h: &Tensor<2>, lambda: &Tensor<2>, pace: &GruPace) -> Option<GruDeltas> {
    device::gru_pullback(gates, h, lambda, pace)
}

/// What a device says of its memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// The largest buffer that it gives.
    pub piece: u64,
    /// All of it, where it says so; with a unified memory, as much as it may use.
    pub total: Option<u64>,
}

/// The limits of a GPU's memory; `None` of a processor.
///
/// # Cost
/// One element on the device.
pub fn memory_limits(device: &Device) -> Option<MemoryLimits> {
    device::memory_limits(device)
}

/// The memory that the numbers of `tensor` lie in, one behind the other, once all that the device has queued for them is
/// done; `None` if it is not on a CUDA device, of another type than 32- or 16-bit floats, or without elements, and
/// without the feature `cuda`.
///
/// The buffer holds the tensor. As long as it lives nothing writes to that memory but who was lent it.
///
/// # Cost
/// The host waits for the device. A tensor with gaps or permuted axes is copied there first.
pub fn lend<const D: usize>(tensor: &Tensor<D>) -> Option<DeviceBuffer> {
    cuda::lend(tensor)
}

/// A tensor of any content and without gaps on a GPU, whose own memory [`lend`] lends; `None` elsewhere.
///
/// # Cost
/// An allocation; no launch.
pub fn room<const D: usize>(dims: [usize; D], dtype: DType, device: &Device) -> Option<Tensor<D>> {
    cuda::room(dims, dtype, device)
}
