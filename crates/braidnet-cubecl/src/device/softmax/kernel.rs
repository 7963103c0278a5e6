//! The kernels of softmax.

use burn_cubecl::cubecl::{self, prelude::*};

use crate::device::fold::{cube_max, cube_sum};

/// Far below any score, yet finite: a row of nothing that counts becomes 0, not NaN.
const FAR_BELOW: f32 = -1e30;

#[cube(launch)]
pub(super) fn softmax_kernel(
    scores: &[f32],
    masked: ComptimeOption<&Tensor<f32>>,
    out: &mut [f32],
    scale: f32,
    queries: usize,
    keys: usize,
    heads: usize,
    #[comptime] causal: bool,
    #[comptime] threads: usize,
) {
    let start = CUBE_POS * keys;
    if start >= out.len() {
        terminate!();
    }
    let sample = CUBE_POS / (queries * heads);
    let mut end = keys;
    if comptime!(causal) {
        end = clamp_max(CUBE_POS % queries + 1, keys);
    }
    let mut memory = Shared::<[f32]>::new_slice(threads);
    let unit = UNIT_POS as usize;

    let mut largest = FAR_BELOW.runtime();
    let mut at = unit;
    while at < end {
        let score = scores[start + at] * scale;
        if counts(masked, sample, at) && score > largest {
            largest = score;
        }
        at += threads;
    }
    let largest = cube_max(largest, &mut memory, threads);

    let mut sum = 0.0f32;
    at = unit;
    while at < keys {
        let mut p = 0.0f32;
        if at < end && counts(masked, sample, at) {
            p = (scores[start + at] * scale - largest).exp();
        }
        out[start + at] = p;
        sum += p;
        at += threads;
    }
    let sum = cube_sum(sum, &mut memory, threads);
    // Not `sum != 0`, which some devices find false of a NaN.
    let sum = select(sum == 0.0f32, 1.0f32, sum);

    // Every thread reads what it has written itself.
    at = unit;
    while at < keys {
        out[start + at] /= sum;
        at += threads;
    }
}

/// Whether a key of a sample counts.
#[cube]
fn counts(masked: ComptimeOption<&Tensor<f32>>, sample: usize, key: usize) -> bool {
    #[comptime]
    match masked {
        ComptimeOption::Some(masked) => masked[sample * masked.stride(0) + key * masked.stride(1)] == 0.0f32,
        ComptimeOption::None => true.runtime(),
    }
}

#[cube(launch)]
pub(super) fn softmax_pullback_kernel(
    p: &[f32],
    delta: &[f32],
    out: &mut [f32],
    scale: f32,
    keys: usize,
    #[comptime] threads: usize,
) {
    let start = CUBE_POS * keys;
    if start >= out.len() {
        terminate!();
    }
    let mut memory = Shared::<[f32]>::new_slice(threads);
    let unit = UNIT_POS as usize;
    let mut sum = 0.0f32;
    let mut at = unit;
    while at < keys {
        sum += p[start + at] * delta[start + at];
        at += threads;
    }
    let mean = cube_sum(sum, &mut memory, threads);
    at = unit;
    while at < keys {
        out[start + at] = p[start + at] * (delta[start + at] - mean) * scale;
        at += threads;
    }
}
