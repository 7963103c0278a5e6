//! Encoder layers: the linearisation, both paths, names, and what is refused.

use braidnet_mgrit::{Output, State};
use braidnet_nn::transformer::{Activation, EncoderLayer, SequenceBatch};
use braidnet_nn::{At, Autograd, NetworkError, Noise, RhsTape, RightHandSide, TensorState, visit_parameters};
use burn::tensor::{DType, Device};

use crate::plain::PlainLayer;
use crate::*;

fn layer(heads: usize, activation: Activation, causal: bool, dropout: f64) -> EncoderLayer {
    in_double(EncoderLayer::new(&config(heads, activation, causal, dropout), &Device::flex()).unwrap(), 1)
}

fn cases() -> impl Iterator<Item = (usize, Activation, bool, bool)> {
    let causal_and_padded = [(false, false), (false, true), (true, false), (true, true)];
    let heads = (1..=4).flat_map(move |heads| causal_and_padded.map(|(c, p)| (heads, Activation::Gelu, c, p)));
    heads.chain(ACTIVATIONS.map(|activation| (2, activation, false, true)))
}

fn at(batch: &SequenceBatch) -> At<'_, SequenceBatch> {
    At { layers: 5.into(), dt: 0.5, batch }
}

#[test]
fn it_agrees_with_autograd() {
    for case @ (heads, activation, causal, is_padded) in cases() {
        let (what, batch) = (format!("{case:?}"), batch(5, is_padded, None));
        let layer = layer(heads, activation, causal, 0.0);
        let plain = PlainLayer::of(&layer, heads, activation, causal, false);
        let (u, delta) = (state([4, 5, 12], 2), state([4, 5, 12], 3));
        let (f, tape) = layer.linearize(u.clone(), at(&batch), Output::Used);
        let autograd = Autograd::new(plain.clone());
        let (expected, reference) = autograd.linearize(u.clone(), at(&batch), Output::Used);
        close(&f.0, &expected.0, 1e-12, &format!("{what}, value"));
        assert_eq!(f.0.to_data(), layer.evaluate(u, at(&batch)).0.to_data());

        let (back, gradients) = reference.pullback_with_gradients(delta.clone(), Output::Used).unwrap();
        close(&tape.pullback(delta.clone()).unwrap().0, &back.clone().unwrap().0, 1e-12, &what);
        let (same, pending) = tape.pullback_with_gradients(delta, Output::Used).unwrap();
        close(&same.unwrap().0, &back.unwrap().0, 1e-12, &what);
        let gradients = by_name(&plain, &gradients().unwrap());
        all_close(&by_name(&layer, &pending().unwrap()), &gradients, 1e-12, &what);
    }
}

#[test]
fn a_sequence_of_padding_attends_to_nothing() {
    let (batch, layer) = (batch(5, true, None), layer(2, Activation::Gelu, false, 0.0));
    let without_mlp = mapped(layer, |name, v| if name.starts_with("mlp") || name == "sa.o.bias" { v * 0.0 } else { v });
    for layer in [without_mlp.clone(), in_single(without_mlp)] {
        let dtype = values(&layer)["ln1.bias"].dtype();
        let u = TensorState(random([4, 5, 12], 2).cast(dtype));
        let (f, tape) = layer.linearize(u.clone(), at(&batch), Output::Used);
        assert_eq!(TensorState(f.0.clone().narrow(0, 3, 1)).norm_squared(), 0.0);
        assert!(f.norm_squared() > 0.0 && f.norm_squared().is_finite());
        let (back, pending) = tape.pullback_with_gradients(u, Output::Used).unwrap();
        let back = back.unwrap();
        assert_eq!(TensorState(back.0.clone().narrow(0, 3, 1)).norm_squared(), 0.0);
        assert!(back.norm_squared().is_finite());
        assert!(pending().unwrap().iter().all(|g| TensorState(g.values.clone()).norm_squared().is_finite()));
    }
}

#[test]
fn single_precision_agrees_with_double() {
    for (heads, activation, causal, is_padded) in cases() {
        for noise in [None, Some(NOISE)] {
            let (what, batch) = (format!("{heads} {activation:?} {noise:?}"), batch(5, is_padded, noise));
            let double = layer(heads, activation, causal, 0.3);
            let single = in_single(double.clone());
            let (u, delta) = (state([4, 5, 12], 2), state([4, 5, 12], 3));
            let rounded = |x: &TensorState<3>| TensorState(x.0.clone().cast(DType::F32));
            let (f, tape) = double.linearize(u.clone(), at(&batch), Output::Used);
            let (f_single, tape_single) = single.linearize(rounded(&u), at(&batch), Output::Used);
            assert_eq!(f_single.0.to_data(), single.evaluate(rounded(&u), at(&batch)).0.to_data());
            assert_eq!(f_single.0.dtype(), DType::F32);
            close(&in_double_precision(f_single), &f.0, 1e-5, &what);
            let back_single = tape_single.pullback(rounded(&delta)).unwrap();
            let (again, pending_single) = tape_single.pullback_with_gradients(rounded(&delta), Output::Used).unwrap();
            assert_eq!(again.unwrap().0.to_data(), back_single.0.to_data());
            let (back, pending) = tape.pullback_with_gradients(delta, Output::Used).unwrap();
            close(&in_double_precision(back_single), &back.unwrap().0, 1e-5, &what);
            let widened = by_name(&single, &pending_single().unwrap());
            let widened = widened.into_iter().map(|(name, g)| (name, g.cast(DType::F64))).collect();
            all_close(&widened, &by_name(&double, &pending().unwrap()), 1e-5, &what);
        }
    }
}

#[test]
fn what_is_discarded_is_left_out_and_changes_nothing_else() {
    let (batch, layer) = (batch(5, true, Some(NOISE)), layer(3, Activation::Gelu, true, 0.2));
    let (u, delta) = (state([4, 5, 12], 2), state([4, 5, 12], 3));
    let (_, used) = layer.linearize(u.clone(), at(&batch), Output::Used);
    let (_, discarded) = layer.linearize(u, at(&batch), Output::Discarded);
    let (back, all) = used.pullback_with_gradients(delta.clone(), Output::Used).unwrap();
    let (none, same) = discarded.pullback_with_gradients(delta, Output::Discarded).unwrap();
    assert!(back.is_some() && none.is_none());
    all_close(&by_name(&layer, &same().unwrap()), &by_name(&layer, &all().unwrap()), 0.0, "gradients");
}

#[test]
fn parameters_have_pytorchs_names_and_shapes() {
    let layer = EncoderLayer::new(&config(2, Activation::Relu, false, 0.0), &Device::flex()).unwrap();
    let mut named = Vec::new();
    visit_parameters(&layer, "layers.00003", |p| named.push(format!("{} {:?}", p.name, p.shape)));
    let mut expected = Vec::new();
    for (part, shape) in [("ln1", "[12]"), ("sa.q", "[12, 12]"), ("sa.k", "[12, 12]"), ("sa.v", "[12, 12]")]
        .into_iter()
        .chain([("sa.o", "[12, 12]"), ("ln2", "[12]"), ("mlp.fc1", "[10, 12]"), ("mlp.fc2", "[12, 10]")])
    {
        expected.push(format!("layers.00003.{part}.weight {shape}"));
        expected.push(format!("layers.00003.{part}.bias [{}]", if part == "mlp.fc1" { 10 } else { 12 }));
    }
    assert_eq!(named, expected);
    let fresh = values(&layer);
    assert_eq!(fresh["ln2.weight"].to_data().as_slice::<f32>().unwrap(), [1.0; 12]);
    assert_eq!(fresh["ln1.bias"].to_data().as_slice::<f32>().unwrap(), [0.0; 12]);
}

#[test]
fn what_cannot_be_is_refused() {
    let good = config(3, Activation::Gelu, false, 0.1);
    let refused = |config| EncoderLayer::new(&config, &Device::flex()).unwrap_err();
    assert_eq!(refused(LayerConfig { heads: 5, ..good }), NetworkError::HeadsDoNotDivide { d_model: 12, heads: 5 });
    for zero in [LayerConfig { heads: 0, ..good }, LayerConfig { d_model: 0, ..good }, LayerConfig { d_ff: 0, ..good }]
    {
        assert!(matches!(refused(zero), NetworkError::Zero { .. }));
    }
    for dropout in [-0.1, 1.0, f64::NAN] {
        assert!(matches!(refused(LayerConfig { dropout, ..good }), NetworkError::BadNumber { .. }));
    }
}

#[test]
fn a_tape_is_estimated_as_the_arrays_that_it_keeps() {
    let single = in_single(layer(2, Activation::Gelu, false, 0.0));
    // q, k, v, context, two norms and their results; hidden features and slopes; weights of five keys by two heads.
    let batch = SequenceBatch { noise: Some(Noise { ..NOISE }), ..batch(5, false, None) };
    assert_eq!(single.tape_bytes(&batch, 0), 4 * 20 * (8 * 12 + 2 * 10 + 2 * 5));
}
