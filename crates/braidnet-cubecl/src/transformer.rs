//! What transformer layers have besides products.

use braidnet_kernels::Activation;
use burn::tensor::Tensor;

use crate::device;

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
