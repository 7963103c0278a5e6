//! How kernels read tensors.

use burn_cubecl::cubecl::{self, prelude::*};

/// The element of `tensor` at image `n`, channel `c`, row `y` and column `x`. Works with any strides, as burn pads rows
/// on CUDA and stores some results with the channels last.
#[cube]
pub(super) fn element(tensor: &Tensor<f32>, n: usize, c: usize, y: usize, x: usize) -> f32 {
    tensor[n * tensor.stride(0) + c * tensor.stride(1) + y * tensor.stride(2) + x * tensor.stride(3)]
}

/// [`element`] of a derivative by the output of a ReLU: zero where that is zero, NaN where it is NaN.
#[cube]
pub(super) fn pulled_back(
    delta: &Tensor<f32>,
    relu_output: ComptimeOption<&Tensor<f32>>,
    n: usize,
    c: usize,
    y: usize,
    x: usize,
) -> f32 {
    let value = element(delta, n, c, y, x);
    #[comptime]
    match relu_output {
        ComptimeOption::Some(output) => {
            let output = element(output, n, c, y, x);
            select(output > 0.0f32, value, select(output <= 0.0f32, 0.0f32, output))
        }
        ComptimeOption::None => value,
    }
}
