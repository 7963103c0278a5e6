//! The kernel of activation functions.

use braidnet_kernels::Activation;
use burn_cubecl::cubecl::{self, prelude::*};

/// `1 / sqrt(2)`.
const FRAC_1_SQRT_2: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// `1 / sqrt(2 pi)`.
const DENSITY: f32 = 0.398_942_3;
/// `2 sqrt(2 / pi)`.
const TWO_SQRT_2_OVER_PI: f32 = 1.595_769;
/// The cubic coefficient of the approximation by `tanh`.
const CUBIC: f32 = 0.044_715;
/// The exponential of its negative is nothing beside 1, that of itself is a number.
const FAR: f32 = 80.0;

/// What the kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Function {
    pub activation: Activation,
    /// Whether the derivative is wanted.
    pub derivative: bool,
}

#[cube(launch)]
pub(super) fn activate_kernel(x: &[f32], y: &mut [f32], slope: &mut [f32], #[comptime] function: Function) {
    if ABSOLUTE_POS < y.len() {
        let x = x[ABSOLUTE_POS];
        let (value, derivative) = activated(x, comptime!(function.activation));
        y[ABSOLUTE_POS] = value;
        if comptime!(function.derivative) {
            slope[ABSOLUTE_POS] = derivative;
        }
    }
}

/// The value and the derivative.
#[cube]
fn activated(x: f32, #[comptime] activation: Activation) -> (f32, f32) {
    match comptime!(activation) {
        Activation::Gelu => {
            let below = 0.5f32 * (1.0f32 + Erf::erf(x * FRAC_1_SQRT_2));
            (x * below, below + x * DENSITY * (-0.5f32 * x * x).exp())
        }
        Activation::GeluTanh => {
            // (1 + tanh(a)) / 2 = 1 / (1 + e), where nothing cancels as in 1 - tanh(a)^2.
            let e = clamp(-TWO_SQRT_2_OVER_PI * (x + CUBIC * x * x * x), -FAR, FAR).exp();
            let below = 1.0f32 / (1.0f32 + e);
            let steepness = TWO_SQRT_2_OVER_PI * (1.0f32 + 3.0f32 * CUBIC * x * x);
            (x * below, below + x * below * (e * below) * steepness)
        }
        Activation::Relu => (select(x < 0.0f32, 0.0f32, x), select(x > 0.0f32, 1.0f32, select(x <= 0.0f32, 0.0f32, x))),
        Activation::Elu => {
            let e = select(x > 0.0f32, 0.0f32, x).exp();
            (select(x > 0.0f32, x, e - 1.0f32), e)
        }
    }
}
