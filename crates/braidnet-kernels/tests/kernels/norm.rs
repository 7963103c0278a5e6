//! Batch and group normalisation against plain ones in double precision, and the pullbacks against differences.

use braidnet_kernels::{Activation, ChannelNorm, NormOver, layer_norm, relu_pullback};
use proptest::prelude::*;

use crate::common::{along, assert_close, dot, slope, values, wide};

/// Kernel and reference on the same numbers; everything that is overwritten starts as NaN.
#[derive(Debug)]
struct Case {
    norm: ChannelNorm,
    batch: usize,
    x: Vec<f32>,
    dy: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(norm: ChannelNorm, batch: usize, seed: u64) -> Self {
        let n = batch * norm.channels * norm.positions;
        let (x, dy) = (values(seed, n), values(seed ^ 1, n));
        let (weight, bias) = (values(seed ^ 2, norm.channels), values(seed ^ 3, norm.channels));
        Self { norm, batch, x, dy, weight, bias }
    }

    fn moments(&self) -> (Vec<f32>, Vec<f32>) {
        let n = self.norm.n_moments(self.batch);
        let (mut mean, mut variance) = (vec![f32::NAN; n], vec![f32::NAN; n]);
        self.norm.moments(&self.x, &mut mean, &mut variance);
        (mean, variance)
    }

    fn apply(&self, (mean, variance): &(Vec<f32>, Vec<f32>), relu: bool) -> Vec<f32> {
        let mut y = vec![f32::NAN; self.x.len()];
        self.norm.apply(&self.x, mean, variance, &self.weight, &self.bias, relu, &mut y);
        y
    }

    fn pullback(&self, (mean, variance): &(Vec<f32>, Vec<f32>)) -> Vec<f32> {
        let mut dx = vec![f32::NAN; self.x.len()];
        self.norm.pullback(&self.dy, &self.x, mean, variance, &self.weight, &mut dx);
        dx
    }

    fn gradients(&self, (mean, variance): &(Vec<f32>, Vec<f32>)) -> (Vec<f32>, Vec<f32>) {
        let (mut dweight, mut dbias) = (vec![f32::NAN; self.norm.channels], vec![f32::NAN; self.norm.channels]);
        self.norm.gradients(&self.dy, &self.x, mean, variance, &mut dweight, &mut dbias);
        (dweight, dbias)
    }

    /// The number of the moments of an element.
    fn part(&self, i: usize) -> usize {
        let (sample, channel) = (i / (self.norm.channels * self.norm.positions), self.channel(i));
        match self.norm.over {
            NormOver::Batch => channel,
            NormOver::Groups(groups) => sample * groups + channel * groups / self.norm.channels,
        }
    }

    fn channel(&self, i: usize) -> usize {
        i / self.norm.positions % self.norm.channels
    }

    fn reference_moments(&self, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let parts: Vec<Vec<f64>> = (0..self.norm.n_moments(self.batch))
            .map(|part| (0..x.len()).filter(|&i| self.part(i) == part).map(|i| x[i]).collect())
            .collect();
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let variance = |x: &[f64]| {
            let mean = mean(x);
            x.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / x.len() as f64
        };
        (parts.iter().map(|part| mean(part)).collect(), parts.iter().map(|part| variance(part)).collect())
    }

    fn reference(&self, x: &[f64], (mean, variance): &(Vec<f64>, Vec<f64>), weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let y = |i| {
            let (part, channel) = (self.part(i), self.channel(i));
            let std = (variance[part] + f64::from(self.norm.eps)).sqrt();
            (x[i] - mean[part]) / std * weight[channel] + bias[channel]
        };
        (0..x.len()).map(y).collect()
    }
}

/// Shapes with one channel, one position, one group, a group per channel, and rows shorter and longer than a register.
fn norms(eps: f32) -> impl Strategy<Value = ChannelNorm> {
    let positions = prop_oneof![1usize..5, 1usize..80, 500usize..1100];
    (1usize..4, 1usize..4, any::<bool>(), positions).prop_map(move |(groups, of_group, batch, positions)| {
        let over = if batch { NormOver::Batch } else { NormOver::Groups(groups) };
        ChannelNorm { over, channels: groups * of_group, positions, eps }
    })
}

fn assert_slope(gradient: &[f32], direction: &[f64], expected: f64) {
    let actual = dot(&wide(gradient), direction);
    let tolerance = 2e-4 * (direction.len() as f64).sqrt().max(10.0);
    assert!((actual - expected).abs() < tolerance, "{actual}, not {expected}");
}

proptest! {
    #[test]
    fn matches_the_formula(norm in norms(0.01), batch in 1usize..6, seed in any::<u64>()) {
        let case = Case::new(norm, batch, seed);
        let x = wide(&case.x);
        let (moments, expected) = (case.moments(), case.reference_moments(&x));
        assert_close(&moments.0, &expected.0, 1e-6);
        assert_close(&moments.1, &expected.1, 1e-5);
        let expected = case.reference(&x, &expected, &wide(&case.weight), &wide(&case.bias));
        let y = case.apply(&moments, false);
        assert_close(&y, &expected, 5e-5);
        let positive: Vec<f32> = y.iter().map(|y| y.max(0.0)).collect();
        prop_assert_eq!(case.apply(&moments, true), positive);
    }

    #[test]
    fn any_moments_are_applied(norm in norms(1e-5), batch in 0usize..6, seed in any::<u64>()) {
        let case = Case::new(norm, batch, seed);
        let n = norm.n_moments(batch);
        let running = (values(seed ^ 4, n), values(seed ^ 5, n).iter().map(|v| v.abs() + 0.1).collect::<Vec<_>>());
        let wide_running = (wide(&running.0), wide(&running.1));
        let (weight, bias) = (wide(&case.weight), wide(&case.bias));
        let expected = case.reference(&wide(&case.x), &wide_running, &weight, &bias);
        assert_close(&case.apply(&running, false), &expected, 5e-5);
    }

    #[test]
    fn pullbacks_match_differences(norm in norms(0.1), batch in 1usize..6, seed in any::<u64>()) {
        let case = Case::new(norm, batch, seed);
        let moments = case.moments();
        let (x, dy, weight, bias) = (wide(&case.x), wide(&case.dy), wide(&case.weight), wide(&case.bias));
        let (vx, vw) = (wide(&values(seed ^ 4, x.len())), wide(&values(seed ^ 5, norm.channels)));

        let of_x = |x: &[f64]| dot(&case.reference(x, &case.reference_moments(x), &weight, &bias), &dy);
        assert_slope(&case.pullback(&moments), &vx, slope(|h| of_x(&along(&x, h, &vx))));

        let fixed = case.reference_moments(&x);
        let of_parameters = |weight: &[f64], bias: &[f64]| dot(&case.reference(&x, &fixed, weight, bias), &dy);
        let (dweight, dbias) = case.gradients(&moments);
        assert_slope(&dweight, &vw, slope(|h| of_parameters(&along(&weight, h, &vw), &bias)));
        assert_slope(&dbias, &vw, slope(|h| of_parameters(&weight, &along(&bias, h, &vw))));
    }

    /// To the bit: moments, outputs and pullback of group normalisation know nothing of the other samples.
    #[test]
    fn a_sample_is_the_same_alone(norm in norms(1e-5), batch in 1usize..5, sample in 0usize..5, seed in any::<u64>()) {
        let over = if norm.over == NormOver::Batch { NormOver::Groups(norm.channels) } else { norm.over };
        let case = Case::new(ChannelNorm { over, ..norm }, batch, seed);
        let (sample, len) = (sample % batch, norm.channels * norm.positions);
        let of_sample = |all: &[f32]| all[sample * len..][..len].to_vec();
        let alone = Case { batch: 1, x: of_sample(&case.x), dy: of_sample(&case.dy), ..Case::new(case.norm, 1, seed) };
        let (all, one) = (case.moments(), alone.moments());
        prop_assert_eq!(of_sample(&case.apply(&all, true)), alone.apply(&one, true));
        prop_assert_eq!(of_sample(&case.pullback(&all)), alone.pullback(&one));
    }

    /// To the bit: batch normalisation of one sample is instance normalisation, all passes.
    #[test]
    fn a_batch_of_one_is_an_instance(norm in norms(1e-5), seed in any::<u64>()) {
        let batch = Case::new(ChannelNorm { over: NormOver::Batch, ..norm }, 1, seed);
        let instance = Case::new(ChannelNorm { over: NormOver::Groups(norm.channels), ..norm }, 1, seed);
        let moments = batch.moments();
        prop_assert_eq!(&moments, &instance.moments());
        prop_assert_eq!(batch.apply(&moments, false), instance.apply(&moments, false));
        prop_assert_eq!(batch.pullback(&moments), instance.pullback(&moments));
        prop_assert_eq!(batch.gradients(&moments), instance.gradients(&moments));
    }

    /// One group is the layer normalisation of a sample, with the channel's weight at every position.
    #[test]
    fn one_group_is_layer_normalisation(norm in norms(0.01), batch in 1usize..5, seed in any::<u64>()) {
        let case = Case::new(ChannelNorm { over: NormOver::Groups(1), ..norm }, batch, seed);
        let everywhere = |channels: &[f32]| -> Vec<f32> {
            channels.iter().flat_map(|&value| std::iter::repeat_n(value, norm.positions)).collect()
        };
        let mut y = vec![f32::NAN; case.x.len()];
        layer_norm(&case.x, &everywhere(&case.weight), &everywhere(&case.bias), norm.eps, &mut y, None);
        assert_close(&case.apply(&case.moments(), false), &wide(&y), 1e-4);
    }

    /// A shift or, without `eps`, a scaling of the input changes nothing, so no gradient goes along them.
    #[test]
    fn the_pullback_has_no_part_along_shifts_and_scalings(norm in norms(0.0), batch in 2usize..6, seed in any::<u64>()) {
        let norm = ChannelNorm { positions: norm.positions + 20, ..norm };
        let case = Case::new(norm, batch, seed);
        let dx = wide(&case.pullback(&case.moments()));
        let tolerance = 1e-4 * (dx.len() as f64).sqrt();
        prop_assert!(dx.iter().sum::<f64>().abs() < tolerance);
        prop_assert!(dot(&dx, &wide(&case.x)).abs() < 10.0 * tolerance);
    }

    #[test]
    fn the_pullback_of_a_relu_is_that_of_the_activation(n in 0usize..200, seed in any::<u64>()) {
        let (mut dy, mut y) = (values(seed, n), values(seed ^ 1, n));
        let mut derivative = vec![f32::NAN; n];
        Activation::Relu.apply_with_derivative(&mut y, &mut derivative);
        let expected: Vec<f32> = dy.iter().zip(derivative).map(|(dy, derivative)| dy * derivative).collect();
        relu_pullback(&mut dy, &y);
        prop_assert_eq!(dy, expected);
    }
}

#[test]
fn a_large_mean_cancels_nothing() {
    // Exact in f32; the mean of squares minus the square of the mean would be useless here.
    for over in [NormOver::Batch, NormOver::Groups(2)] {
        let norm = ChannelNorm { over, channels: 2, positions: 100, eps: 1e-5 };
        let mut case = Case::new(norm, 3, 1);
        let near: Vec<f32> = (0..case.x.len()).map(|i| (i % 5) as f32).collect();
        case.x = near.iter().map(|x| x + 65_536.0).collect();
        let moments = case.moments();
        assert_eq!(moments.0, vec![65_538.0; moments.0.len()]);
        assert_eq!(moments.1, vec![2.0; moments.1.len()]);
        let shifted = (vec![2.0; moments.0.len()], moments.1.clone());
        let far = (case.apply(&moments, false), case.pullback(&moments), case.gradients(&moments));
        case.x = near;
        assert_eq!(far, (case.apply(&shifted, false), case.pullback(&shifted), case.gradients(&shifted)));
    }
}

#[test]
fn long_rows_lose_no_digits() {
    for over in [NormOver::Batch, NormOver::Groups(1)] {
        let mut case = Case::new(ChannelNorm { over, channels: 1, positions: 300_000, eps: 1e-5 }, 2, 7);
        case.x.iter_mut().for_each(|x| *x += 100.0);
        let ((mean, variance), expected) = (case.moments(), case.reference_moments(&wide(&case.x)));
        assert_close(&mean, &expected.0, 1e-5);
        assert_close(&variance, &expected.1, 1e-6);
        let dbias = case.gradients(&(mean, variance)).1;
        assert_close(&dbias, &[wide(&case.dy).iter().sum()], 1e-3);
    }
}

#[test]
fn without_variance_the_output_is_the_bias_and_the_pullback_finite() {
    for over in [NormOver::Batch, NormOver::Groups(3)] {
        let mut case = Case::new(ChannelNorm { over, channels: 3, positions: 30, eps: 1e-4 }, 2, 5);
        case.x.fill(2.0);
        let moments = case.moments();
        assert_eq!(moments, (vec![2.0; moments.0.len()], vec![0.0; moments.0.len()]));
        let bias: Vec<f64> = (0..case.x.len()).map(|i| f64::from(case.bias[case.channel(i)])).collect();
        assert_close(&case.apply(&moments, false), &bias, 0.0);
        let mean_dy = case.reference_moments(&wide(&case.dy)).0;
        let dx = |i| (f64::from(case.dy[i]) - mean_dy[case.part(i)]) * f64::from(case.weight[case.channel(i)]) * 100.0;
        assert_close(&case.pullback(&moments), &(0..case.x.len()).map(dx).collect::<Vec<_>>(), 1e-3);
        assert_eq!(case.gradients(&moments).0, [0.0; 3]);
    }
}

#[test]
fn a_nan_stays_within_what_shares_its_moments() {
    for (over, bad) in [(NormOver::Batch, 1), (NormOver::Groups(2), 2)] {
        let mut case = Case::new(ChannelNorm { over, channels: 4, positions: 18, eps: 1e-5 }, 2, 9);
        // Of sample 1 channel 1: in part 1 of the channels, in part 2 of the groups.
        case.x[5 * 18 + 3] = f32::NAN;
        let moments = case.moments();
        let is_bad: Vec<bool> = (0..case.x.len()).map(|i| case.part(i) == bad).collect();
        let is_nan = |x: Vec<f32>| x.iter().map(|x| x.is_nan()).collect::<Vec<_>>();
        assert_eq!(is_nan(case.apply(&moments, false)), is_bad);
        assert_eq!(is_nan(case.apply(&moments, true)), is_bad);
        assert_eq!(is_nan(case.pullback(&moments)), is_bad);
    }
    let mut dy = [1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN];
    relu_pullback(&mut dy, &[0.5, 0.0, -0.0, -2.0, f32::NAN, 1.0]);
    assert_eq!(dy[..4], [1.0, 0.0, 0.0, 0.0]);
    assert!(dy[4].is_nan() && dy[5].is_nan());
}

#[test]
fn without_samples_moments_and_gradients_are_zero() {
    let case = Case::new(ChannelNorm { over: NormOver::Batch, channels: 3, positions: 4, eps: 1e-5 }, 0, 1);
    let moments = case.moments();
    assert_eq!(moments, (vec![0.0; 3], vec![0.0; 3]));
    assert_eq!(case.gradients(&moments), (vec![0.0; 3], vec![0.0; 3]));
    assert!(case.apply(&moments, true).is_empty() && case.pullback(&moments).is_empty());
}
