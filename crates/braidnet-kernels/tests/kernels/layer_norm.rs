//! Layer normalisation against a plain one in double precision, and its pullback against differences.

use braidnet_kernels::{layer_norm, layer_norm_gradients, layer_norm_pullback};
use proptest::prelude::*;

use crate::common::{along, assert_close, dot, slope, values, wide};

const EPS: f32 = 1e-5;

fn reference(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let n = weight.len() as f64;
    let row = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let inverse = 1.0 / (variance + f64::from(EPS)).sqrt();
        x.iter().zip(weight).zip(bias).map(|((x, w), b)| (x - mean) * inverse * w + b).collect::<Vec<_>>()
    };
    x.chunks(weight.len()).flat_map(row).collect()
}

struct Case {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    y: Vec<f32>,
    normalised: Vec<f32>,
    inverse_std: Vec<f32>,
}

impl Case {
    /// The forward pass with a tape; everything that is overwritten starts as NaN.
    fn new(rows: usize, columns: usize, seed: u64) -> Self {
        let (x, weight, bias) = (values(seed, rows * columns), values(seed ^ 1, columns), values(seed ^ 2, columns));
        let nan = vec![f32::NAN; rows * columns];
        let mut case = Self { x, weight, bias, y: nan.clone(), normalised: nan, inverse_std: vec![f32::NAN; rows] };
        let tape = Some((&mut case.normalised[..], &mut case.inverse_std[..]));
        layer_norm(&case.x, &case.weight, &case.bias, EPS, &mut case.y, tape);
        case
    }
}

proptest! {
    #[test]
    fn matches_the_formula_with_and_without_a_tape(rows in 0usize..7, columns in 1usize..150, seed in any::<u64>()) {
        let case = Case::new(rows, columns, seed);
        assert_close(&case.y, &reference(&wide(&case.x), &wide(&case.weight), &wide(&case.bias)), 2e-5);
        let mut y = vec![f32::NAN; case.y.len()];
        layer_norm(&case.x, &case.weight, &case.bias, EPS, &mut y, None);
        prop_assert_eq!(&y, &case.y);
        let plain = reference(&wide(&case.x), &vec![1.0; columns], &vec![0.0; columns]);
        assert_close(&case.normalised, &plain, 1e-5);
    }

    #[test]
    fn pullbacks_match_differences(rows in 1usize..11, columns in 4usize..100, seed in any::<u64>()) {
        let case = Case::new(rows, columns, seed);
        let n = rows * columns;
        let dy = values(seed ^ 3, n);
        let (mut dx, mut dweight, mut dbias) = (vec![f32::NAN; n], vec![f32::NAN; columns], vec![f32::NAN; columns]);
        layer_norm_pullback(&dy, &case.weight, &case.normalised, &case.inverse_std, &mut dx);
        layer_norm_gradients(&dy, &case.normalised, &mut dweight, &mut dbias);

        let (x, weight, bias) = (wide(&case.x), wide(&case.weight), wide(&case.bias));
        let (vx, vw) = (wide(&values(seed ^ 4, n)), wide(&values(seed ^ 5, columns)));
        let along_x = slope(|h| dot(&reference(&along(&x, h, &vx), &weight, &bias), &wide(&dy)));
        let along_weight = slope(|h| dot(&reference(&x, &along(&weight, h, &vw), &bias), &wide(&dy)));
        let along_bias = slope(|h| dot(&reference(&x, &weight, &along(&bias, h, &vw)), &wide(&dy)));
        for (gradient, direction, expected) in
            [(dx, &vx, along_x), (dweight, &vw, along_weight), (dbias, &vw, along_bias)]
        {
            let actual = dot(&wide(&gradient), direction);
            prop_assert!((actual - expected).abs() < 2e-4 * (n as f64).sqrt(), "{actual}, not {expected}");
        }
    }

    #[test]
    fn gradients_match_the_sums(rows in 0usize..70, columns in 1usize..70, seed in any::<u64>()) {
        let (dy, normalised) = (values(seed, rows * columns), values(seed ^ 1, rows * columns));
        let (mut dweight, mut dbias) = (vec![f32::NAN; columns], vec![f32::NAN; columns]);
        layer_norm_gradients(&dy, &normalised, &mut dweight, &mut dbias);
        let sum = |term: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..columns).map(|j| (0..rows).map(|i| term(i * columns + j)).sum()).collect()
        };
        assert_close(&dweight, &sum(&|i| f64::from(dy[i]) * f64::from(normalised[i])), 2e-4);
        assert_close(&dbias, &sum(&|i| f64::from(dy[i])), 1e-4);
    }
}

#[test]
fn a_large_mean_cancels_nothing() {
    // Exact in f32; the mean of squares minus the square of the mean would be useless here.
    let x: Vec<f32> = (0..300).map(|i| 65_536.0 + (i % 5) as f32).collect();
    let (weight, bias) = (vec![1.0; 300], vec![0.0; 300]);
    let mut y = vec![f32::NAN; 300];
    layer_norm(&x, &weight, &bias, EPS, &mut y, None);
    assert_close(&y, &reference(&wide(&x), &wide(&weight), &wide(&bias)), 1e-2);
}

#[test]
fn a_constant_row_is_the_bias() {
    let mut y = [f32::NAN; 20];
    layer_norm(&[2.0; 20], &[3.0; 20], &[0.5; 20], EPS, &mut y, None);
    assert_eq!(y, [0.5; 20]);
}
