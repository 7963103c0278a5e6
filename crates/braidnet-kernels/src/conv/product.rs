//! The product of the windows with the weights: a few outputs at a few registers of positions together, so that every
//! number that is loaded is used several times.

use macerator::{Simd, WithSimd};

use super::{
    Shape,
    lanes::{Lanes, load, mul_add, splat, store, width},
    pad::{Band, CHUNK},
    ring::Ring,
};

/// Outputs that are computed together.
const OUTPUTS: usize = 4;

/// Elements of the padded planes that are worked on at once, if a band of few rows has no more.
const CACHED: usize = 1 << 14;

/// `y = W x + b` for the weights as [`pack`] arranges them.
pub(super) struct Product<'a> {
    pub(super) shape: Shape,
    pub(super) x: &'a [f32],
    pub(super) packed: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) relu: bool,
    pub(super) y: &'a mut [f32],
}

/// The weights in the order in which [`Product`] reads them: blocks of outputs, in each the planes of the window, the
/// inputs, the positions in a plane of the window, and fastest the outputs.
///
/// `weight(output, input, plane, position)` is an element, with 9 positions in a plane.
pub(super) fn pack(shape: Shape, weight: impl Fn(usize, usize, usize, usize) -> f32) -> Vec<f32> {
    let mut packed = Vec::with_capacity(shape.outputs * shape.inputs * shape.reach * 9);
    for first in (0..shape.outputs).step_by(OUTPUTS) {
        let outputs = first..shape.outputs.min(first + OUTPUTS);
        for (plane, input) in (0..shape.reach).flat_map(|plane| (0..shape.inputs).map(move |input| (plane, input))) {
            for position in 0..9 {
                packed.extend(outputs.clone().map(|output| weight(output, input, plane, position)));
            }
        }
    }
    packed
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self) {
        let shape = self.shape;
        let rows = (CACHED / (shape.reach * shape.inputs * (shape.width + 1))).clamp(8.min(shape.height), shape.height);
        let band = Band { samples: 1, first: 0, rows, height: shape.height, width: shape.width };
        let mut ring = Ring::new(shape, band, width::<S>());
        let line = band.positions().next_multiple_of(width::<S>()) + CHUNK;
        let mut lines = vec![0.0; OUTPUTS * line];
        for (sample, x) in self.x.chunks_exact(shape.inputs * shape.positions()).enumerate() {
            for first in (0..shape.height).step_by(rows) {
                ring.band = Band { first, rows: rows.min(shape.height - first), ..band };
                for z in 0..shape.depth {
                    ring.advance(x, z);
                    self.plane::<S>(&ring, sample, z, &mut lines);
                }
            }
        }
    }
}

impl Product<'_> {
    /// Computes the band of plane `z`.
    #[inline(always)]
    fn plane<S: Simd>(&mut self, ring: &Ring, sample: usize, z: usize, lines: &mut [f32]) {
        for first in (0..self.shape.outputs).step_by(OUTPUTS) {
            match self.shape.outputs - first {
                1 => self.outputs::<S, 1>(ring, sample, z, first, lines),
                2 => self.outputs::<S, 2>(ring, sample, z, first, lines),
                3 => self.outputs::<S, 3>(ring, sample, z, first, lines),
                _ => self.outputs::<S, OUTPUTS>(ring, sample, z, first, lines),
            }
        }
    }

    /// Computes the band of plane `z` of `N` outputs.
    #[inline(always)]
    fn outputs<S: Simd, const N: usize>(
        &mut self,
        ring: &Ring,
        sample: usize,
        z: usize,
        first: usize,
        lines: &mut [f32],
    ) {
        let shape = self.shape;
        let taps = shape.inputs * shape.reach * 9;
        let windows = Windows {
            ring,
            z,
            weights: self.packed[first * taps..][..N * taps].as_chunks::<N>().0,
            start: std::array::from_fn(|output| self.bias.map_or(0.0, |bias| bias[first + output])),
        };
        let line = lines.len() / OUTPUTS;
        windows.line::<S>(line, lines);
        for (output, line) in lines.chunks_exact(line).take(N).enumerate() {
            let y = &mut self.y[((sample * shape.outputs + first + output) * shape.depth + z) * shape.plane()..];
            match self.relu {
                true => ring.band.unpad(line, relu, y),
                false => ring.band.unpad(line, std::convert::identity, y),
            }
        }
    }
}

/// A NaN stays one.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// The windows around the positions of plane `z`, and the weights of `N` outputs.
struct Windows<'a, const N: usize> {
    ring: &'a Ring,
    z: usize,
    weights: &'a [[f32; N]],
    start: [f32; N],
}

impl<const N: usize> Windows<'_, N> {
    /// Computes the positions of a line for every output, of which each has `line` elements of `lines`.
    #[inline(always)]
    fn line<S: Simd>(&self, line: usize, lines: &mut [f32]) {
        let positions = self.ring.band.positions();
        let mut at = 0;
        while at < positions {
            let lines = &mut lines[at..];
            let registers = (positions - at).div_ceil(width::<S>());
            at += width::<S>()
                * match registers {
                    1 => self.block::<S, 1>(at, line, lines),
                    // Four are two and two: one alone would not keep the units busy.
                    2 | 4 => self.block::<S, 2>(at, line, lines),
                    6.. if N <= 2 => self.block::<S, 6>(at, line, lines),
                    _ => self.block::<S, 3>(at, line, lines),
                };
        }
    }

    /// Computes `V` registers of positions, of which `at` is the first; returns `V`.
    #[inline(always)]
    fn block<S: Simd, const V: usize>(&self, at: usize, line: usize, lines: &mut [f32]) -> usize {
        let sums = self.sums::<S, V>(at);
        for output in 0..N {
            for v in 0..V {
                store(sums[output][v], &mut lines[output * line + v * width::<S>()..]);
            }
        }
        V
    }

    #[inline(always)]
    fn sums<S: Simd, const V: usize>(&self, at: usize) -> [[Lanes<S>; V]; N] {
        let mut sums = [[splat::<S>(0.0); V]; N];
        for (sums, &start) in sums.iter_mut().zip(&self.start) {
            *sums = [splat(start); V];
        }
        let weights = self.weights.as_chunks::<9>().0;
        let inputs = self.ring.channels;
        for plane in self.ring.planes(self.z) {
            let padded = &self.ring.plane(self.z, plane)[at..];
            for (input, weights) in weights[plane * inputs..][..inputs].iter().enumerate() {
                for row in 0..3 {
                    let x = &padded[self.ring.row(input, row)..][..V * width::<S>() + 2];
                    for column in 0..3 {
                        for v in 0..V {
                            let x = load::<S>(&x[column + v * width::<S>()..]);
                            for output in 0..N {
                                let weight = splat(weights[3 * row + column][output]);
                                sums[output][v] = mul_add(x, weight, sums[output][v]);
                            }
                        }
                    }
                }
            }
        }
        sums
    }
}
