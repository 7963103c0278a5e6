//! Sums per channel over the batch and all positions: the derivative by a bias.
//!
//! One cube per channel of a layer; its threads go through the channel's positions side by side, and add their sums up
//! pairwise at the end. Reads every number once: `4 * images * c * h * w` bytes, one addition each, so the memory is
//! the limit. With few channels and layers not all of a large GPU is busy. Not measured on a GPU.

mod kernel;

use burn::tensor::Tensor;
use burn_cubecl::cubecl::CubeDim;
use burn_cubecl::tensor::CubeTensor;

use super::tensor::{batch, check_relu_output, cubes, dims, empty, plain, plain_option, wrap};
use kernel::channel_sums_kernel;

/// Threads of a cube, a power of two.
const THREADS: usize = 256;

pub(crate) fn channel_sums(delta: &Tensor<4>, relu_output: Option<&Tensor<4>>, layers: usize) -> Option<Tensor<1>> {
    let (delta, relu_output) = (plain(delta)?, plain_option(relu_output)?);
    let [images, c, _, _] = dims(&delta);
    let batch = batch("channel_sums", images, layers);
    check_relu_output("channel_sums", &delta, relu_output.as_ref());
    let sums = layers * c;
    let out = empty(&delta, [sums])?;
    if sums > 0 {
        channel_sums_kernel::launch(
            &delta.client,
            cubes(&delta.client, sums),
            CubeDim::new_1d(THREADS as u32),
            delta.clone().into_tensor_arg(),
            relu_output.map(CubeTensor::into_tensor_arg).into(),
            out.clone().into_tensor_arg(),
            batch,
        );
    }
    Some(wrap(out))
}
