//! The scaled, masked softmax of attention scores, and its pullback.
//!
//! One cube per row; its threads go through the row twice or three times, which after the first time is in the cache. Not
//! measured on a GPU.

mod kernel;

use burn::tensor::Tensor;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::fold::threads;
use super::tensor::{cubes, dims, empty, plain, plain_option, slice_arg, wrap};
use kernel::{softmax_kernel, softmax_pullback_kernel};

pub(crate) fn softmax(scores: &Tensor<4>, scale: f32, causal: bool, masked: Option<&Tensor<2>>) -> Option<Tensor<4>> {
    let (scores, masked) = (plain(scores)?, plain_option(masked)?);
    let [samples, heads, queries, keys] = dims(&scores);
    if let Some(masked) = &masked {
        assert_eq!(masked.meta.shape().dims(), [samples, keys], "softmax: masked must be [samples, keys]");
    }
    let out = empty(&scores, [samples, heads, queries, keys])?;
    if out.meta.num_elements() > 0 {
        let client = scores.client.clone();
        softmax_kernel::launch(
            &client,
            cubes(&client, samples * heads * queries),
            CubeDim::new_1d(threads(keys) as u32),
            slice_arg(scores),
            masked.map(CubeTensor::into_tensor_arg).into(),
            out.clone().into_buffer_arg(),
            scale,
            queries,
            keys,
            heads,
            causal,
            threads(keys),
        );
    }
    Some(wrap(out))
}

pub(crate) fn softmax_pullback(p: &Tensor<4>, delta: &Tensor<4>, scale: f32) -> Option<Tensor<4>> {
    let (p, delta) = (plain(p)?, plain(delta)?);
    assert_eq!(dims(&p), dims(&delta), "softmax_pullback: delta must have the shape of p");
    let [samples, heads, queries, keys] = dims(&p);
    let out = empty(&p, [samples, heads, queries, keys])?;
    if out.meta.num_elements() > 0 {
        let client = p.client.clone();
        softmax_pullback_kernel::launch(
            &client,
            cubes(&client, samples * heads * queries),
            CubeDim::new_1d(threads(keys) as u32),
            slice_arg(p),
            slice_arg(delta),
            out.clone().into_buffer_arg(),
            scale,
            keys,
            threads(keys),
        );
    }
    Some(wrap(out))
}
