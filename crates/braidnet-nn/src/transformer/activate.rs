//! Activation functions on tensors.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use braidnet_kernels::Activation;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::gpu;
use crate::host::{change, on_host, single, tensor};

/// The cubic coefficient of [`Activation::GeluTanh`].
const CUBIC: f64 = 0.044_715;

/// The function of every element.
pub(super) fn activate(activation: Activation, x: Tensor<2>) -> Tensor<2> {
    if on_host(&x) {
        return change(x, |x| activation.apply(x));
    }
    if let Some(y) = gpu::activate(activation, &x) {
        return y;
    }
    let (dtype, x) = (x.dtype(), single(x));
    let y = match activation {
        Activation::Gelu => x.clone() * normal_distribution(x),
        Activation::GeluTanh => x.clone() * (tanh_of_cubic(x) + 1.0) * 0.5,
        Activation::Relu => relu(x),
        // The exponential of what is positive may overflow, and is not used.
        Activation::Elu => relu(x.clone()) + (x.clamp_max(0.0).exp() - 1.0),
    };
    y.cast(dtype)
}

/// As [`activate`], and the derivative of every element.
pub(super) fn activate_with_derivative(activation: Activation, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    if on_host(&x) {
        let dims = x.dims();
        let mut derivative = vec![0.0; dims[0] * dims[1]];
        let y = change(x, |x| activation.apply_with_derivative(x, &mut derivative));
        return (y, tensor(derivative, dims));
    }
    if let Some(both) = gpu::activate_with_derivative(activation, &x) {
        return both;
    }
    let (dtype, x) = (x.dtype(), single(x));
    let derivative = match activation {
        Activation::Gelu => {
            let density = (x.clone() * x.clone() * -0.5).exp() * (0.5 * FRAC_1_SQRT_2 * FRAC_2_SQRT_PI);
            normal_distribution(x.clone()) + x.clone() * density
        }
        Activation::GeluTanh => {
            let tanh = tanh_of_cubic(x.clone());
            let inner = (x.clone() * x.clone() * (3.0 * CUBIC) + 1.0) * (FRAC_1_SQRT_2 * FRAC_2_SQRT_PI);
            let slope = (tanh.clone() * tanh.clone() - 1.0) * -1.0;
            ((tanh + 1.0) + x.clone() * slope * inner) * 0.5
        }
        Activation::Relu => x.zeros_like().mask_fill(x.clone().greater_elem(0.0), 1.0),
        Activation::Elu => x.clone().clamp_max(0.0).exp(),
    };
    (activate(activation, x).cast(dtype), derivative.cast(dtype))
}

/// `Phi(x)`.
fn normal_distribution(x: Tensor<2>) -> Tensor<2> {
    ((x * FRAC_1_SQRT_2).erf() + 1.0) * 0.5
}

/// `tanh(sqrt(2 / pi) (x + 0.044715 x^3))`.
fn tanh_of_cubic(x: Tensor<2>) -> Tensor<2> {
    let cubic = x.clone() + x.clone() * x.clone() * x * CUBIC;
    (cubic * (FRAC_1_SQRT_2 * FRAC_2_SQRT_PI)).tanh()
}
