//! The padded planes that a window touches while it moves along the first of three axes.

use std::ops::Range;

use macerator::Simd;

use super::{Shape, pad::Band};

/// A band of as many planes as a window touches, of every channel. Where there are two axes, there is one plane.
pub(super) struct Ring {
    pub(super) band: Band,
    reach: usize,
    depth: usize,
    pub(super) channels: usize,
    /// Elements of a padded channel.
    channel: usize,
    padded: Vec<f32>,
}

impl Ring {
    /// The scratch for bands up to the size of this one, of the inputs of a convolution.
    pub(super) fn new(shape: Shape, band: Band, lanes: usize) -> Self {
        let channel = band.padded(lanes);
        let padded = vec![0.0; shape.reach * shape.inputs * channel];
        Self { band, reach: shape.reach, depth: shape.depth, channels: shape.inputs, channel, padded }
    }

    /// Pads the planes that a window at plane `z` touches and one at the plane before does not; `x` begins with the
    /// first sample.
    #[inline(always)]
    pub(super) fn advance<S: Simd>(&mut self, x: &[f32], z: usize) {
        let plane = self.band.height * self.band.width;
        let sample = self.channels * self.depth * plane;
        let side = self.reach / 2;
        let first = if z == 0 { 0 } else { z + side };
        for z in first..self.depth.min(z + side + 1) {
            for channel in 0..self.channels {
                let x = &x[(channel * self.depth + z) * plane..];
                let at = (z % self.reach * self.channels + channel) * self.channel;
                self.band.pad::<S>(x, sample, &mut self.padded[at..][..self.channel]);
            }
        }
    }

    /// The planes of a window at plane `z` that are not beyond the border.
    #[inline(always)]
    pub(super) fn planes(&self, z: usize) -> Range<usize> {
        let side = self.reach / 2;
        side.saturating_sub(z)..self.reach.min(self.depth + side - z)
    }

    /// All channels of a plane of a window at plane `z`.
    #[inline(always)]
    pub(super) fn plane(&self, z: usize, plane: usize) -> &[f32] {
        let at = (z + plane - self.reach / 2) % self.reach * self.channels * self.channel;
        &self.padded[at..][..self.channels * self.channel]
    }

    /// Where, in what [`Ring::plane`] returns, row `row` of the windows of an input begins.
    #[inline(always)]
    pub(super) fn row(&self, input: usize, row: usize) -> usize {
        input * self.channel + row * self.band.stride()
    }
}
