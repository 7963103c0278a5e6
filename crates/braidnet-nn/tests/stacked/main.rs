//! Layers of several intervals computed side by side give what they give one after the other.
#![allow(missing_docs, clippy::unwrap_used)]

mod calls;
mod convolutions;
mod sequences;
mod solve;
mod unalike;

use std::convert::Infallible;

use braidnet_nn::transformer::PairState;
use braidnet_nn::{TensorState, map_parameters};
use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn random<const D: usize>(dims: [usize; D], seed: u64, dtype: DType) -> Tensor<D> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Numbers that single precision has too.
    let values: Vec<f64> = (0..dims.iter().product()).map(|_| f64::from(2.0 * random.random::<f32>() - 1.0)).collect();
    Tensor::<D>::from_data(TensorData::new(values, dims), (&Device::flex(), DType::F64)).cast(dtype)
}

/// Tokens below `vocabulary`, 0 among them.
fn tokens(dims: [usize; 2], vocabulary: i64, seed: u64) -> Tensor<2, Int> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<i64> = (0..dims.iter().product()).map(|_| random.random_range(0..vocabulary)).collect();
    Tensor::from_data(TensorData::new(values, dims), &Device::flex())
}

/// Every parameter drawn anew: weights of norms about 1, running variances above 0.
fn drawn<M: Module>(module: M, dtype: DType) -> M {
    let mut seed = 100;
    let mapped: Result<M, Infallible> = map_parameters(module, "", |p| {
        seed += 1;
        let values = random(p.values.dims(), seed, DType::F64) * 0.5;
        let is_of_norm = ["ln", "norm"].iter().any(|norm| p.name.contains(norm)) && p.name.ends_with("weight");
        let values = if is_of_norm || p.name.ends_with("running_var") { values + 1.0 } else { values };
        // The same numbers in either precision.
        Ok(Some(values.cast(DType::F32).cast(dtype)))
    });
    mapped.unwrap_or_else(|never| match never {})
}

/// What a state is made of.
trait Parts: Sized {
    fn parts(&self) -> Vec<Tensor<1>>;

    /// The same in another precision.
    fn cast(&self, dtype: DType) -> Self;
}

impl<const D: usize> Parts for TensorState<D> {
    fn parts(&self) -> Vec<Tensor<1>> {
        vec![self.0.clone().reshape([self.0.shape().num_elements()])]
    }

    fn cast(&self, dtype: DType) -> Self {
        Self(self.0.clone().cast(dtype))
    }
}

impl Parts for PairState {
    fn parts(&self) -> Vec<Tensor<1>> {
        self.x.iter().chain(&self.y).flat_map(Parts::parts).collect()
    }

    fn cast(&self, dtype: DType) -> Self {
        let cast = |half: &Option<TensorState<3>>| half.as_ref().map(|half| half.cast(dtype));
        Self { x: cast(&self.x), y: cast(&self.y) }
    }
}

fn norm(x: &Tensor<1>) -> f64 {
    (x.clone() * x.clone()).sum().sqrt().into_scalar::<f64>()
}

/// The distances of numbers, relative to the larger of their own size and a part of that of the largest: what is rounding alone, such
/// as the gradient of a key's bias, has no size of its own.
fn distances(a: &[Tensor<1>], b: &[Tensor<1>]) -> Vec<f64> {
    let in_double = |x: &Tensor<1>| x.clone().cast(DType::F64);
    let largest = b.iter().map(norm).fold(0.0, f64::max);
    let each = a.iter().zip(b).map(|(a, b)| {
        let distance = norm(&(in_double(a) - in_double(b)));
        if distance == 0.0 { 0.0 } else { distance / norm(b).max(0.1 * largest) }
    });
    each.collect()
}

fn close(a: &[Tensor<1>], b: &[Tensor<1>], tolerance: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (n, distance) in distances(a, b).into_iter().enumerate() {
        // Also false of what is no number.
        assert!(distance <= tolerance, "{what}: number {n} at distance {distance} of {tolerance}");
    }
}
