//! Pullbacks of the normalisation of channels, and of a ReLU.

use super::{ChannelNorm, sums::Sums};
use crate::vector::vectorised;

impl ChannelNorm {
    /// The pullback of [`ChannelNorm::apply`] where the moments are those of `x`, and so change with it; `dx` is
    /// overwritten.
    ///
    /// With `g = dy * weight`, `dx = (g - mean(g) - n mean(g * n)) / sqrt(variance + eps)`, the means being over what
    /// shares a mean. `dy` is the derivative by the output before the ReLU: see [`relu_pullback`].
    pub fn pullback(&self, dy: &[f32], x: &[f32], mean: &[f32], variance: &[f32], weight: &[f32], dx: &mut [f32]) {
        self.check(x, mean.len(), variance.len());
        debug_assert_eq!((dy.len(), dx.len(), weight.len()), (x.len(), x.len(), self.channels), "dy, dx, weight");
        vectorised(
            #[inline(always)]
            || {
                for (part, (&mean, &variance)) in mean.iter().zip(variance).enumerate() {
                    self.pull_back_part(part, dy, x, (mean, self.inverse_std(variance)), weight, dx);
                }
            },
        );
    }

    #[inline(always)]
    fn pull_back_part(
        &self,
        part: usize,
        dy: &[f32],
        x: &[f32],
        (mean, inverse): (f32, f32),
        weight: &[f32],
        dx: &mut [f32],
    ) {
        let mut sums = Sums::default();
        for row in self.rows_of_part(part, x) {
            let weight = f64::from(weight[row % self.channels]);
            sums.add(
                weight,
                [self.row(dy, row), self.row(x, row)],
                #[inline(always)]
                |[dy, x]| [dy, dy * (x - mean)],
            );
        }
        let [sum, sum_along_x] = sums.totals();
        // Of the mean and of the variance, as the factors of 1 and of x - mean: the same for the whole part.
        let (count, wide) = (self.part_len(x) as f64, f64::from(inverse));
        let (shift, slope) = ((-wide * sum / count) as f32, (-wide * wide * wide * sum_along_x / count) as f32);
        for row in self.rows_of_part(part, x) {
            let scale = inverse * weight[row % self.channels];
            let (dy, x, dx) = (self.row(dy, row), self.row(x, row), &mut dx[row * self.positions..][..self.positions]);
            for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(x) {
                *dx = scale * dy + (slope * (x - mean) + shift);
            }
        }
    }

    /// The gradients of the weight, sums of `dy * n` per channel, and of the bias, sums of `dy`; both are overwritten.
    ///
    /// `dy` is the derivative by the output before the ReLU, the moments are those that [`ChannelNorm::apply`] had.
    pub fn gradients(
        &self,
        dy: &[f32],
        x: &[f32],
        mean: &[f32],
        variance: &[f32],
        dweight: &mut [f32],
        dbias: &mut [f32],
    ) {
        self.check(x, mean.len(), variance.len());
        debug_assert_eq!((dy.len(), dweight.len(), dbias.len()), (x.len(), self.channels, self.channels), "dy, d...");
        vectorised(
            #[inline(always)]
            || {
                for (channel, (dweight, dbias)) in dweight.iter_mut().zip(dbias).enumerate() {
                    [*dweight, *dbias] = self.gradients_of_channel(channel, dy, x, mean, variance);
                }
            },
        );
    }

    /// The gradients of a channel's weight and bias.
    #[inline(always)]
    fn gradients_of_channel(&self, channel: usize, dy: &[f32], x: &[f32], mean: &[f32], variance: &[f32]) -> [f32; 2] {
        let mut sums = Sums::default();
        for row in self.rows_of_channel(channel, x) {
            let part = self.part_of_row(row);
            let (mean, inverse) = (mean[part], self.inverse_std(variance[part]));
            sums.add(
                1.0,
                [self.row(dy, row), self.row(x, row)],
                #[inline(always)]
                |[dy, x]| [dy * ((x - mean) * inverse), dy],
            );
        }
        sums.totals().map(|sum| sum as f32)
    }
}

/// `dy` where `y` is positive, else 0, in place: the pullback of a ReLU whose output, or input, was `y`.
///
/// Where `y` is a NaN, `dy` becomes one.
pub fn relu_pullback(dy: &mut [f32], y: &[f32]) {
    debug_assert_eq!(dy.len(), y.len(), "y");
    vectorised(
        #[inline(always)]
        || {
            for (dy, &y) in dy.iter_mut().zip(y) {
                let kept = if y > 0.0 { *dy } else { y };
                *dy = if y <= 0.0 { 0.0 } else { kept };
            }
        },
    );
}
