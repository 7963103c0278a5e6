//! The kernel of `y + a x`.

use burn_cubecl::cubecl::{self, prelude::*};

#[cube(launch)]
pub(super) fn axpy_kernel(y: &[f32], x: &[f32], out: &mut [f32], a: f32) {
    if ABSOLUTE_POS < out.len() {
        out[ABSOLUTE_POS] = y[ABSOLUTE_POS] + a * x[ABSOLUTE_POS];
    }
}
