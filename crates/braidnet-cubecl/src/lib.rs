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

mod conv;
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
mod gru;
mod memory;
mod stacks;
mod transformer;

pub use conv::{channel_sums, conv3x3, conv3x3_transposed, conv3x3_weight_gradient};
pub use gru::{GruDeltas, GruPace, gru_gates, gru_pullback, gru_step};
pub use memory::{MemoryLimits, lend, memory_limits, room};
pub use stacks::{alignment, axpy, join, join_all, order, pack, split, split_all, unpack};
pub use transformer::{
    Normed, activate, activate_with_derivative, layer_norm, layer_norm_pullback, softmax, softmax_pullback,
};
