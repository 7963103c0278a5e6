//! Batch normalisation (Ioffe and Szegedy 2015) and group normalisation (Wu and He 2018) of channels, with a ReLU
//! behind it where one follows, and their pullbacks.
//!
//! With `n = (x - mean) / sqrt(variance + eps)`, `y = n * weight + bias`; weight and bias are per channel, mean and
//! variance are those of [`NormOver`]. The variance divides by the number of elements.

mod pullback;
mod sums;

use std::{iter::StepBy, ops::Range};

use crate::vector::vectorised;
use sums::Sums;

pub use pullback::relu_pullback;

/// What shares one mean and one variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormOver {
    /// A channel, over samples and positions.
    Batch,
    /// A group of consecutive channels of one sample, over positions; the number of groups, which divides the channels.
    ///
    /// One group is layer normalisation with a weight per channel, a group per channel instance normalisation.
    Groups(usize),
}

/// Normalisation of `[batch, channels, positions]`, scaled and shifted per channel.
///
/// A row is the positions of one channel of one sample. Sums add up in double precision what short pieces of rows sum
/// to, in an order that depends on the shape alone; with [`NormOver::Groups`] a sample has the same bits alone as among
/// others, except in [`ChannelNorm::gradients`], which are sums over samples.
///
/// # Shapes
/// In every method `x`, `y`, `dx` and `dy` are `[batch, channels, positions]`, `mean` and `variance`
/// `[n_moments(batch)]`, that is `[channels]` or `[batch, groups]`, `weight`, `bias`, `dweight` and `dbias`
/// `[channels]`.
///
/// ```
/// use braidnet_kernels::{ChannelNorm, NormOver};
///
/// let norm = ChannelNorm { over: NormOver::Batch, channels: 1, positions: 2, eps: 0.0 };
/// let x = [1.0, 3.0, 3.0, 1.0];
/// let (mut mean, mut variance, mut y) = ([0.0], [0.0], [0.0; 4]);
/// norm.moments(&x, &mut mean, &mut variance);
/// assert_eq!((mean, variance), ([2.0], [1.0]));
/// norm.apply(&x, &mean, &variance, &[3.0], &[1.0], true, &mut y);
/// assert_eq!(y, [0.0, 4.0, 4.0, 0.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelNorm {
    /// What shares a mean and a variance.
    pub over: NormOver,
    /// Channels of a sample.
    pub channels: usize,
    /// Positions of a channel: the product of the sizes in space.
    pub positions: usize,
    /// Added to every variance.
    pub eps: f32,
}

impl ChannelNorm {
    /// How many means, and as many variances, `batch` samples have.
    pub fn n_moments(&self, batch: usize) -> usize {
        match self.over {
            NormOver::Batch => self.channels,
            NormOver::Groups(groups) => batch * groups,
        }
    }

    /// Mean and variance of `x`; both are overwritten. Without samples they are 0.
    ///
    /// The variance is that of the differences to the mean, so that a large mean cancels nothing.
    pub fn moments(&self, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
        self.check(x, mean.len(), variance.len());
        vectorised(
            #[inline(always)]
            || {
                for (part, (mean, variance)) in mean.iter_mut().zip(variance).enumerate() {
                    let rows = self.rows_of_part(part, x);
                    let share = 1.0 / self.part_len(x).max(1) as f64;
                    let sum = self.sum(
                        x,
                        rows.clone(),
                        #[inline(always)]
                        |x| x,
                    );
                    *mean = (share * sum) as f32;
                    let mean = *mean;
                    let sum_of_squares = self.sum(
                        x,
                        rows,
                        #[inline(always)]
                        |x| (x - mean) * (x - mean),
                    );
                    *variance = (share * sum_of_squares) as f32;
                }
            },
        );
    }

    /// Sum of `term` over the elements of rows.
    #[inline(always)]
    fn sum(&self, x: &[f32], rows: StepBy<Range<usize>>, term: impl Fn(f32) -> f32) -> f64 {
        let mut sums = Sums::default();
        for row in rows {
            sums.add(
                1.0,
                [self.row(x, row)],
                #[inline(always)]
                |[x]| [term(x)],
            );
        }
        let [sum] = sums.totals();
        sum
    }

    /// `y = (x - mean) / sqrt(variance + eps) * weight + bias`, and 0 where that is negative if `relu`; `y` is
    /// overwritten.
    ///
    /// The moments are those of `x` or any others, such as running ones. A NaN stays one behind the ReLU.
    #[expect(clippy::too_many_arguments, reason = "what is read, in the order of the formula, then what is written")]
    pub fn apply(
        &self,
        x: &[f32],
        mean: &[f32],
        variance: &[f32],
        weight: &[f32],
        bias: &[f32],
        relu: bool,
        y: &mut [f32],
    ) {
        self.check(x, mean.len(), variance.len());
        debug_assert_eq!(
            (y.len(), weight.len(), bias.len()),
            (x.len(), self.channels, self.channels),
            "y, weight, bias"
        );
        vectorised(
            #[inline(always)]
            || {
                for (row, (x, y)) in x.chunks_exact(self.positions).zip(y.chunks_exact_mut(self.positions)).enumerate()
                {
                    let (part, channel) = (self.part_of_row(row), row % self.channels);
                    let scale = self.inverse_std(variance[part]) * weight[channel];
                    apply_row(x, mean[part], scale, bias[channel], relu, y);
                }
            },
        );
    }

    /// The rows of `x` that share the moments of number `part`.
    #[inline(always)]
    fn rows_of_part(&self, part: usize, x: &[f32]) -> StepBy<Range<usize>> {
        match self.over {
            NormOver::Batch => self.rows_of_channel(part, x),
            NormOver::Groups(groups) => {
                let n = self.channels / groups;
                (part * n..(part + 1) * n).step_by(1)
            }
        }
    }

    /// The rows of `x` of a channel.
    #[inline(always)]
    fn rows_of_channel(&self, channel: usize, x: &[f32]) -> StepBy<Range<usize>> {
        (channel..x.len() / self.positions).step_by(self.channels)
    }

    /// The number of the moments that a row shares.
    #[inline(always)]
    fn part_of_row(&self, row: usize) -> usize {
        match self.over {
            NormOver::Batch => row % self.channels,
            NormOver::Groups(groups) => row / (self.channels / groups),
        }
    }

    /// Elements of `x` that share a mean.
    #[inline(always)]
    fn part_len(&self, x: &[f32]) -> usize {
        match self.over {
            NormOver::Batch => x.len() / self.channels,
            NormOver::Groups(groups) => self.channels / groups * self.positions,
        }
    }

    #[inline(always)]
    fn row<'a>(&self, x: &'a [f32], row: usize) -> &'a [f32] {
        &x[row * self.positions..][..self.positions]
    }

    #[inline(always)]
    fn inverse_std(&self, variance: f32) -> f32 {
        1.0 / (variance + self.eps).sqrt()
    }

    /// Panics in debug builds where `x`, or the numbers of moments, do not fit.
    #[inline(always)]
    fn check(&self, x: &[f32], n_means: usize, n_variances: usize) {
        let sample = self.channels * self.positions;
        debug_assert!(sample > 0 && x.len().is_multiple_of(sample), "channels, positions");
        let groups = if let NormOver::Groups(groups) = self.over { groups } else { 1 };
        debug_assert!(groups > 0 && self.channels.is_multiple_of(groups), "groups");
        let expected = self.n_moments(x.len() / sample);
        debug_assert_eq!((n_means, n_variances), (expected, expected), "means, variances");
    }
}

#[inline(always)]
fn apply_row(x: &[f32], mean: f32, scale: f32, bias: f32, relu: bool, y: &mut [f32]) {
    if relu {
        for (y, x) in y.iter_mut().zip(x) {
            let value = (x - mean) * scale + bias;
            *y = if value < 0.0 { 0.0 } else { value };
        }
    } else {
        for (y, x) in y.iter_mut().zip(x) {
            *y = (x - mean) * scale + bias;
        }
    }
}
