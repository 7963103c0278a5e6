//! Planes with a border of zeros, and the way between their lines and plain rows.
//!
//! The rows of a padded plane lie end to end with one zero between them, which is the right border of a row and the
//! left border of the next: `0 row 0 row 0 row 0 ..`. In such a line every neighbour of a position is at a fixed
//! distance, so loops run over the line without border cases. What they compute at the zeros is thrown away.

/// Floats that are copied together.
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
    pub(super) fn pad(&self, x: &[f32], sample: usize, padded: &mut [f32]) {
        padded[0] = 0.0;
        for index in 0..self.samples {
            let (x, padded) = (&x[index * sample..], &mut padded[1 + index * self.sample_stride()..]);
            for row in 0..self.rows + 2 {
                let padded = &mut padded[row * self.stride()..];
                match (self.first + row).checked_sub(1) {
                    Some(row) if row < self.height => copy_row(&x[row * self.width..], self.width, padded),
                    _ => padded[..self.stride()].fill(0.0),
                }
            }
        }
    }

    /// Writes the rows of a line of one sample, each element through `f`, into the rows of the plane `y`.
    #[inline(always)]
    pub(super) fn unpad(&self, line: &[f32], f: impl Fn(f32) -> f32, y: &mut [f32]) {
        let y = &mut y[self.first * self.width..][..self.rows * self.width];
        let span = self.width.next_multiple_of(CHUNK);
        for row in 0..self.rows {
            let (line, y) = (&line[row * self.stride()..], &mut y[row * self.width..]);
            if line.len() >= span && y.len() >= span {
                // What belongs to later rows is overwritten by these.
                apply_to(&line[..span], &f, &mut y[..span]);
            } else {
                apply_to(&line[..self.width], &f, &mut y[..self.width]);
            }
        }
    }
}

#[inline(always)]
fn apply_to(x: &[f32], f: impl Fn(f32) -> f32, y: &mut [f32]) {
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<CHUNK>(), y.as_chunks_mut::<CHUNK>());
    for (x, y) in x.iter().zip(y) {
        for lane in 0..CHUNK {
            y[lane] = f(x[lane]);
        }
    }
    for (x, y) in x_rest.iter().zip(y_rest) {
        *y = f(*x);
    }
}

/// Writes the first `width` elements of `x` and a zero; further zeros may follow.
#[inline(always)]
fn copy_row(x: &[f32], width: usize, to: &mut [f32]) {
    let whole = width - width % CHUNK;
    let (rest, rest_to) = (&x[whole..], &mut to[whole..]);
    if let (Some(rest), Some(rest_to)) = (rest.first_chunk::<CHUNK>(), rest_to.first_chunk_mut::<CHUNK>()) {
        for lane in 0..CHUNK {
            rest_to[lane] = if lane < width - whole { rest[lane] } else { 0.0 };
        }
    } else {
        rest_to[..width - whole].copy_from_slice(&rest[..width - whole]);
        rest_to[width - whole] = 0.0;
    }
    apply_to(&x[..whole], std::convert::identity, &mut to[..whole]);
}
