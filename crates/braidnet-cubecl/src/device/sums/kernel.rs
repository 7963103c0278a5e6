//! The kernel of sums per channel.

use burn_cubecl::cubecl::{self, prelude::*};

use super::THREADS;
use crate::device::read::pulled_back;

#[cube(launch)]
pub(super) fn channel_sums_kernel(
    delta: &Tensor<f32>,
    relu_output: ComptimeOption<&Tensor<f32>>,
    out: &mut Tensor<f32>,
    batch: usize,
) {
    if CUBE_POS >= out.len() {
        terminate!();
    }
    let layer = CUBE_POS / delta.shape(1);
    let channel = CUBE_POS % delta.shape(1);
    let (h, w) = (delta.shape(2), delta.shape(3));

    let mut sum = 0.0f32;
    let mut at = UNIT_POS as usize;
    while at < batch * h * w {
        sum += pulled_back(delta, relu_output, layer * batch + at / (h * w), channel, at / w % h, at % w);
        at += THREADS;
    }

    let unit = UNIT_POS as usize;
    let mut sums = Shared::<[f32]>::new_slice(THREADS);
    sums[unit] = sum;
    let mut half = (THREADS / 2).runtime();
    while half > 0 {
        sync_cube();
        if unit < half {
            sums[unit] += sums[unit + half];
        }
        half /= 2;
    }
    if unit == 0 {
        out[CUBE_POS] = sums[0];
    }
}
