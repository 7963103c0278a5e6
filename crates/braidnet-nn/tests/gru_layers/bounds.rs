//! Why there is an implicit form: its states are bounded for steps of any length.

use braidnet_mgrit::Propagator;
use braidnet_nn::gru::GruCoarse;
use proptest::prelude::*;

use crate::*;

fn largest(x: &Tensor<3>) -> f64 {
    x.clone().abs().max().into_scalar::<f64>()
}

/// The largest number of the states of all steps of a level; the first ones are within `[-5, 5]`.
fn largest_of(config: &GruConfig, level: usize) -> f64 {
    let net = in_single(in_double(config));
    let input = sequences_in_single(&sequences(config, 2, None));
    let batch = net.prepare(net.batch(&input, Pass::Evaluation));
    let mut u = TensorState((random([config.cells, 2, config.hidden], 9) * 5.0).cast(DType::F32));
    let mut all = 0.0_f64;
    for step in steps(config, 3, level) {
        net.block(&batch).step(std::slice::from_ref(&step), std::slice::from_mut(&mut u)).unwrap();
        assert!(u.norm_squared().is_finite() || config.form == GruForm::Explicit);
        all = all.max(largest(&u.0));
    }
    all
}

fn config(form: GruForm, coarse: GruCoarse, dt: f64) -> GruConfig {
    GruConfig { form, coarse, coarse_parts: 1, final_time: 12.0 * dt, ..GruConfig::new(12, 3, 4, 2, 2) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    /// Between the state before and `n`, which is within `[-1, 1]`.
    #[test]
    fn an_implicit_step_of_any_length_is_bounded(
        exponent in -3.0..6.0_f64,
        level in 0..3_usize,
        coarse in prop::sample::select(vec![GruCoarse::Frozen, GruCoarse::Rediscretised]),
    ) {
        let largest = largest_of(&config(GruForm::Implicit, coarse, 10_f64.powf(exponent)), level);
        prop_assert!(largest <= 5.0 + 1e-5, "{}", largest);
    }
}

#[test]
fn an_explicit_step_of_great_length_is_not() {
    for coarse in [GruCoarse::Frozen, GruCoarse::Rediscretised] {
        assert!(largest_of(&config(GruForm::Implicit, coarse, 1e3), 0) <= 5.0 + 1e-5);
        let largest = largest_of(&config(GruForm::Explicit, coarse, 1e3), 0);
        assert!(largest > 1e6 || largest.is_nan(), "{largest}");
        // As are frozen coarse steps of length 1, of which each is a mean.
        let classic = largest_of(&config(GruForm::Explicit, coarse, 1.0), 1);
        assert_eq!(classic <= 5.0 + 1e-5, coarse == GruCoarse::Frozen, "{classic}");
    }
}
