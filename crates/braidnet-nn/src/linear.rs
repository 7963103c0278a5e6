//! Dense layers on rows, and their transposes.
//!
//! Shapes: `x [rows, in]`, weight `[in, out]`. All products take transposes as views, nothing is copied.

use braidnet_kernels::{add_to_rows, column_sums};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::host::{Numbers, change, on_host, tensor};
use crate::{Gradient, Gradients};

/// A dense layer with bias.
pub(crate) fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).init(device)
}

/// `x W + b`.
pub(crate) fn apply(linear: &Linear, x: Tensor<2>) -> Tensor<2> {
    let y = x.matmul(linear.weight.val());
    let Some(bias) = &linear.bias else { return y };
    let bias = bias.val();
    if !on_host(&y) {
        return y + bias.unsqueeze();
    }
    let bias = Numbers::of(bias);
    change(y, |y| add_to_rows(y, bias.as_slice()))
}

/// `delta W^T`.
pub(crate) fn pull_back(linear: &Linear, delta: Tensor<2>) -> Tensor<2> {
    delta.matmul(linear.weight.val().transpose())
}

/// Gradients `x^T delta` of the weight and the sum of all rows of `delta` of the bias.
pub(crate) fn gradients(linear: &Linear, x: Tensor<2>, delta: Tensor<2>) -> Gradients {
    let mut gradients = Vec::with_capacity(2);
    gradients.push(Gradient::new(linear.weight.id, x.transpose().matmul(delta.clone())));
    if let Some(bias) = &linear.bias {
        gradients.push(Gradient::new(bias.id, sum_of_rows(delta)));
    }
    gradients
}

fn sum_of_rows(x: Tensor<2>) -> Tensor<1> {
    let [_, columns] = x.dims();
    if !on_host(&x) {
        return x.sum_dim(0).reshape([columns]);
    }
    let mut sums = vec![0.0; columns];
    column_sums(Numbers::of(x).as_slice(), columns, &mut sums);
    tensor(sums, [columns])
}
