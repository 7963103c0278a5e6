//! A number for all threads of a cube from one of each.

use burn_cubecl::cubecl::{self, prelude::*};

/// Threads of a cube that goes through a row of so many columns: a power of two.
pub(super) fn threads(columns: usize) -> usize {
    columns.next_power_of_two().clamp(32, 256)
}

/// The sum of the `threads` numbers, pairwise, so in the same order every time.
#[cube]
pub(super) fn cube_sum(value: f32, memory: &mut Shared<[f32]>, #[comptime] threads: usize) -> f32 {
    let unit = UNIT_POS as usize;
    // What the last call left has been read by everybody.
    sync_cube();
    memory[unit] = value;
    let mut half = (threads / 2).runtime();
    while half > 0 {
        sync_cube();
        if unit < half {
            memory[unit] += memory[unit + half];
        }
        half /= 2;
    }
    sync_cube();
    memory[0]
}

/// The largest of the `threads` numbers; of any, if one is NaN.
#[cube]
pub(super) fn cube_max(value: f32, memory: &mut Shared<[f32]>, #[comptime] threads: usize) -> f32 {
    let unit = UNIT_POS as usize;
    sync_cube();
    memory[unit] = value;
    let mut half = (threads / 2).runtime();
    while half > 0 {
        sync_cube();
        if unit < half && memory[unit + half] > memory[unit] {
            memory[unit] = memory[unit + half];
        }
        half /= 2;
    }
    sync_cube();
    memory[0]
}
