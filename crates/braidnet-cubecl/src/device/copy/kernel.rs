//! The kernel that copies pieces.

use burn_cubecl::cubecl::{self, prelude::*};

use super::THREADS;

/// `numbers` has five for every piece: rows, length, from, to, start. The cubes of the second axis have a piece each.
#[cube(launch)]
pub(super) fn copy_kernel(sources: &Sequence<Box<[f32]>>, numbers: &Sequence<usize>, out: &mut [f32]) {
    let pieces = sources.len();
    #[unroll]
    for piece in 0..pieces {
        if CUBE_POS_Y == piece as u32 {
            let rows = numbers[comptime!(5 * piece)];
            let length = numbers[comptime!(5 * piece + 1)];
            let from = numbers[comptime!(5 * piece + 2)];
            let to = numbers[comptime!(5 * piece + 3)];
            let start = numbers[comptime!(5 * piece + 4)];
            let mut at = CUBE_POS_X as usize * THREADS + UNIT_POS as usize;
            while at < rows * to {
                let (row, column) = (at / to, at % to);
                let mut value = 0.0f32;
                if column < length {
                    value = sources[piece][row * from + column];
                }
                if start + at < out.len() {
                    out[start + at] = value;
                }
                at += CUBE_COUNT_X as usize * THREADS;
            }
        }
    }
}
