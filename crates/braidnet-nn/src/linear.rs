//! Dense layers on rows, and their transposes.
//!
//! Shapes: `x [rows, in]`, weight `[in, out]`; of stacked layers weight `[layers * in, out]`, bias `[layers * out]`, and the rows are
//! theirs below each other. All products take transposes as views, nothing is copied.

use braidnet_kernels::{add_to_rows, column_sums};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::host::{Numbers, change, on_host, tensor};
use crate::{Gradient, Gradients};

/// A dense layer with bias.
pub(crate) fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).init(device)
}

/// How many layers are stacked in one that takes the rows `x`.
pub(crate) fn n_layers(linear: &Linear, x: &Tensor<2>) -> usize {
    linear.weight.dims()[0] / x.dims()[1]
}

/// `x` by layers, `[layers, rows, columns]`.
fn by_layers(x: Tensor<2>, layers: usize) -> Tensor<3> {
    let [rows, columns] = x.dims();
    x.reshape([layers, rows / layers, columns])
}

/// The inverse of [`by_layers`].
fn in_rows(x: Tensor<3>) -> Tensor<2> {
    let [layers, rows, columns] = x.dims();
    x.reshape([layers * rows, columns])
}

/// The weights of stacked layers, `[layers, in, out]`.
fn weights(linear: &Linear, layers: usize) -> Tensor<3> {
    by_layers(linear.weight.val(), layers)
}

/// `x W + b`.
pub(crate) fn apply(linear: &Linear, x: Tensor<2>) -> Tensor<2> {
    let layers = n_layers(linear, &x);
    if layers > 1 {
        let y = by_layers(x, layers).matmul(weights(linear, layers));
        let outputs = y.dims()[2];
        return in_rows(match &linear.bias {
            Some(bias) => y + bias.val().reshape([layers, 1, outputs]),
            None => y,
        });
    }
    let y = x.matmul(linear.weight.val());
    let Some(bias) = &linear.bias else { return y };
    let bias = bias.val();
    if !on_host(&y) {
        return y + bias.unsqueeze();
    }
    let bias = Numbers::of(bias);
    change(y, |y| add_to_rows(y, bias.as_slice()))
}

/// `delta W^T`, of so many stacked layers.
pub(crate) fn pull_back(linear: &Linear, delta: Tensor<2>, layers: usize) -> Tensor<2> {
    if layers > 1 {
        return in_rows(by_layers(delta, layers).matmul(weights(linear, layers).transpose()));
    }
    delta.matmul(linear.weight.val().transpose())
}

/// Gradients `x^T delta` of the weight and the sum of all rows of `delta` of the bias.
pub(crate) fn gradients(linear: &Linear, x: Tensor<2>, delta: Tensor<2>) -> Gradients {
    let layers = n_layers(linear, &x);
    let mut gradients = Vec::with_capacity(2);
    let weight = match layers {
        1 => x.transpose().matmul(delta.clone()),
        _ => in_rows(by_layers(x, layers).transpose().matmul(by_layers(delta.clone(), layers))),
    };
    gradients.push(Gradient::new(linear.weight.id, weight));
    if let Some(bias) = &linear.bias {
        gradients.push(Gradient::new(bias.id, sum_of_rows(delta, layers)));
    }
    gradients
}

/// The sum of all rows of each layer.
fn sum_of_rows(x: Tensor<2>, layers: usize) -> Tensor<1> {
    let [_, columns] = x.dims();
    if layers > 1 || !on_host(&x) {
        return by_layers(x, layers).sum_dim(1).reshape([layers * columns]);
    }
    let mut sums = vec![0.0; columns];
    column_sums(Numbers::of(x).as_slice(), columns, &mut sums);
    tensor(sums, [columns])
}
