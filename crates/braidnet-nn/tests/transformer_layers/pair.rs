//! Layers on pairs: the decoder's linearisation, and halves that rest.

use braidnet_mgrit::{Output, State};
use braidnet_nn::transformer::{Activation, DecoderLayer, EncoderLayer, PairBatch, PairLayer, PairState};
use braidnet_nn::{At, Autograd, RhsTape, RightHandSide, TensorState, visit_parameters};
use burn::tensor::{DType, Device, Tensor};

use crate::plain::{PlainLayer, PlainPair};
use crate::*;

fn decoder(heads: usize, activation: Activation, split: bool, dropout: f64) -> PairLayer {
    let layer = DecoderLayer::new(&config(heads, activation, false, dropout), split, &Device::flex());
    PairLayer::Decoder(in_double(layer.unwrap(), 1))
}

fn encoder() -> EncoderLayer {
    in_double(EncoderLayer::new(&config(2, Activation::Gelu, false, 0.0), &Device::flex()).unwrap(), 1)
}

fn pair(seed: u64) -> PairState {
    PairState { x: Some(state([4, 6, 12], seed)), y: Some(state([4, 5, 12], seed + 100)) }
}

fn target_only(seed: u64) -> PairState {
    PairState { x: None, y: pair(seed).y }
}

fn at(batch: &PairBatch) -> At<'_, PairBatch> {
    At { layers: 5.into(), dt: 0.4, batch }
}

fn both_close(a: &PairState, b: &PairState, tolerance: f64, what: &str) {
    for (a, b) in [(&a.x, &b.x), (&a.y, &b.y)] {
        assert_eq!(a.is_some(), b.is_some(), "{what}");
        if let (Some(a), Some(b)) = (a, b) {
            close(&a.0, &b.0, tolerance, what);
        }
    }
}

fn cases() -> impl Iterator<Item = (usize, Activation, bool, bool)> {
    let options = [(false, false), (false, true), (true, false), (true, true)];
    let heads = (1..=4).flat_map(move |heads| options.map(|(split, p)| (heads, Activation::Gelu, split, p)));
    heads.chain(ACTIVATIONS.map(|activation| (2, activation, false, true)))
}

#[test]
fn the_decoder_agrees_with_autograd() {
    for case @ (heads, activation, split, is_padded) in cases() {
        let (what, batch) = (format!("{case:?}"), pairs(is_padded, None));
        let layer = decoder(heads, activation, split, 0.0);
        let plain = PlainPair { layer: PlainLayer::of(&layer, heads, activation, true, split) };
        let (f, tape) = layer.linearize(pair(2), at(&batch), Output::Used);
        let (expected, reference) = Autograd::new(plain.clone()).linearize(pair(2), at(&batch), Output::Used);
        both_close(&f, &expected, 1e-12, &format!("{what}, value"));
        both_close(&f, &layer.evaluate(pair(2), at(&batch)), 0.0, &what);

        let (back, gradients) = reference.pullback_with_gradients(target_only(3), Output::Used).unwrap();
        let back = back.unwrap();
        both_close(&tape.pullback(target_only(3)).unwrap(), &back, 1e-12, &what);
        let (same, pending) = tape.pullback_with_gradients(target_only(3), Output::Used).unwrap();
        both_close(&same.unwrap(), &back, 1e-12, &what);
        let gradients = by_name(&plain, &gradients().unwrap());
        let gradients =
            gradients.into_iter().map(|(name, g)| (name.trim_start_matches("layer.").to_owned(), g)).collect();
        all_close(&by_name(&layer, &pending().unwrap()), &gradients, 1e-12, &what);
    }
}

fn in_type(state: &PairState, dtype: DType) -> PairState {
    let cast = |half: &Option<TensorState<3>>| half.as_ref().map(|half| TensorState(half.0.clone().cast(dtype)));
    PairState { x: cast(&state.x), y: cast(&state.y) }
}

#[test]
fn single_precision_agrees_with_double() {
    for (heads, activation, split, is_padded) in cases() {
        for noise in [None, Some(NOISE)] {
            let (what, batch) = (format!("{heads} {activation:?} {noise:?}"), pairs(is_padded, noise));
            let double = decoder(heads, activation, split, 0.3);
            let single = in_single(double.clone());
            let (f, tape) = double.linearize(pair(2), at(&batch), Output::Used);
            let (narrow, narrow_tape) = single.linearize(in_type(&pair(2), DType::F32), at(&batch), Output::Used);
            both_close(&in_type(&narrow, DType::F64), &f, 1e-5, &what);
            let (back, pending) = tape.pullback_with_gradients(target_only(3), Output::Used).unwrap();
            let delta = in_type(&target_only(3), DType::F32);
            let (narrow, narrow_pending) = narrow_tape.pullback_with_gradients(delta, Output::Used).unwrap();
            both_close(&in_type(&narrow.unwrap(), DType::F64), &back.unwrap(), 1e-5, &what);
            let narrow = by_name(&single, &narrow_pending().unwrap());
            let narrow = narrow.into_iter().map(|(name, g)| (name, g.cast(DType::F64))).collect();
            all_close(&narrow, &by_name(&double, &pending().unwrap()), 1e-5, &what);
        }
    }
}

#[test]
fn an_encoder_layer_steps_the_source_alone() {
    let (batch, alone) = (pairs(true, None), encoder());
    let layer = PairLayer::Encoder(alone.clone());
    let f = layer.evaluate(pair(2), at(&batch));
    let source = At { layers: 5.into(), dt: 0.4, batch: &batch.source };
    let (expected, tape_alone) = alone.linearize(pair(2).x.unwrap(), source, Output::Used);
    assert!(f.y.is_none());
    close(&f.x.unwrap().0, &expected.0, 0.0, "source");
    let (_, tape) = layer.linearize(pair(2), at(&batch), Output::Used);
    let back = tape.pullback(pair(3)).unwrap();
    assert!(back.y.is_none());
    close(&back.x.unwrap().0, &tape_alone.pullback(pair(3).x.unwrap()).unwrap().0, 0.0, "pullback");
}

#[test]
fn a_cotangent_that_rests_gives_zeros() {
    let batch = pairs(true, None);
    let source_only = PairState { y: None, ..pair(3) };
    for (layer, delta) in [
        (PairLayer::Encoder(encoder()), target_only(3)),
        (decoder(2, Activation::Gelu, false, 0.0), source_only),
        (PairLayer::Encoder(encoder()), PairState::zero()),
    ] {
        let (_, tape) = layer.linearize(pair(2), at(&batch), Output::Discarded);
        let back = tape.pullback(delta.clone()).unwrap();
        assert!(back.x.is_none() && back.y.is_none());
        let (back, pending) = tape.pullback_with_gradients(delta, Output::Used).unwrap();
        assert!(back.is_some_and(|back| back.x.is_none() && back.y.is_none()));
        let gradients = by_name(&layer, &pending().unwrap());
        for (name, value) in values(&layer) {
            assert_eq!(gradients[&name].dims(), value.dims());
            assert_eq!(TensorState(gradients[&name].clone()).norm_squared(), 0.0);
        }
    }
}

#[test]
fn an_absent_half_is_zero() {
    let batch = pairs(true, None);
    let zeros = |length| TensorState(Tensor::zeros([4, length, 12], (&Device::flex(), DType::F64)));
    for layer in [PairLayer::Encoder(encoder()), decoder(2, Activation::Gelu, true, 0.0)] {
        let full = layer.evaluate(PairState { x: Some(zeros(6)), y: Some(zeros(5)) }, at(&batch));
        both_close(&layer.evaluate(PairState::zero(), at(&batch)), &full, 0.0, "evaluated");
        let (f, _) = layer.linearize(PairState::zero(), at(&batch), Output::Used);
        both_close(&f, &full, 0.0, "linearized");
    }
}

#[test]
fn parameters_have_pytorchs_names_and_shapes() {
    let mut named = Vec::new();
    visit_parameters(&decoder(2, Activation::Relu, false, 0.0), "", |p| named.push((p.name, p.shape)));
    let cross: Vec<_> = named.iter().filter(|(name, _)| name.starts_with("ca.") || name.starts_with("ln3.")).collect();
    let dense = |name: &str| [(format!("ca.{name}.weight"), vec![12, 12]), (format!("ca.{name}.bias"), vec![12])];
    let norm = ["weight", "bias"].map(|name| (format!("ln3.{name}"), vec![12]));
    let expected: Vec<_> = norm.into_iter().chain(["q", "k", "v", "o"].into_iter().flat_map(dense)).collect();
    assert!(cross.into_iter().eq(&expected));
    assert_eq!(named.len(), 26);
    let mut of_encoder = Vec::new();
    visit_parameters(&PairLayer::Encoder(encoder()), "", |p| of_encoder.push((p.name, p.shape)));
    assert_eq!(named[..16], of_encoder);
}
