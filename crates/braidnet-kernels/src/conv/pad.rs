//! Planes with a border of zeros, and the way between their lines and plain rows.
//!
//! The rows of a padded plane lie end to end with one zero between them, which is the right border of a row and the
//! left border of the next: `0 row 0 row 0 row 0 ..`. In such a line every neighbour of a position is at a fixed
//! distance, so loops run over the line without border cases. What they compute at the zeros is thrown away.

use macerator::Simd;

use super::lanes::{load, store, width};

/// A multiple of every register's floats, by which scratch is rounded up.
pub(super) const CHUNK: usize = 16;

/// A band of rows of a plane, of one sample; or the planes of several samples one below the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    pub(super) samples: usize,
    /// First row.
    pub(super) first: usize,
    /// Rows of every sample, without the border.
    pub(super) rows: usize,
    /// Rows of the whole plane.
    pub(super) height: usize,
    /// Elements of a row.
    pub(super) width: usize,
}

impl Band {
    /// From a row of the line to the next.
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.width + 1
    }

    /// From a sample to the next, between which there is a row of zeros.
    #[inline(always)]
    fn sample_stride(&self) -> usize {
        (self.rows + 1) * self.stride()
    }

    /// Positions of the line, without the row above and the one below.
    #[inline(always)]
    pub(super) fn positions(&self) -> usize {
        self.samples * self.sample_stride() - self.stride()
    }

    /// Elements of the padded band, for loops that take `lanes` positions at once and so use some beyond the last.
    #[inline(always)]
    pub(super) fn padded(&self, lanes: usize) -> usize {
        (self.positions().next_multiple_of(lanes) + 2 * self.stride() + 2).next_multiple_of(CHUNK) + CHUNK
    }

    /// Writes the band with its border. The first sample's plane is at the start of `x`, the next ones follow at
    /// distances of `sample`. The window around position `p` begins at `p`, its middle is at `p + stride + 1`.
    #[inline(always)]
    pub(super) fn pad<S: Simd>(&self, x: &[f32], sample: usize, padded: &mut [f32]) {
        padded[0] = 0.0;
        let stride = self.stride();
        for index in 0..self.samples {
            let (x, padded) = (&x[index * sample..], &mut padded[1 + index * self.sample_stride()..]);
            // What is written behind a row belongs to later ones, which overwrite it.
            let padded = &mut padded[..(self.rows + 2) * stride];
            for row in 0..self.rows + 2 {
                let padded = &mut padded[row * stride..];
                match (self.first + row).checked_sub(1) {
                    Some(row) if row < self.height => {
                        copy_row::<S>(&x[row * self.width..], self.width, padded);
                        padded[self.width] = 0.0;
                    }
                    _ => padded[..stride].fill(0.0),
                }
            }
        }
    }

    /// Writes the rows of a line of one sample into the rows of the plane `y`.
    #[inline(always)]
    pub(super) fn unpad<S: Simd>(&self, line: &[f32], y: &mut [f32]) {
        // As above.
        let y = &mut y[self.first * self.width..][..self.rows * self.width];
        for row in 0..self.rows {
            copy_row::<S>(&line[row * self.stride()..], self.width, &mut y[row * self.width..]);
        }
    }
}

/// Copies the first `columns` elements. Where both slices are longer, some behind them may be copied too.
///
/// By registers, the last of which may overlap the one before: a loop over elements stays one, as the compiler cannot know
/// that the slices do not overlap, and then takes longer than the convolution.
#[inline(always)]
fn copy_row<S: Simd>(x: &[f32], columns: usize, to: &mut [f32]) {
    let lanes = width::<S>();
    if columns < lanes {
        if x.len() >= lanes && to.len() >= lanes {
            return store(load::<S>(x), to);
        }
        return to[..columns].copy_from_slice(&x[..columns]);
    }
    let (x, to) = (&x[..columns], &mut to[..columns]);
    let last = columns - lanes;
    for at in (0..last).step_by(lanes) {
        store(load::<S>(&x[at..]), &mut to[at..]);
    }
    store(load::<S>(&x[last..]), &mut to[last..]);
}
