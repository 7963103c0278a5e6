//! Copies of many pieces in few launches.
//!
//! burn's `cat` and `slice` are one launch per part, which for the parameters of many layers is what a step launches
//! most. Here a launch takes as many pieces as the device can bind, and parts that are equally far apart in one buffer
//! are one piece.

mod kernel;

use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use kernel::copy_kernel;

/// Threads of a cube.
const THREADS: usize = 256;
/// The most cubes for a piece, whose threads then copy several elements.
const CUBES: usize = 1024;
/// The most pieces of a launch: more would make the kernel long, and each number of pieces is one more to compile.
const PIECES: usize = 32;

/// Rows of equal length that go from one buffer to another; all numbers are counts of elements.
pub(super) struct Piece {
    /// Without gaps, from the beginning of the first to the end of the last row.
    pub source: CubeTensor,
    pub rows: usize,
    pub length: usize,
    /// How far apart the rows are in the source.
    pub from: usize,
    /// How far apart they are in the result; what is between them becomes zero.
    pub to: usize,
    /// Where in the result the first one begins.
    pub start: usize,
}

impl Piece {
    fn n_elements(&self) -> usize {
        self.rows * self.to
    }
}

/// Copies the pieces to `out`.
pub(super) fn copy(pieces: &[Piece], out: &CubeTensor) {
    // One binding is the result's, one cubecl's own for sizes.
    let bound = out.client.properties().hardware.max_bindings as usize;
    let most = PIECES.min(bound.saturating_sub(2)).max(1);
    for pieces in pieces.chunks(most) {
        let longest = pieces.iter().map(Piece::n_elements).max().unwrap_or(0);
        let cubes = longest.div_ceil(THREADS).clamp(1, CUBES) as u32;
        let numbers = pieces.iter().flat_map(|piece| [piece.rows, piece.length, piece.from, piece.to, piece.start]);
        copy_kernel::launch(
            &out.client,
            CubeCount::new_2d(cubes, pieces.len() as u32),
            CubeDim::new_1d(THREADS as u32),
            pieces.iter().map(|piece| piece.source.clone().into_buffer_arg()).collect(),
            numbers.collect(),
            out.clone().into_buffer_arg(),
        );
    }
}
