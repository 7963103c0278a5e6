//! Activation functions, with their derivatives where the adjoint wants them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    erf::erf,
    exp::{exp, exp_m1},
    vector::{clamp, map, map_pair, vectorised},
};

/// `1 / sqrt(2 pi)`.
const INV_SQRT_2PI: f32 = 0.398_942_3;
/// `2 sqrt(2 / pi)`, twice the factor of [`Activation::GeluTanh`].
const TWO_SQRT_2_OVER_PI: f32 = 1.595_769;
/// The cubic coefficient of [`Activation::GeluTanh`].
const CUBIC: f32 = 0.044_715;

/// A function applied to every element.
///
/// A NaN gives NaN, in the value and in the derivative. At plus and minus infinity both are the limits: every function
/// here goes to 0 (or -1, [`Activation::Elu`]) on the left and to infinity on the right, its derivative to 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x Phi(x)` with the normal distribution `Phi(x) = (1 + erf(x / sqrt 2)) / 2` (Hendrycks and Gimpel 2016).
    Gelu,
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`, the approximation of GPT-2.
    GeluTanh,
    /// `max(x, 0)`; its derivative at 0 counts as 0.
    Relu,
    /// `x` for positive `x`, else `e^x - 1`.
    Elu,
}

impl Activation {
    /// Puts the function's value in the place of every element.
    ///
    /// ```
    /// let mut x = [-1.0, 0.0, 2.0];
    /// braidnet_kernels::Activation::Relu.apply(&mut x);
    /// assert_eq!(x, [0.0, 0.0, 2.0]);
    /// ```
    pub fn apply(self, x: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || match self {
                Self::Gelu => map(x, gelu),
                Self::GeluTanh => map(x, gelu_tanh),
                Self::Relu => map(x, relu),
                Self::Elu => map(x, elu),
            },
        );
    }

    /// The same as [`Activation::apply`], to the bit, and the derivative at the input beside it.
    ///
    /// `derivative` is as long as `x`; what it held is lost.
    pub fn apply_with_derivative(self, x: &mut [f32], derivative: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || match self {
                Self::Gelu => map_pair(x, derivative, gelu_pair),
                Self::GeluTanh => map_pair(x, derivative, gelu_tanh_pair),
                Self::Relu => map_pair(x, derivative, relu_pair),
                Self::Elu => map_pair(x, derivative, elu_pair),
            },
        );
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu-tanh",
            Self::Relu => "relu",
            Self::Elu => "elu",
        })
    }
}

/// Where `x` is bounded below, what multiplies it is exactly 0 or 1 beyond the bound; at infinity the product would be
/// NaN.
const BOUND: f32 = 20.0;

/// `x` where a factor that is 0 for very negative `x` follows.
#[inline(always)]
fn bounded_below(x: f32) -> f32 {
    if x < -BOUND { -BOUND } else { x }
}

/// The normal distribution function.
#[inline(always)]
fn phi(x: f32) -> f32 {
    0.5 + 0.5 * erf(x * std::f32::consts::FRAC_1_SQRT_2)
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    bounded_below(x) * phi(x)
}

#[inline(always)]
fn gelu_pair(x: f32) -> (f32, f32) {
    let phi = phi(x);
    let bounded = clamp(x, BOUND);
    let density = INV_SQRT_2PI * exp(-0.5 * bounded * bounded);
    (bounded_below(x) * phi, phi + bounded * density)
}

/// The factor of `x`, `(1 + tanh u) / 2 = 1 / (1 + e^(-2u))`, and its derivative by `2u`.
///
/// Both from `e^(-|2u|)`, so that neither end loses digits.
#[inline(always)]
fn sigmoid_pair(bounded: f32) -> (f32, f32) {
    let twice = TWO_SQRT_2_OVER_PI * (bounded + CUBIC * bounded * bounded * bounded);
    let small = exp(-twice.abs());
    let inverse = 1.0 / (1.0 + small);
    let left = small * inverse;
    (if twice < 0.0 { left } else { inverse }, left * inverse)
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    bounded_below(x) * sigmoid_pair(clamp(x, BOUND)).0
}

#[inline(always)]
fn gelu_tanh_pair(x: f32) -> (f32, f32) {
    let bounded = clamp(x, BOUND);
    let (factor, slope) = sigmoid_pair(bounded);
    let inner = TWO_SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * bounded * bounded);
    (bounded_below(x) * factor, factor + bounded * slope * inner)
}

#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn relu_pair(x: f32) -> (f32, f32) {
    let positive = if x > 0.0 { 1.0 } else { x };
    (relu(x), if x <= 0.0 { 0.0 } else { positive })
}

#[inline(always)]
fn elu(x: f32) -> f32 {
    if x > 0.0 { x } else { exp_m1(x) }
}

#[inline(always)]
fn elu_pair(x: f32) -> (f32, f32) {
    (elu(x), if x > 0.0 { 1.0 } else { exp(x) })
}
