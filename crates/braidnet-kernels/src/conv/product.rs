//! The product of the windows with the weights: a few outputs at a few registers of positions together, so that every
//! number that is loaded is used several times.

use macerator::{Simd, WithSimd};

use super::{
    Shape,
    lanes::{Lanes, is_wide, load, mul_add, outputs_of_block, splat, store, width},
    pad::{Band, CHUNK},
    ring::Ring,
};

/// Elements of the padded planes that are worked on at once, if a band of few rows has no more.
const CACHED: usize = 1 << 14;

/// `y = W x + b`. `weight(output, input, plane, position)` is an element of `W`, with 9 positions in a plane.
pub(super) struct Product<'a, W> {
    pub(super) shape: Shape,
    pub(super) x: &'a [f32],
    pub(super) weight: W,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) relu: bool,
    pub(super) y: &'a mut [f32],
}

/// The weights in the order in which they are read: blocks of so many outputs, in each the planes of the window, the
/// inputs, the positions in a plane of the window, and fastest the outputs.
fn pack(shape: Shape, block: usize, weight: impl Fn(usize, usize, usize, usize) -> f32) -> Vec<f32> {
    let mut packed = Vec::with_capacity(shape.outputs * shape.inputs * shape.reach * 9);
    for first in (0..shape.outputs).step_by(block) {
        let outputs = first..shape.outputs.min(first + block);
        for (plane, input) in (0..shape.reach).flat_map(|plane| (0..shape.inputs).map(move |input| (plane, input))) {
            for position in 0..9 {
                packed.extend(outputs.clone().map(|output| weight(output, input, plane, position)));
            }
        }
    }
    packed
}

impl<W: Fn(usize, usize, usize, usize) -> f32> WithSimd for Product<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let Self { shape, x, weight, bias, relu, y } = self;
        let rows = (CACHED / (shape.reach * shape.inputs * (shape.width + 1))).clamp(8.min(shape.height), shape.height);
        let band = Band { samples: 1, first: 0, rows, height: shape.height, width: shape.width };
        let mut ring = Ring::new(shape, band, width::<S>());
        let block = outputs_of_block::<S>(shape.outputs);
        let line = band.positions().next_multiple_of(width::<S>()) + CHUNK;
        let (packed, lines) = (pack(shape, block, weight), vec![0.0; block * line]);
        let mut blocks = Blocks { shape, packed, block, bias, relu, y, line, lines };
        for (sample, x) in x.chunks_exact(shape.inputs * shape.positions()).enumerate() {
            for first in (0..shape.height).step_by(rows) {
                ring.band = Band { first, rows: rows.min(shape.height - first), ..band };
                for z in 0..shape.depth {
                    ring.advance::<S>(x, z);
                    blocks.plane::<S>(&ring, sample, z);
                }
            }
        }
    }
}

/// The outputs in blocks.
struct Blocks<'a> {
    shape: Shape,
    packed: Vec<f32>,
    /// Outputs of a block; the last may have fewer.
    block: usize,
    bias: Option<&'a [f32]>,
    relu: bool,
    y: &'a mut [f32],
    /// Elements of a line.
    line: usize,
    /// Scratch for the lines of a block.
    lines: Vec<f32>,
}

impl Blocks<'_> {
    /// Computes the band of plane `z`.
    #[inline(always)]
    fn plane<S: Simd>(&mut self, ring: &Ring, sample: usize, z: usize) {
        for first in (0..self.shape.outputs).step_by(self.block) {
            let n = self.block.min(self.shape.outputs - first);
            match n {
                1 => self.outputs::<S, 1>(ring, sample, z, first),
                2 => self.outputs::<S, 2>(ring, sample, z, first),
                3 => self.outputs::<S, 3>(ring, sample, z, first),
                // Narrow registers are too few for more.
                _ if n == 4 || !is_wide::<S>() => self.outputs::<S, 4>(ring, sample, z, first),
                5 => self.outputs::<S, 5>(ring, sample, z, first),
                _ => self.outputs::<S, 6>(ring, sample, z, first),
            }
        }
    }

    /// Computes the band of plane `z` of `N` outputs.
    #[inline(always)]
    fn outputs<S: Simd, const N: usize>(&mut self, ring: &Ring, sample: usize, z: usize, first: usize) {
        let shape = self.shape;
        let taps = shape.inputs * shape.reach * 9;
        let windows = Windows {
            ring,
            z,
            weights: self.packed[first * taps..][..N * taps].as_chunks::<N>().0,
            start: std::array::from_fn(|output| self.bias.map_or(0.0, |bias| bias[first + output])),
            relu: self.relu,
        };
        windows.line::<S>(self.line, &mut self.lines);
        for (output, line) in self.lines.chunks_exact(self.line).take(N).enumerate() {
            let y = &mut self.y[((sample * shape.outputs + first + output) * shape.depth + z) * shape.plane()..];
            ring.band.unpad::<S>(line, y);
        }
    }
}

/// A NaN stays one.
#[inline(always)]
fn relu<S: Simd>(x: Lanes<S>) -> Lanes<S> {
    x.lt(splat(0.0)).select(splat(0.0), x)
}

/// The windows around the positions of plane `z`, and the weights of `N` outputs.
struct Windows<'a, const N: usize> {
    ring: &'a Ring,
    z: usize,
    weights: &'a [[f32; N]],
    start: [f32; N],
    relu: bool,
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
                    6.. if N <= 2 || is_wide::<S>() && N <= 4 => self.block::<S, 6>(at, line, lines),
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
                let sum = if self.relu { relu(sums[output][v]) } else { sums[output][v] };
                store(sum, &mut lines[output * line + v * width::<S>()..]);
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
