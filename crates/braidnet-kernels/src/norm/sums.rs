//! Sums over many rows, in an order that depends on their number and length alone.

use std::hint::black_box;

/// Sums side by side: one AVX-512 register, and a multiple of every narrower one.
const LANES: usize = 16;

/// Elements of a lane that are summed in single precision before they go to a sum in double precision: so few that their
/// rounding is small, and so many that widening costs nothing.
const GROUPS: usize = 32;

/// `M` sums over the elements of rows, as they grow.
pub(super) struct Sums<const M: usize>([[f64; LANES]; M]);

impl<const M: usize> Default for Sums<M> {
    #[inline(always)]
    fn default() -> Self {
        Self([[0.0; LANES]; M])
    }
}

impl<const M: usize> Sums<M> {
    /// Adds `factor` times the sums of `term` over the elements of rows of the same length.
    #[inline(always)]
    pub(super) fn add<const N: usize>(&mut self, factor: f64, rows: [&[f32]; N], term: impl Fn([f32; N]) -> [f32; M]) {
        let chunks = rows.map(|row| row.as_chunks::<LANES>());
        let n_groups = chunks[0].0.len();
        for start in (0..n_groups).step_by(GROUPS) {
            let end = n_groups.min(start + GROUPS);
            let piece = sum_lanes(chunks.map(|(groups, _)| &groups[start..end]), &term);
            for (totals, sums) in self.0.iter_mut().zip(piece) {
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total += factor * f64::from(sum);
                }
            }
        }
        for lane in 0..chunks[0].1.len() {
            let terms = term(chunks.map(|(_, tail)| tail[lane]));
            for (totals, term) in self.0.iter_mut().zip(terms) {
                totals[lane] += factor * f64::from(term);
            }
        }
    }

    /// The sums.
    #[inline(always)]
    pub(super) fn totals(self) -> [f64; M] {
        // The compiler must not look through: it would arrange the lanes for this addition in the loop before.
        black_box(self.0).map(|lanes| lanes.iter().sum())
    }
}

/// The sums of `term`, one of each for every lane.
#[inline(always)]
fn sum_lanes<const N: usize, const M: usize>(
    groups: [&[[f32; LANES]]; N],
    term: impl Fn([f32; N]) -> [f32; M],
) -> [[f32; LANES]; M] {
    let mut sums = [[0.0; LANES]; M];
    for i in 0..groups[0].len() {
        let group = groups.map(|groups| &groups[i]);
        // One sum after the other: both at once, element by element, are not vectorised.
        for (m, sums) in sums.iter_mut().enumerate() {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += term(group.map(|values| values[lane]))[m];
            }
        }
    }
    sums
}
