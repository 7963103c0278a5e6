//! The cotangent of the weights.
//!
//! A line of `dy` with zeros between the rows is multiplied with the padded line of `x` at the distance of each weight.
//! Every weight has a register of sums, whose lanes are added at the very end.

use std::ops::Range;

use macerator::{Simd, WithSimd};

use super::{
    Shape,
    lanes::{is_wide, load, mul_add, outputs_of_block, splat, store, width},
    pad::{Band, CHUNK},
    ring::Ring,
};

/// Positions of a line, if there are as many and a row has no more. The more, the less often the sums go to memory and
/// back.
const POSITIONS: usize = 2048;

/// Elements of the sums that are worked on at once, if those of a block of outputs have no more.
const CACHED: usize = 1 << 18;

/// `dweight[o, i, k] = sum dy[o, p] x[i, p + k - 1]`.
pub(super) struct Gradient<'a> {
    pub(super) shape: Shape,
    pub(super) x: &'a [f32],
    pub(super) dy: &'a [f32],
    pub(super) dweight: &'a mut [f32],
}

impl WithSimd for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let Self { shape, x, dy, dweight } = self;
        let batch = x.len() / (shape.inputs * shape.positions());
        let rows = (POSITIONS / (shape.width + 1)).clamp(1, shape.height);
        let samples = (POSITIONS / ((shape.height + 1) * (shape.width + 1))).clamp(1, batch);
        let band = Band { samples, first: 0, rows, height: shape.height, width: shape.width };
        let mut ring = Ring::new(shape, band, width::<S>());
        let window = shape.window(1, 0) * width::<S>();
        let block = outputs_of_block::<S>(shape.outputs);
        let outputs = (CACHED / window / block).max(1) * block;
        let mut sums = Sums::new::<S>(shape, &band, block, outputs.min(shape.outputs));
        for first in (0..shape.outputs).step_by(outputs) {
            sums.restart(first..shape.outputs.min(first + outputs));
            for sample in (0..batch).step_by(samples) {
                let x = &x[sample * shape.inputs * shape.positions()..];
                let dy = &dy[sample * shape.outputs * shape.positions()..];
                let samples = samples.min(batch - sample);
                for first in (0..shape.height).step_by(rows) {
                    ring.band = Band { samples, first, rows: rows.min(shape.height - first), ..band };
                    for z in 0..shape.depth {
                        ring.advance::<S>(x, z);
                        sums.add_plane::<S>(&ring, dy, z);
                    }
                }
            }
            sums.reduce::<S>(dweight);
        }
    }
}

/// A register of sums for every weight of a range of outputs: blocks of outputs, in each the planes of the window, the
/// inputs, the rows of the window, the outputs, and fastest the columns of the window.
struct Sums {
    shape: Shape,
    outputs: Range<usize>,
    /// Outputs that are summed together; the last block may have fewer.
    block: usize,
    sums: Vec<f32>,
    /// Elements of a line.
    line: usize,
    /// Scratch for the lines of a block of outputs.
    lines: Vec<f32>,
}

impl Sums {
    fn new<S: Simd>(shape: Shape, band: &Band, block: usize, outputs: usize) -> Self {
        let line = band.padded(width::<S>());
        Self {
            shape,
            outputs: 0..outputs,
            block,
            sums: vec![0.0; shape.window(outputs, 0) * width::<S>()],
            line,
            lines: vec![0.0; block * line + CHUNK],
        }
    }

    /// Zeros for other outputs, as many or less.
    fn restart(&mut self, outputs: Range<usize>) {
        self.outputs = outputs;
        self.sums.fill(0.0);
    }

    /// Adds the products of a band of plane `z`; `dy` begins with its first sample.
    #[inline(always)]
    fn add_plane<S: Simd>(&mut self, ring: &Ring, dy: &[f32], z: usize) {
        for first in self.outputs.clone().step_by(self.block) {
            let n = self.block.min(self.outputs.end - first);
            match n {
                1 => self.add_outputs::<S, 1, 3>(ring, dy, z, first),
                2 => self.add_outputs::<S, 2, 3>(ring, dy, z, first),
                3 if is_wide::<S>() => self.add_outputs::<S, 3, 3>(ring, dy, z, first),
                3 => self.add_outputs::<S, 3, 1>(ring, dy, z, first),
                _ if n == 4 || !is_wide::<S>() => self.add_outputs::<S, 4, 1>(ring, dy, z, first),
                5 => self.add_outputs::<S, 5, 1>(ring, dy, z, first),
                _ => self.add_outputs::<S, 6, 1>(ring, dy, z, first),
            }
        }
    }

    /// The same for `N` outputs, with `R` rows of the window at once.
    #[inline(always)]
    fn add_outputs<S: Simd, const N: usize, const R: usize>(
        &mut self,
        ring: &Ring,
        dy: &[f32],
        z: usize,
        first: usize,
    ) {
        let (shape, band) = (self.shape, ring.band);
        let middle = band.stride() + 1;
        // The middles of the windows at the beginning of registers; where that fails, the sums are the same.
        let aligned = self.lines.as_ptr().wrapping_add(middle).align_offset(64).min(CHUNK);
        let lines = &mut self.lines[aligned..];
        for (output, line) in (first..).zip(lines.chunks_exact_mut(self.line).take(N)) {
            // Nothing of the rows above and below: other bands add these.
            let band = Band { first: 0, height: band.rows, ..band };
            let dy = &dy[(output * shape.depth + z) * shape.plane() + ring.band.first * shape.width..];
            band.pad::<S>(dy, shape.outputs * shape.positions(), line);
        }
        let positions = band.positions().next_multiple_of(width::<S>());
        let mut dy = [&[][..]; N];
        for output in 0..N {
            dy[output] = &lines[output * self.line + middle..][..positions];
        }
        let rows = &mut self.sums[shape.window(first - self.outputs.start, 0) * width::<S>()..];
        for plane in ring.planes(z) {
            let x = ring.plane(z, plane);
            for (input, row) in (0..shape.inputs).flat_map(|input| (0..3).step_by(R).map(move |row| (input, row))) {
                let mut rows_of_x = [&[][..]; R];
                for r in 0..R {
                    rows_of_x[r] = &x[ring.row(input, row + r)..][..positions + 2];
                }
                let at = ((plane * shape.inputs + input) * 3 + row) * N * 3 * width::<S>();
                add_rows::<S, N, R>(rows_of_x, dy, &mut rows[at..][..R * N * 3 * width::<S>()]);
            }
        }
    }

    /// Writes the weights' sums.
    #[inline(always)]
    fn reduce<S: Simd>(&self, dweight: &mut [f32]) {
        let Shape { inputs, reach, .. } = self.shape;
        let mut sums = self.sums.chunks_exact(width::<S>());
        for first in self.outputs.clone().step_by(self.block) {
            let block = first..self.outputs.end.min(first + self.block);
            for (plane, input) in (0..reach).flat_map(|plane| (0..inputs).map(move |input| (plane, input))) {
                for (row, output) in (0..3).flat_map(|row| block.clone().map(move |output| (row, output))) {
                    let at = self.shape.window(output, input) + plane * 9 + row * 3;
                    for (dweight, sum) in dweight[at..][..3].iter_mut().zip(&mut sums) {
                        *dweight = load::<S>(sum).reduce_add();
                    }
                }
            }
        }
    }
}

/// Adds the products of `R` lines and their neighbours to the left and right with `N` others to the sums.
#[inline(always)]
fn add_rows<S: Simd, const N: usize, const R: usize>(x: [&[f32]; R], dy: [&[f32]; N], sums: &mut [f32]) {
    let mut totals = [[[splat::<S>(0.0); 3]; N]; R];
    let positions = dy[0].len();
    for at in (0..positions).step_by(width::<S>()) {
        let mut factors = [splat::<S>(0.0); N];
        for output in 0..N {
            factors[output] = load(&dy[output][..positions][at..]);
        }
        for row in 0..R {
            for column in 0..3 {
                // All slices of the same length: there is one test for all.
                let x = load::<S>(&x[row][column..][..positions][at..]);
                for output in 0..N {
                    totals[row][output][column] = mul_add(x, factors[output], totals[row][output][column]);
                }
            }
        }
    }
    for (sum, &total) in sums.chunks_exact_mut(width::<S>()).zip(totals.as_flattened().as_flattened()) {
        store(load::<S>(sum) + total, sum);
    }
}
