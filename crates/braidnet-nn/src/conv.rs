//! One 3x3 convolution and its transposes.
//!
//! Shapes: `u [batch, c, h, w]`, weight `[c_out, c_in, 3, 3]`, padding 1, stride 1 or more. Of stacked layers, with stride 1, weights
//! and biases lie below each other, `[layers * c_out, c_in, 3, 3]`, and so do their batches.

use braidnet_kernels as kernels;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::module::{conv_transpose2d, conv2d, conv2d_weight_backward};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor};

use crate::gpu;
use crate::host::{Numbers, change, on_host, tensor};
use crate::{Gradient, Gradients};

/// A 3x3 convolution that keeps the extents.
pub(crate) fn conv3x3(inputs: usize, outputs: usize, device: &Device) -> Conv2d {
    config(inputs, outputs).init(device)
}

/// A 3x3 convolution without bias, for a norm behind it.
pub(crate) fn conv3x3_without_bias(inputs: usize, outputs: usize, stride: usize, device: &Device) -> Conv2d {
    config(inputs, outputs).with_stride([stride; 2]).with_bias(false).init(device)
}

fn config(inputs: usize, outputs: usize) -> Conv2dConfig {
    Conv2dConfig::new([inputs, outputs], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
}

/// Sizes for the kernel on slices, which takes one layer, where it applies to `u`.
fn kernel(conv: &Conv2d, u: &Tensor<4>, layers: usize) -> Option<kernels::Conv<2>> {
    let ([outputs, inputs, ..], [_, _, height, width]) = (conv.weight.dims(), u.dims());
    let applies = on_host(u) && conv.stride == [1, 1] && layers == 1;
    applies.then_some(kernels::Conv { inputs, outputs, extents: [height, width] })
}

fn options(conv: &Conv2d, layers: usize) -> ConvOptions<2> {
    ConvOptions::new(conv.stride, [1, 1], [1, 1], layers)
}

/// Batches of stacked layers, `[layers * batch, c, h, w]`, as channels of one, `[batch, layers * c, h, w]`: what a grouped convolution
/// takes.
fn as_channels(x: Tensor<4>, layers: usize) -> Tensor<4> {
    let [rows, channels, height, width] = x.dims();
    let batch = rows / layers;
    if layers == 1 {
        return x;
    }
    let by_layers = x.reshape([layers, batch, channels * height * width]).swap_dims(0, 1);
    by_layers.reshape([batch, layers * channels, height, width])
}

/// The inverse of [`as_channels`].
fn as_batches(x: Tensor<4>, layers: usize) -> Tensor<4> {
    let [batch, rows, height, width] = x.dims();
    let channels = rows / layers;
    if layers == 1 {
        return x;
    }
    let by_layers = x.reshape([batch, layers, channels * height * width]).swap_dims(0, 1);
    by_layers.reshape([layers * batch, channels, height, width])
}

/// `W u + b` of so many stacked layers.
pub(crate) fn apply(conv: &Conv2d, u: Tensor<4>, layers: usize) -> Tensor<4> {
    convolve(conv, u, layers, false)
}

/// `relu(W u + b)` of so many stacked layers.
pub(crate) fn apply_relu(conv: &Conv2d, u: Tensor<4>, layers: usize) -> Tensor<4> {
    convolve(conv, u, layers, true)
}

fn convolve(conv: &Conv2d, u: Tensor<4>, layers: usize, with_relu: bool) -> Tensor<4> {
    let (weight, bias) = (conv.weight.val(), conv.bias.as_ref().map(|b| b.val()));
    let Some(kernel) = kernel(conv, &u, layers) else {
        if let Some(v) = gpu::convolve(conv, &u, layers, with_relu) {
            return v;
        }
        let v = as_batches(conv2d(as_channels(u, layers), weight, bias, options(conv, layers)), layers);
        return if with_relu { relu(v) } else { v };
    };
    let [batch, _, height, width] = u.dims();
    let (u, weight, bias) = (Numbers::of(u), Numbers::of(weight), bias.map(Numbers::of));
    let mut v = vec![0.0; batch * kernel.outputs * height * width];
    kernel.apply(u.as_slice(), weight.as_slice(), bias.as_ref().map(Numbers::as_slice), with_relu, &mut v);
    tensor(v, [batch, kernel.outputs, height, width])
}

/// `W^T delta` of so many stacked layers, of the shape of the convolution's input.
pub(crate) fn apply_transposed(
    conv: &Conv2d,
    delta: Tensor<4>,
    [batch, inputs, height, width]: [usize; 4],
    layers: usize,
) -> Tensor<4> {
    let weight = conv.weight.val();
    let Some(kernel) = kernel(conv, &delta, layers) else {
        if let Some(back) = gpu::convolve_transposed(conv, &delta, None, layers) {
            return back;
        }
        let [_, _, rows, columns] = delta.dims();
        // Of the extents that lead to those of delta, the ones asked for.
        let missing = [height + conv.stride[0] - 1, width + conv.stride[1] - 1];
        let missing = [missing[0] - conv.stride[0] * rows, missing[1] - conv.stride[1] * columns];
        let options = ConvTransposeOptions::new(conv.stride, [1, 1], missing, [1, 1], layers);
        return as_batches(conv_transpose2d(as_channels(delta, layers), weight, None, options), layers);
    };
    let (delta, weight) = (Numbers::of(delta), Numbers::of(weight));
    let mut back = vec![0.0; batch * inputs * height * width];
    kernel.apply_transposed(delta.as_slice(), weight.as_slice(), &mut back);
    tensor(back, [batch, inputs, height, width])
}

/// Gradients of weight and bias of so many stacked layers: `delta` correlated with the input, and summed. With `relu_output`, `delta`
/// counts where that is above 0.
pub(crate) fn parameter_gradients(
    conv: &Conv2d,
    input: Tensor<4>,
    delta: Tensor<4>,
    relu_output: Option<&Tensor<4>>,
    layers: usize,
) -> Gradients {
    let delta_of = |delta: Tensor<4>| match relu_output {
        Some(output) => relu_pullback(delta, output),
        None => delta,
    };
    let mut gradients = Vec::with_capacity(2);
    if let Some(bias) = &conv.bias {
        let [rows, channels, height, width] = delta.dims();
        let by_layers = || delta_of(delta.clone()).reshape([layers, rows / layers, channels, height * width]);
        let sums = || by_layers().sum_dim(3).sum_dim(1).reshape([layers * channels]);
        let sums = gpu::bias_gradient(&delta, relu_output, layers).unwrap_or_else(sums);
        gradients.push(Gradient::new(bias.id, sums));
    }
    let weight = match kernel(conv, &input, layers) {
        None => gpu::weight_gradient(conv, &input, &delta, relu_output, layers).unwrap_or_else(|| {
            let [input, delta] = [input, delta_of(delta)].map(|x| as_channels(x, layers));
            conv2d_weight_backward(input, conv.weight.val(), delta, options(conv, layers))
        }),
        Some(kernel) => {
            let (input, delta) = (Numbers::of(input), Numbers::of(delta_of(delta)));
            let mut weight = vec![0.0; 9 * kernel.inputs * kernel.outputs];
            kernel.weight_gradient(input.as_slice(), delta.as_slice(), &mut weight);
            tensor(weight, [kernel.outputs, kernel.inputs, 3, 3])
        }
    };
    gradients.push(Gradient::new(conv.weight.id, weight));
    gradients
}

/// `delta` where the output of a ReLU is above 0, else 0.
pub(crate) fn relu_pullback<const D: usize>(delta: Tensor<D>, output: &Tensor<D>) -> Tensor<D> {
    if !(on_host(&delta) && on_host(output)) {
        return delta.mask_fill(output.clone().lower_equal_elem(0.0), 0.0);
    }
    let output = Numbers::of(output.clone());
    change(delta, |delta| kernels::relu_pullback(delta, output.as_slice()))
}
