//! Dropout is a function of the sample, the position, the layer and the step, and its pullback is its transpose.

use std::sync::Arc;

use braidnet_mgrit::{Output, State};
use braidnet_nn::transformer::{Activation, DecoderLayer, EncoderLayer, PairLayer, PairState, SequenceBatch};
use braidnet_nn::{At, Noise, RhsTape, RightHandSide, StateOf, TensorState};
use burn::tensor::{Device, Tensor};

use crate::*;

fn layer(probability: f64) -> EncoderLayer {
    in_double(EncoderLayer::new(&config(2, Activation::Gelu, false, probability), &Device::flex()).unwrap(), 1)
}

fn both(probability: f64) -> [EncoderLayer; 2] {
    [layer(probability), in_single(layer(probability))]
}

fn evaluate(
    rhs: &EncoderLayer,
    u: &Tensor<3>,
    layer: usize,
    padding: Option<Arc<[bool]>>,
    noise: Option<Noise>,
) -> Tensor<3> {
    let [samples, length, _] = u.dims();
    let batch = SequenceBatch { samples, length, padding, noise };
    let dtype = values(rhs)["ln1.bias"].dtype();
    rhs.evaluate(TensorState(u.clone().cast(dtype)), At { layers: layer.into(), dt: 1.0, batch: &batch }).0
}

#[test]
fn every_split_of_a_batch_drops_the_same() {
    for rhs in both(0.4) {
        let u = random([5, 4, 12], 2);
        let whole = evaluate(&rhs, &u, 3, None, Some(NOISE));
        for cut in 1..5 {
            let later = Noise { first_sample: NOISE.first_sample + cut as u64, ..NOISE };
            let first = evaluate(&rhs, &u.clone().narrow(0, 0, cut), 3, None, Some(NOISE));
            let second = evaluate(&rhs, &u.clone().narrow(0, cut, 5 - cut), 3, None, Some(later));
            close(&Tensor::cat(vec![first, second], 0), &whole, 1e-6, "split");
        }
    }
}

#[test]
fn padding_to_a_greater_length_drops_the_same() {
    for rhs in both(0.4) {
        let u = random([3, 4, 12], 2);
        let short = evaluate(&rhs, &u, 3, None, Some(NOISE));
        let longer = Tensor::cat(vec![u, random([3, 2, 12], 3)], 1);
        let padding = (0..18).map(|n| n % 6 >= 4).collect();
        let long = evaluate(&rhs, &longer, 3, Some(padding), Some(NOISE));
        close(&long.narrow(1, 0, 4), &short, 1e-6, "length");
    }
}

#[test]
fn it_varies_with_all_that_it_depends_on_and_with_nothing_else() {
    for rhs in both(0.4) {
        let u = random([3, 4, 12], 2);
        let of = |layer, noise| evaluate(&rhs, &u, layer, None, Some(noise)).to_data();
        let given = of(3, NOISE);
        assert_eq!(given, of(3, NOISE));
        assert_ne!(given, of(4, NOISE));
        assert_ne!(given, of(3, Noise { step: 4, ..NOISE }));
        assert_ne!(given, of(3, Noise { seed: 8, ..NOISE }));
        assert_ne!(given, of(3, Noise { first_sample: 11, ..NOISE }));
    }
}

#[test]
fn without_noise_or_probability_nothing_is_dropped() {
    let u = random([3, 4, 12], 2);
    for (with, without) in both(0.4).iter().zip(&both(0.0)) {
        let plain = evaluate(without, &u, 3, None, None).to_data();
        assert_eq!(plain, evaluate(without, &u, 3, None, Some(NOISE)).to_data());
        assert_eq!(plain, evaluate(with, &u, 3, None, None).to_data());
        assert_ne!(plain, evaluate(with, &u, 3, None, Some(NOISE)).to_data());
    }
}

#[test]
fn the_mean_is_kept() {
    let u = random([3, 4, 12], 2);
    // One of the two outputs is zero, the other is the same in every step but for dropout.
    for silent in ["sa.o", "mlp.fc2"] {
        let rhs = mapped(layer(0.25), |name, v| if name.starts_with(silent) { v * 0.0 } else { v });
        let steps = 3000;
        let drops = |step| evaluate(&rhs, &u, 3, None, Some(Noise { step, ..NOISE }));
        let mean = (0..steps).map(drops).reduce(|a, b| a + b).unwrap() / steps as f64;
        let plain = evaluate(&rhs, &u, 3, None, None);
        // Relative standard deviation sqrt(p / (1 - p) / steps) = 0.0105 of every element.
        let error = (mean - plain.clone()).abs() / plain.abs();
        assert!(error.max().into_scalar::<f64>() < 5.0 * 0.0105);
    }
}

/// `<J v, w> = <v, J^T w>`, and the same for the parameters, with `J v` by central differences.
fn dot_test<R: RightHandSide>(rhs: &R, batch: &braidnet_nn::BatchOf<R>, [u, v, w]: [StateOf<R>; 3]) {
    let (at, epsilon) = (At { layers: 3.into(), dt: 0.3, batch }, 1e-6);
    let difference = |mut plus: StateOf<R>, minus: StateOf<R>| {
        plus.axpy(-1.0, &minus);
        dot(&plus, &w) / (2.0 * epsilon)
    };
    let moved = |a: f64| {
        let mut u = u.clone();
        u.axpy(a, &v);
        rhs.evaluate(u, at)
    };
    let by_state = difference(moved(epsilon), moved(-epsilon));
    let direction = values(&in_double(rhs.clone(), 99));
    let changed =
        |a: f64| mapped(rhs.clone(), |name, value| value + direction[name].clone() * a).evaluate(u.clone(), at);
    let by_parameters = difference(changed(epsilon), changed(-epsilon));

    let (_, tape) = rhs.linearize(u.clone(), at, Output::Used);
    let (back, pending) = tape.pullback_with_gradients(w.clone(), Output::Used).unwrap();
    let back = dot(&back.unwrap(), &v);
    assert!((by_state - back).abs() < 1e-6 * back.abs().max(1.0), "{by_state} and {back}");
    let gradients = by_name(rhs, &pending().unwrap());
    let product = |(name, g): (&String, &Tensor<1>)| (g.clone() * direction[name].clone()).sum().into_scalar::<f64>();
    let by_gradients: f64 = gradients.iter().map(product).sum();
    assert!(
        (by_parameters - by_gradients).abs() < 1e-6 * by_gradients.abs().max(1.0),
        "{by_parameters}, {by_gradients}"
    );
}

#[test]
fn the_pullback_is_the_transpose() {
    for causal in [false, true] {
        let config = config(3, Activation::Gelu, causal, 0.3);
        let rhs = in_double(EncoderLayer::new(&config, &Device::flex()).unwrap(), 1);
        dot_test(&rhs, &batch(5, true, Some(NOISE)), [2, 3, 4].map(|seed| state([4, 5, 12], seed)));
    }
}

#[test]
fn the_pullback_of_a_decoder_is_the_transpose() {
    let pair = |seed| PairState { x: Some(state([4, 6, 12], seed)), y: Some(state([4, 5, 12], seed + 10)) };
    for split in [false, true] {
        let decoder = DecoderLayer::new(&config(3, Activation::GeluTanh, false, 0.3), split, &Device::flex()).unwrap();
        let rhs = PairLayer::Decoder(in_double(decoder, 1));
        dot_test(&rhs, &pairs(true, Some(NOISE)), [2, 3, 4].map(pair));
    }
}
