//! Rows with mean 0 and variance 1, scaled and shifted, of many layers.
//!
//! One cube per row; its threads go through the row three times, which after the first time is in the cache. Not measured
//! on a GPU.

mod kernel;

use burn::tensor::Tensor;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::fold::threads;
use super::tensor::{batch, cubes, empty, plain, slice_arg, wrap};
use crate::Normed;
use kernel::{Row, layer_norm_kernel, layer_norm_pullback_kernel};

pub(crate) fn layer_norm(
    x: &Tensor<2>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f32,
    tape: bool,
) -> Option<Normed> {
    let (x, weight, bias) = (plain(x)?, plain(weight)?, plain(bias)?);
    let rows = Rows::of("layer_norm", &x, &weight);
    assert_eq!(bias.meta.shape(), weight.meta.shape(), "layer_norm: bias must have the shape of weight");
    let y = empty(&x, rows.dims)?;
    // Without a tape nothing is written there.
    let normalised = empty(&x, if tape { rows.dims } else { [1, 1] })?;
    let inverse_std = empty(&x, if tape { [rows.dims[0], 1] } else { [1, 1] })?;
    if y.meta.num_elements() > 0 {
        let (client, [count, columns]) = (x.client.clone(), rows.dims);
        layer_norm_kernel::launch(
            &client,
            cubes(&client, count),
            CubeDim::new_1d(threads(columns) as u32),
            slice_arg(x),
            slice_arg(weight),
            slice_arg(bias),
            y.clone().into_buffer_arg(),
            normalised.clone().into_buffer_arg(),
            inverse_std.clone().into_buffer_arg(),
            columns,
            rows.per_layer,
            epsilon,
            Row { threads: threads(columns), tape },
        );
    }
    Some(Normed { y: wrap(y), tape: tape.then(|| (wrap(normalised), wrap(inverse_std))) })
}

pub(crate) fn layer_norm_pullback(
    delta: &Tensor<2>,
    weight: &Tensor<1>,
    normalised: &Tensor<2>,
    inverse_std: &Tensor<2>,
) -> Option<Tensor<2>> {
    let (delta, weight) = (plain(delta)?, plain(weight)?);
    let (normalised, inverse_std) = (plain(normalised)?, plain(inverse_std)?);
    let rows = Rows::of("layer_norm_pullback", &delta, &weight);
    assert_eq!(normalised.meta.shape(), delta.meta.shape(), "layer_norm_pullback: normalised");
    assert_eq!(inverse_std.meta.num_elements(), rows.dims[0], "layer_norm_pullback: inverse_std");
    let out = empty(&delta, rows.dims)?;
    if out.meta.num_elements() > 0 {
        let (client, [count, columns]) = (delta.client.clone(), rows.dims);
        layer_norm_pullback_kernel::launch(
            &client,
            cubes(&client, count),
            CubeDim::new_1d(threads(columns) as u32),
            slice_arg(delta),
            slice_arg(weight),
            slice_arg(normalised),
            slice_arg(inverse_std),
            out.clone().into_buffer_arg(),
            columns,
            rows.per_layer,
            Row { threads: threads(columns), tape: true },
        );
    }
    Some(wrap(out))
}

/// Rows of stacked layers.
struct Rows {
    dims: [usize; 2],
    per_layer: usize,
}

impl Rows {
    /// # Panics
    /// If the weight does not have the columns of every layer, naming `function`.
    fn of(function: &str, x: &CubeTensor, weight: &CubeTensor) -> Self {
        let dims: [usize; 2] = x.meta.shape().dims();
        let weights = weight.meta.num_elements();
        assert!(dims[1] > 0 && weights.is_multiple_of(dims[1]), "{function}: {weights} weights for rows {dims:?}");
        Self { dims, per_layer: batch(function, dims[0], weights / dims[1]) }
    }
}
