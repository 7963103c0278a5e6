//! Convolutions against plain sums in double precision, and against each other.

use braidnet_kernels::Conv;
use proptest::prelude::*;

use crate::common::{assert_close, dot, values, wide};

/// Calls `f(x, weight, y)` with the indices of every product of the convolution.
fn products<const A: usize>(conv: &Conv<A>, batch: usize, mut f: impl FnMut(usize, usize, usize)) {
    let positions: usize = conv.extents.iter().product();
    let taps = 3usize.pow(A as u32);
    // The neighbour of a position in a window, if it is no padding.
    let neighbour = |mut position: usize, mut tap: usize| {
        let (mut index, mut stride) = (0, 1);
        for extent in conv.extents.iter().rev() {
            let at = (position % extent + tap % 3).checked_sub(1).filter(|at| at < extent)?;
            index += at * stride;
            (stride, position, tap) = (stride * extent, position / extent, tap / 3);
        }
        Some(index)
    };
    for (position, tap) in (0..positions).flat_map(|position| (0..taps).map(move |tap| (position, tap))) {
        let Some(neighbour) = neighbour(position, tap) else { continue };
        for (sample, output) in (0..batch).flat_map(|sample| (0..conv.outputs).map(move |output| (sample, output))) {
            for input in 0..conv.inputs {
                f(
                    (sample * conv.inputs + input) * positions + neighbour,
                    (output * conv.inputs + input) * taps + tap,
                    (sample * conv.outputs + output) * positions + position,
                );
            }
        }
    }
}

/// A convolution with numbers to work on.
#[derive(Debug, Clone)]
struct Case<const A: usize> {
    conv: Conv<A>,
    batch: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    dy: Vec<f32>,
}

impl<const A: usize> Case<A> {
    fn new(conv: Conv<A>, batch: usize, bias: bool, seed: u64) -> Self {
        let positions: usize = conv.extents.iter().product();
        Self {
            conv,
            batch,
            x: values(seed, batch * conv.inputs * positions),
            weight: values(seed ^ 1, conv.outputs * conv.inputs * 3usize.pow(A as u32)),
            bias: bias.then(|| values(seed ^ 2, conv.outputs)),
            dy: values(seed ^ 3, batch * conv.outputs * positions),
        }
    }

    fn strategy(extent: usize) -> impl Strategy<Value = Self> {
        let sizes = (1usize..10, 1usize..10, proptest::array::uniform(1..=extent), 0usize..5);
        (sizes, any::<bool>(), any::<u64>()).prop_map(|((inputs, outputs, extents, batch), bias, seed)| {
            Self::new(Conv { inputs, outputs, extents }, batch, bias, seed)
        })
    }

    /// `W x + b`, or `relu` of it; what is overwritten starts as NaN.
    fn apply(&self, relu: bool) -> Vec<f32> {
        let mut y = vec![f32::NAN; self.dy.len()];
        self.conv.apply(&self.x, &self.weight, self.bias.as_deref(), relu, &mut y);
        y
    }

    fn apply_transposed(&self) -> Vec<f32> {
        let mut dx = vec![f32::NAN; self.x.len()];
        self.conv.apply_transposed(&self.dy, &self.weight, &mut dx);
        dx
    }

    fn weight_gradient(&self) -> Vec<f32> {
        let mut dweight = vec![f32::NAN; self.weight.len()];
        self.conv.weight_gradient(&self.x, &self.dy, &mut dweight);
        dweight
    }

    /// All three against the sums.
    fn check(&self) {
        let positions: usize = self.conv.extents.iter().product();
        let (x, weight, dy) = (wide(&self.x), wide(&self.weight), wide(&self.dy));
        let bias = wide(self.bias.as_deref().unwrap_or(&vec![0.0; self.conv.outputs]));
        let mut y: Vec<f64> = (0..dy.len()).map(|i| bias[i / positions % self.conv.outputs]).collect();
        let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
        products(&self.conv, self.batch, |x_at, w_at, y_at| {
            y[y_at] += weight[w_at] * x[x_at];
            dx[x_at] += weight[w_at] * dy[y_at];
            dweight[w_at] += dy[y_at] * x[x_at];
        });
        let tolerance = |products: usize| 5e-6 * products as f64 + 2e-5;
        let taps = 3usize.pow(A as u32);
        assert_close(&self.apply(false), &y, tolerance(self.conv.inputs * taps));
        y.iter_mut().for_each(|y| *y = y.max(0.0));
        assert_close(&self.apply(true), &y, tolerance(self.conv.inputs * taps));
        assert_close(&self.apply_transposed(), &dx, tolerance(self.conv.outputs * taps));
        assert_close(&self.weight_gradient(), &dweight, tolerance(self.batch * positions));
    }

    /// The samples of a range.
    fn part(&self, samples: std::ops::Range<usize>) -> Self {
        let of = |x: &[f32]| match x.len().checked_div(self.batch) {
            Some(sample) => x[samples.start * sample..samples.end * sample].to_vec(),
            None => Vec::new(),
        };
        Self { batch: samples.len(), x: of(&self.x), dy: of(&self.dy), ..self.clone() }
    }

    /// Every sample alone gives the same bits.
    fn check_split(&self, cut: usize) {
        let (first, second) = (self.part(0..cut.min(self.batch)), self.part(cut.min(self.batch)..self.batch));
        for relu in [false, true] {
            assert_eq!(self.apply(relu), [first.apply(relu), second.apply(relu)].concat());
        }
        assert_eq!(self.apply_transposed(), [first.apply_transposed(), second.apply_transposed()].concat());
    }

    /// `<W x, dy> = <x, W^T dy> = <W, dW>`.
    fn check_adjoints(&self) {
        let case = Self { bias: None, ..self.clone() };
        let pairing = |a: &[f32], b: &[f32]| dot(&wide(a), &wide(b));
        let expected = pairing(&case.apply(false), &case.dy);
        let size: f64 = wide(&case.apply(false)).iter().zip(&wide(&case.dy)).map(|(a, b)| (a * b).abs()).sum();
        for actual in [pairing(&case.x, &case.apply_transposed()), pairing(&case.weight, &case.weight_gradient())] {
            assert!((actual - expected).abs() <= 1e-5 * size + 1e-4, "{actual}, not {expected}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn planes_match_the_sums(case in Case::<2>::strategy(20)) {
        case.check();
    }

    #[test]
    fn volumes_match_the_sums(case in Case::<3>::strategy(9)) {
        case.check();
    }

    #[test]
    fn transposed_products_are_adjoint(plane in Case::<2>::strategy(30), volume in Case::<3>::strategy(12)) {
        plane.check_adjoints();
        volume.check_adjoints();
    }

    #[test]
    fn samples_do_not_know_of_each_other(
        plane in Case::<2>::strategy(30), volume in Case::<3>::strategy(12), cut in 0usize..4,
    ) {
        plane.check_split(cut);
        volume.check_split(cut);
    }
}

/// Sizes that need several bands, groups and blocks, beyond what the random cases have time for.
#[test]
fn larger_sizes() {
    Case::new(Conv { inputs: 5, outputs: 6, extents: [90, 61] }, 1, true, 4).check();
    Case::new(Conv { inputs: 2, outputs: 1, extents: [3, 700] }, 2, false, 5).check();
    Case::new(Conv { inputs: 1, outputs: 2, extents: [700, 3] }, 2, false, 6).check();
    Case::new(Conv { inputs: 50, outputs: 45, extents: [8, 8] }, 2, true, 7).check();
    Case::new(Conv { inputs: 3, outputs: 5, extents: [5, 4] }, 150, true, 8).check();
    Case::new(Conv { inputs: 2, outputs: 3, extents: [4, 70, 60] }, 1, true, 9).check();
    Case::new(Conv { inputs: 3, outputs: 2, extents: [17, 33, 40] }, 1, true, 10).check();
    Case::new(Conv { inputs: 1, outputs: 1, extents: [1, 20, 1500] }, 1, true, 11).check();
}

#[test]
fn no_channels_and_no_samples() {
    let none = Conv { inputs: 3, outputs: 2, extents: [4, 5] };
    none.apply(&[], &[1.0; 54], None, true, &mut []);
    none.apply_transposed(&[], &[1.0; 54], &mut []);
    let mut dweight = [f32::NAN; 54];
    none.weight_gradient(&[], &[], &mut dweight);
    assert_eq!(dweight, [0.0; 54]);
}

/// What is no number reaches the windows it is in, and no others.
#[test]
fn nan_and_infinity_spread_over_their_windows() {
    for (bad, relu) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().zip([true, false, false]) {
        let conv = Conv { inputs: 2, outputs: 3, extents: [9, 19] };
        let mut case = Case::new(conv, 2, true, 3);
        let (row, column) = (4, 18);
        case.x[(conv.inputs + 1) * 171 + row * 19 + column] = bad;
        case.dy[conv.outputs * 171 + row * 19 + column] = bad;
        for (channels, result) in [(conv.outputs, case.apply(relu)), (conv.inputs, case.apply_transposed())] {
            for (i, value) in result.iter().enumerate() {
                let (sample, r, c) = (i / (channels * 171), i / 19 % 9, i % 19);
                let touched = sample == 1 && r.abs_diff(row) <= 1 && c.abs_diff(column) <= 1;
                assert_eq!(!value.is_finite(), touched, "{bad} at {i}: {value}");
                assert!(!bad.is_nan() || !touched || value.is_nan(), "{value}");
            }
        }
        case.dy = values(9, case.dy.len());
        for (i, value) in case.weight_gradient().iter().enumerate() {
            // No window has column 18 at its left; that weight may be spoilt too.
            let (touched, left) = (i / 9 % 2 == 1, i % 3 == 0);
            assert!(value.is_finite() != touched || touched && left, "{bad} at {i}: {value}");
        }
    }
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "weight")]
fn a_wrong_length_panics_in_debug_builds() {
    Conv { inputs: 1, outputs: 1, extents: [2, 2] }.apply(&[0.0; 4], &[0.0; 8], None, false, &mut [0.0; 4]);
}
