//! The error function and the activations against formulas in double precision.

use braidnet_kernels::{Activation, erf, erf_slice};
use proptest::prelude::*;

const ALL: [Activation; 4] = [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Elu];

/// Finite numbers of every size, both signs, denormal numbers among them, and a fine grid where the functions bend.
fn arguments() -> Vec<f32> {
    let sizes = (0..=f32::MAX.to_bits()).step_by(60_013).chain([1, 2, f32::MAX.to_bits()]).map(f32::from_bits);
    let grid = (0..200_000).map(|i| i as f32 * 1e-4);
    sizes.chain(grid).flat_map(|x| [x, -x]).collect()
}

fn reference(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Gelu => 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::Relu => x.max(0.0),
        Activation::Elu => {
            if x > 0.0 {
                x
            } else {
                x.exp_m1()
            }
        }
    }
}

#[test]
fn erf_is_within_1e_6_everywhere() {
    let x = arguments();
    let mut y = x.clone();
    erf_slice(&mut y);
    for (&x, &y) in x.iter().zip(&y) {
        let error = f64::from(y) - libm::erf(f64::from(x));
        assert!(error.abs() < 1e-6 && y.abs() <= 1.0, "erf({x}) = {y}");
        assert_eq!(y.to_bits(), erf(x).to_bits(), "the vector and the scalar erf({x}) differ");
        assert_eq!(erf(-x).to_bits(), (-y).to_bits(), "erf is odd");
    }
}

#[test]
fn erf_of_no_number() {
    let mut x = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    erf_slice(&mut x);
    assert_eq!(x[..2], [1.0, -1.0]);
    assert!(x[2].is_nan());
}

#[test]
fn values_match_the_formulas() {
    for activation in ALL {
        let x = arguments();
        let mut y = x.clone();
        activation.apply(&mut y);
        for (&x, &y) in x.iter().zip(&y) {
            // The error of a factor between 0 and 1, times x; on the left the factor is soon exactly 0. A denormal
            // number has an error of its own.
            let tolerance = 5e-7 * f64::from(x.max(-6.0)).abs() + 1e-44;
            let expected = reference(activation, f64::from(x));
            assert!((f64::from(y) - expected).abs() <= tolerance, "{activation}({x}) = {y}, not {expected}");
        }
    }
}

#[test]
fn derivatives_match_differences() {
    let h = 1e-5;
    for activation in ALL {
        let x: Vec<f32> = arguments().into_iter().filter(|x| x.abs() < 1e4 && x.abs() > 1e-4).collect();
        let (mut y, mut derivative, mut alone) = (x.clone(), vec![f32::NAN; x.len()], x.clone());
        activation.apply_with_derivative(&mut y, &mut derivative);
        activation.apply(&mut alone);
        assert_eq!(y, alone, "{activation}: the value depends on whether the derivative is wanted");
        for (&x, &slope) in x.iter().zip(&derivative) {
            let at = |x| reference(activation, x);
            let expected = (at(f64::from(x) + h) - at(f64::from(x) - h)) / (2.0 * h);
            assert!((f64::from(slope) - expected).abs() < 3e-6, "{activation}'({x}) = {slope}, not {expected}");
        }
    }
}

#[test]
fn limits_at_infinity_and_nan() {
    for activation in ALL {
        let mut x = [f32::NEG_INFINITY, -f32::MAX, f32::MAX, f32::INFINITY, f32::NAN];
        let mut derivative = [f32::NAN; 5];
        let mut alone = x;
        activation.apply(&mut alone);
        activation.apply_with_derivative(&mut x, &mut derivative);
        let left = if activation == Activation::Elu { -1.0 } else { 0.0 };
        for y in [alone, x] {
            assert_eq!(y[..4], [left, left, f32::MAX, f32::INFINITY], "{activation}");
            assert!(y[4].is_nan(), "{activation}");
        }
        assert_eq!(derivative[..4], [0.0, 0.0, 1.0, 1.0], "{activation}");
        assert!(derivative[4].is_nan(), "{activation}");
    }
}

#[test]
fn at_zero() {
    for (activation, expected) in ALL.into_iter().zip([0.5, 0.5, 0.0, 1.0]) {
        let (mut x, mut derivative) = ([0.0], [f32::NAN]);
        activation.apply_with_derivative(&mut x, &mut derivative);
        assert_eq!((x, derivative), ([0.0], [expected]), "{activation}");
    }
}

#[test]
fn names_are_the_same_in_files_and_messages() {
    for activation in ALL {
        let json = serde_json::to_string(&activation).unwrap();
        assert_eq!(json, format!("\"{activation}\""));
        assert_eq!(serde_json::from_str::<Activation>(&json).unwrap(), activation);
    }
}

proptest! {
    /// The end of a slice, which fills no register, is treated as the rest is.
    #[test]
    fn every_length(n in 0usize..200, start in -10f32..10.0, choice in 0usize..4) {
        let activation = ALL[choice];
        let x: Vec<f32> = (0..n).map(|i| start + i as f32 * 0.03).collect();
        let (mut y, mut derivative) = (x.clone(), vec![f32::NAN; n]);
        activation.apply_with_derivative(&mut y, &mut derivative);
        for i in 0..n {
            let (mut one, mut slope) = ([x[i]], [f32::NAN]);
            activation.apply_with_derivative(&mut one, &mut slope);
            prop_assert_eq!((y[i].to_bits(), derivative[i].to_bits()), (one[0].to_bits(), slope[0].to_bits()));
        }
        let mut alone = x.clone();
        activation.apply(&mut alone);
        prop_assert_eq!(alone, y);
    }
}
