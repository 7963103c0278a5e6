//! Laws of the transformer layers: against autograd of a plain forward, single precision against double, dropout.
#![allow(missing_docs, clippy::unwrap_used)]

mod dropout;
mod encoder;
mod pair;
mod plain;
mod properties;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use braidnet_mgrit::State;
use braidnet_nn::transformer::{Activation, LayerConfig, PairBatch, SequenceBatch};
use braidnet_nn::{Gradients, Noise, TensorState, map_parameters, visit_parameters};
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const ACTIVATIONS: [Activation; 4] = [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Elu];

fn random<const D: usize>(dims: [usize; D], seed: u64) -> Tensor<D> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Numbers that single precision has too.
    let values: Vec<f64> = (0..dims.iter().product()).map(|_| f64::from(2.0 * random.random::<f32>() - 1.0)).collect();
    Tensor::from_data(TensorData::new(values, dims), (&Device::flex(), DType::F64))
}

fn state(dims: [usize; 3], seed: u64) -> TensorState<3> {
    TensorState(random(dims, seed))
}

/// Every parameter replaced.
fn mapped<M: Module>(module: M, mut f: impl FnMut(&str, Tensor<1>) -> Tensor<1>) -> M {
    let mapped: Result<M, Infallible> = map_parameters(module, "", |p| Ok(Some(f(&p.name, p.values.clone()))));
    mapped.unwrap_or_else(|never| match never {})
}

/// Parameters drawn anew in double precision.
fn in_double<M: Module>(module: M, seed: u64) -> M {
    let mut n = seed;
    mapped(module, |_, values| {
        n += 1;
        (random(values.dims(), n) * 0.5).cast(DType::F32).cast(DType::F64)
    })
}

fn in_single<M: Module>(module: M) -> M {
    mapped(module, |_, values| values.cast(DType::F32))
}

/// Values, or gradients, by name.
type Named = BTreeMap<String, Tensor<1>>;

fn values<M: Module>(module: &M) -> Named {
    let mut named = Named::new();
    visit_parameters(module, "", |p| assert!(named.insert(p.name, p.values).is_none()));
    named
}

fn by_name<M: Module>(module: &M, gradients: &Gradients) -> Named {
    let mut named = Named::new();
    visit_parameters(module, "", |p| {
        let mut own = gradients.iter().filter(|gradient| gradient.id == p.id);
        named.insert(p.name, own.next().unwrap().values.clone());
        assert!(own.next().is_none());
    });
    assert_eq!(named.len(), gradients.len());
    named
}

fn close<const D: usize>(a: &Tensor<D>, b: &Tensor<D>, tolerance: f64, what: &str) {
    assert_eq!(a.dims(), b.dims(), "{what}");
    let norm = |x: &Tensor<D>| (x.clone() * x.clone()).sum().sqrt().into_scalar::<f64>();
    let distance = norm(&(a.clone() - b.clone()));
    // A key's bias has no effect on softmax: its gradient is rounding alone.
    let scale = norm(b).max(1.0);
    assert!(distance <= tolerance * scale, "{what}: distance {distance} of norm {}", norm(b));
}

fn all_close(a: &Named, b: &Named, tolerance: f64, what: &str) {
    assert!(a.keys().eq(b.keys()));
    for (name, value) in a {
        close(value, &b[name], tolerance, &format!("{what}, {name}"));
    }
}

fn in_double_precision(x: TensorState<3>) -> Tensor<3> {
    x.0.cast(DType::F64)
}

fn dot<S: State>(a: &S, b: &S) -> f64 {
    let (mut sum, mut difference) = (a.clone(), a.clone());
    sum.axpy(1.0, b);
    difference.axpy(-1.0, b);
    0.25 * (sum.norm_squared() - difference.norm_squared())
}

fn config(heads: usize, activation: Activation, causal: bool, dropout: f64) -> LayerConfig {
    LayerConfig { d_model: 12, heads, d_ff: 10, activation, dropout, causal }
}

/// The first sequence is whole, the second has padding at its end, the third at its start, and the fourth is padding.
fn padding(length: usize) -> Arc<[bool]> {
    let row = |from: usize, to: usize| (0..length).map(move |n| (from..to).contains(&n));
    row(0, 0).chain(row(length - 2, length)).chain(row(0, 2)).chain(row(0, length)).collect()
}

fn batch(length: usize, is_padded: bool, noise: Option<Noise>) -> SequenceBatch {
    SequenceBatch { samples: 4, length, padding: is_padded.then(|| padding(length)), noise }
}

fn pairs(is_padded: bool, noise: Option<Noise>) -> PairBatch {
    PairBatch { source: batch(6, is_padded, noise), target: batch(5, is_padded, noise) }
}

const NOISE: Noise = Noise { seed: 7, step: 3, first_sample: 10 };
