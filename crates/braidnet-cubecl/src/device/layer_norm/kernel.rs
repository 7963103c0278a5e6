//! The kernels of layer normalisation.

#![allow(clippy::collapsible_if, reason = "some are decided when the kernel is compiled")]

use burn_cubecl::cubecl::{self, prelude::*};

use crate::device::fold::cube_sum;

/// What a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Row {
    /// Threads of a cube.
    pub threads: usize,
    /// Whether the pullback is wanted.
    pub tape: bool,
}

#[cube(launch)]
pub(super) fn layer_norm_kernel(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
    normalised: &mut [f32],
    inverse_std: &mut [f32],
    columns: usize,
    rows_per_layer: usize,
    epsilon: f32,
    #[comptime] row: Row,
) {
    let start = CUBE_POS * columns;
    if start >= y.len() {
        terminate!();
    }
    let of_layer = CUBE_POS / rows_per_layer * columns;
    let mut memory = Shared::<[f32]>::new_slice(comptime!(row.threads));
    let unit = UNIT_POS as usize;

    let mut sum = 0.0f32;
    let mut at = unit;
    while at < columns {
        sum += x[start + at];
        at += comptime!(row.threads);
    }
    let mean = cube_sum(sum, &mut memory, comptime!(row.threads)) / columns as f32;

    let mut squares = 0.0f32;
    at = unit;
    while at < columns {
        let centred = x[start + at] - mean;
        squares += centred * centred;
        at += comptime!(row.threads);
    }
    let variance = cube_sum(squares, &mut memory, comptime!(row.threads)) / columns as f32;
    let inverse = 1.0f32 / (variance + epsilon).sqrt();

    at = unit;
    while at < columns {
        let n = (x[start + at] - mean) * inverse;
        y[start + at] = n * weight[of_layer + at] + bias[of_layer + at];
        if comptime!(row.tape) {
            normalised[start + at] = n;
        }
        at += comptime!(row.threads);
    }
    if comptime!(row.tape) {
        if unit == 0 {
            inverse_std[CUBE_POS] = inverse;
        }
    }
}

/// With `g = delta weight`: `(g - mean(g) - n mean(g n)) / sigma`.
#[cube(launch)]
pub(super) fn layer_norm_pullback_kernel(
    delta: &[f32],
    weight: &[f32],
    normalised: &[f32],
    inverse_std: &[f32],
    out: &mut [f32],
    columns: usize,
    rows_per_layer: usize,
    #[comptime] row: Row,
) {
    let start = CUBE_POS * columns;
    if start >= out.len() {
        terminate!();
    }
    let of_layer = CUBE_POS / rows_per_layer * columns;
    let mut memory = Shared::<[f32]>::new_slice(comptime!(row.threads));
    let unit = UNIT_POS as usize;

    let mut sum = 0.0f32;
    let mut along = 0.0f32;
    let mut at = unit;
    while at < columns {
        let g = delta[start + at] * weight[of_layer + at];
        sum += g;
        along += g * normalised[start + at];
        at += comptime!(row.threads);
    }
    let mean = cube_sum(sum, &mut memory, comptime!(row.threads)) / columns as f32;
    let along = cube_sum(along, &mut memory, comptime!(row.threads)) / columns as f32;

    at = unit;
    while at < columns {
        let g = delta[start + at] * weight[of_layer + at];
        out[start + at] = (g - mean - normalised[start + at] * along) * inverse_std[CUBE_POS];
        at += comptime!(row.threads);
    }
}
