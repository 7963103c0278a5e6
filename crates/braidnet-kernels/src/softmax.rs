//! The scaled, masked softmax of attention, and its pullback.

use crate::{
    exp::exp,
    vector::{map, max, sum, vectorised},
};

/// Elements that stay in the first-level cache from one pass to the next.
const CACHED: usize = 4096;

/// The shape of attention scores `[batch, heads, queries, keys]`, and which of them count.
///
/// ```
/// use braidnet_kernels::Attention;
///
/// let attention = Attention { batch: 1, heads: 1, queries: 2, keys: 2, causal: true, masked: None };
/// let mut scores = [3.0, 1.0, 1.0, 1.0];
/// attention.softmax(&mut scores, 0.5);
/// assert_eq!(scores, [1.0, 0.0, 0.5, 0.5]);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Sequences.
    pub batch: usize,
    /// Heads of every sequence.
    pub heads: usize,
    /// Queries of every sequence: rows of one head.
    pub queries: usize,
    /// Keys of every sequence: columns.
    pub keys: usize,
    /// Whether query `q` attends to the keys `0..=q` alone.
    pub causal: bool,
    /// `[batch, keys]`: the keys that no query of the sequence attends to, such as padding.
    pub masked: Option<&'a [bool]>,
}

impl Attention<'_> {
    /// Replaces every row by `softmax(scale * row)` over the keys that count; the others become exactly 0, whatever
    /// their scores are.
    ///
    /// A row without a key that counts, or with minus infinity for each of them, becomes 0. A NaN or plus infinity
    /// among the scores that count makes the row NaN, up to the last key that the causal rule leaves.
    ///
    /// # Shapes
    /// `scores` is `[batch, heads, queries, keys]`; `scale` is positive.
    pub fn softmax(&self, scores: &mut [f32], scale: f32) {
        debug_assert_eq!(scores.len(), self.rows() * self.keys, "scores");
        debug_assert!(self.masked.is_none_or(|masked| masked.len() == self.batch * self.keys), "masked keys");
        debug_assert!(scale > 0.0, "scale {scale}");
        if scores.is_empty() {
            return;
        }
        let rows_at_once = (CACHED / self.keys).max(1);
        vectorised(
            #[inline(always)]
            || {
                for (group, rows) in scores.chunks_mut(rows_at_once * self.keys).enumerate() {
                    self.softmax_rows(group * rows_at_once, rows, scale);
                }
            },
        );
    }

    /// [`Attention::softmax`] of consecutive rows, of which `first` is the first.
    #[inline(always)]
    fn softmax_rows(&self, first: usize, rows: &mut [f32], scale: f32) {
        for (index, row) in (first..).zip(rows.chunks_exact_mut(self.keys)) {
            let (live, rest) = row.split_at_mut(self.live_keys(index));
            shift_row(live, self.masked_keys(index));
            rest.fill(f32::NEG_INFINITY);
        }
        // Over all rows at once, for a vector loop has its cost in the elements left over at its end.
        map(
            rows,
            #[inline(always)]
            |score| exp(score * scale),
        );
        for (index, row) in (first..).zip(rows.chunks_exact_mut(self.keys)) {
            normalise_row(&mut row[..self.live_keys(index)]);
        }
    }

    /// The pullback of [`Attention::softmax`]: with its result `p`, replaces the cotangent `dp` of `p` by that of the
    /// scores, `scale * p * (dp - sum_j p_j dp_j)` in every row.
    ///
    /// Entries that do not count become 0.
    ///
    /// # Shapes
    /// `p` and `dp` are `[batch, heads, queries, keys]`.
    pub fn softmax_pullback(&self, p: &[f32], dp: &mut [f32], scale: f32) {
        debug_assert_eq!((p.len(), dp.len()), (self.rows() * self.keys, self.rows() * self.keys), "p, dp");
        if dp.is_empty() {
            return;
        }
        vectorised(
            #[inline(always)]
            || {
                let rows = p.chunks_exact(self.keys).zip(dp.chunks_exact_mut(self.keys));
                for (index, (p, dp)) in rows.enumerate() {
                    let live = self.live_keys(index);
                    let (live_dp, rest) = dp.split_at_mut(live);
                    pullback_row(&p[..live], live_dp, scale);
                    rest.fill(0.0);
                }
            },
        );
    }

    fn rows(&self) -> usize {
        self.batch * self.heads * self.queries
    }

    /// How many keys, from the first one, the causal rule leaves to row `index`.
    #[inline(always)]
    fn live_keys(&self, index: usize) -> usize {
        if self.causal { self.keys.min(index % self.queries + 1) } else { self.keys }
    }

    /// The mask of the sequence that row `index` belongs to.
    #[inline(always)]
    fn masked_keys(&self, index: usize) -> Option<&[bool]> {
        let sequence = index / (self.heads * self.queries);
        self.masked.map(|masked| &masked[sequence * self.keys..][..self.keys])
    }
}

/// Subtracts the largest score, so that no exponential overflows; a masked score becomes minus infinity.
#[inline(always)]
fn shift_row(row: &mut [f32], masked: Option<&[bool]>) {
    if let Some(masked) = masked {
        for (score, &masked) in row.iter_mut().zip(masked) {
            *score = if masked { f32::NEG_INFINITY } else { *score };
        }
    }
    let max = max(row);
    // With nothing but minus infinity the difference would be NaN.
    let shift = if max == f32::NEG_INFINITY { 0.0 } else { max };
    row.iter_mut().for_each(|score| *score -= shift);
}

/// Divides by the sum, which is 0 for a row of which nothing counts.
#[inline(always)]
fn normalise_row(row: &mut [f32]) {
    let total = sum(
        [row],
        #[inline(always)]
        |[p]| p,
    );
    let inverse = if total == 0.0 { 0.0 } else { 1.0 / total };
    row.iter_mut().for_each(|p| *p *= inverse);
}

#[inline(always)]
fn pullback_row(p: &[f32], dp: &mut [f32], scale: f32) {
    let mean = sum(
        [p, dp],
        #[inline(always)]
        |[p, dp]| p * dp,
    );
    for (dp, p) in dp.iter_mut().zip(p) {
        *dp = scale * p * (*dp - mean);
    }
}
