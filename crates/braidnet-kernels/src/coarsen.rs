//! Every other position along an axis, and back.
//!
//! Of `n` positions those with odd index stay, `n / 2` of them. What is beyond the border counts as 0. With weights
//! `side, centre, side` around each of them, restriction and interpolation are each other's transposes:
//! `c[j] = side u[2j] + centre u[2j + 1] + side u[2j + 2]`.

use crate::vector::vectorised;

/// Weights around a position that stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stencil {
    /// Of the position itself.
    pub centre: f32,
    /// Of its two neighbours.
    pub side: f32,
}

/// The axis of a tensor along which it changes: `before` and `behind` are the products of the extents of the axes before and
/// behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Product of the extents before.
    pub before: usize,
    /// Positions on the finer grid.
    pub n: usize,
    /// Product of the extents behind.
    pub behind: usize,
}

impl Stencil {
    /// `c`, shape `[before, n / 2, behind]`, of `u`, shape `[before, n, behind]`; `c` is overwritten.
    pub fn restrict(self, axis: Axis, u: &[f32], c: &mut [f32]) {
        let Axis { n, behind, .. } = axis;
        axis.check(u, c);
        if c.is_empty() {
            return;
        }
        vectorised(
            #[inline(always)]
            || {
                for (u, c) in u.chunks_exact(n * behind).zip(c.chunks_exact_mut(n / 2 * behind)) {
                    if behind == 1 {
                        self.restrict_line(u, c);
                    } else {
                        self.restrict_rows(behind, u, c);
                    }
                }
            },
        );
    }

    #[inline(always)]
    fn restrict_line(self, u: &[f32], c: &mut [f32]) {
        for (c, u) in c.iter_mut().zip(u.windows(3).step_by(2)) {
            *c = self.centre * u[1] + self.side * (u[0] + u[2]);
        }
        if let ([.., left, centre], Some(last), true) = (u, c.last_mut(), u.len().is_multiple_of(2)) {
            *last = self.centre * centre + self.side * left;
        }
    }

    #[inline(always)]
    fn restrict_rows(self, behind: usize, u: &[f32], c: &mut [f32]) {
        for (j, c) in c.chunks_exact_mut(behind).enumerate() {
            let row = |i: usize| &u[i * behind..][..behind];
            let (left, centre) = (row(2 * j), row(2 * j + 1));
            if (2 * j + 3) * behind <= u.len() {
                for (((c, a), b), d) in c.iter_mut().zip(left).zip(centre).zip(row(2 * j + 2)) {
                    *c = self.centre * b + self.side * (a + d);
                }
            } else {
                for ((c, a), b) in c.iter_mut().zip(left).zip(centre) {
                    *c = self.centre * b + self.side * a;
                }
            }
        }
    }

    /// The transpose of [`Stencil::restrict`]: `u`, shape `[before, n, behind]`, of `c`, shape `[before, n / 2, behind]`; `u` is
    /// overwritten.
    pub fn interpolate(self, axis: Axis, c: &[f32], u: &mut [f32]) {
        let Axis { n, behind, .. } = axis;
        axis.check(u, c);
        if c.is_empty() {
            u.fill(0.0);
            return;
        }
        vectorised(
            #[inline(always)]
            || {
                for (c, u) in c.chunks_exact(n / 2 * behind).zip(u.chunks_exact_mut(n * behind)) {
                    self.interpolate_rows(behind, c, u);
                }
            },
        );
    }

    #[inline(always)]
    fn interpolate_rows(self, behind: usize, c: &[f32], u: &mut [f32]) {
        let m = c.len() / behind;
        for (i, u) in u.chunks_exact_mut(behind).enumerate() {
            let row = |j: usize| &c[j * behind..][..behind];
            let one = |u: &mut [f32], c: &[f32], weight: f32| u.iter_mut().zip(c).for_each(|(u, c)| *u = weight * c);
            match (i % 2, i / 2) {
                (1, j) => one(u, row(j), self.centre),
                (_, 0) => one(u, row(0), self.side),
                (_, j) if j == m => one(u, row(m - 1), self.side),
                (_, j) => {
                    for ((u, a), b) in u.iter_mut().zip(row(j - 1)).zip(row(j)) {
                        *u = self.side * (a + b);
                    }
                }
            }
        }
    }
}

impl Axis {
    fn check(&self, fine: &[f32], coarse: &[f32]) {
        let lines = self.before * self.behind;
        debug_assert_eq!((fine.len(), coarse.len()), (lines * self.n, lines * (self.n / 2)), "fine and coarse");
    }
}
