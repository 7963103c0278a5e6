//! Networks of blocks and states on coarser grids: linearisations, norms, sizes, and what a solve of several levels ends with.
#![allow(missing_docs, clippy::unwrap_used)]

mod coarse_grids;
mod config;
mod laws;
mod messages;
mod norms;
mod parts;
mod plain;
mod refusals;
mod solves;

use std::collections::BTreeMap;
use std::convert::Infallible;

use braidnet_nn::{At, Gradients, Samples, map_parameters, visit_parameters};
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const TRAINING: Samples = Samples { n: 2, is_training: true };
const EVALUATION: Samples = Samples { n: 2, is_training: false };

/// Some step of some layer; these right-hand sides depend on neither.
fn at(batch: &Samples) -> At<'_, Samples> {
    At { layers: 0.into(), dt: 1.0, batch }
}

fn random<const D: usize>(dims: [usize; D], seed: u64) -> Tensor<D> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Numbers that single precision has too.
    let values: Vec<f64> = (0..dims.iter().product()).map(|_| f64::from(2.0 * random.random::<f32>() - 1.0)).collect();
    Tensor::from_data(TensorData::new(values, dims), (&Device::flex(), DType::F64))
}

/// Every parameter replaced.
fn mapped<M: Module>(module: M, mut f: impl FnMut(&str, Tensor<1>) -> Tensor<1>) -> M {
    let mapped: Result<M, Infallible> = map_parameters(module, "", |p| Ok(Some(f(&p.name, p.values.clone()))));
    mapped.unwrap_or_else(|never| match never {})
}

/// Parameters drawn anew in double precision, running variances above 0.
fn in_double<M: Module>(module: M, seed: u64) -> M {
    let mut n = seed;
    mapped(module, |name, values| {
        n += 1;
        let values = random(values.dims(), n);
        // Halves of such numbers are numbers of single precision, too.
        if name.ends_with("running_var") { values * 0.5 + 1.0 } else { values * 0.5 }.cast(DType::F32).cast(DType::F64)
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

/// Gradients, or statistics, of which no parameter has two.
fn by_name<M: Module>(module: &M, gradients: &Gradients, statistics: bool) -> Named {
    let mut named = Named::new();
    visit_parameters(module, "", |p| {
        let mut own = gradients.iter().filter(|gradient| gradient.id == p.id);
        if let Some(gradient) = own.next() {
            assert_eq!(gradient.is_statistic, p.is_statistic, "{}", p.name);
            if gradient.is_statistic == statistics {
                named.insert(p.name, gradient.values.clone());
            }
        }
        assert!(own.next().is_none());
    });
    assert_eq!(named.len(), gradients.iter().filter(|gradient| gradient.is_statistic == statistics).count());
    named
}

fn norm<const D: usize>(x: &Tensor<D>) -> f64 {
    (x.clone() * x.clone()).sum().sqrt().into_scalar::<f64>()
}

fn close<const D: usize>(a: &Tensor<D>, b: &Tensor<D>, tolerance: f64, what: &str) {
    assert_eq!(a.dims(), b.dims(), "{what}");
    let (a, b) = (a.clone().cast(DType::F64), b.clone().cast(DType::F64));
    let (distance, scale) = (norm(&(a - b.clone())), norm(&b).max(1.0));
    assert!(distance <= tolerance * scale, "{what}: distance {distance} of norm {}", norm(&b));
}

fn all_close(a: &Named, b: &Named, tolerance: f64, what: &str) {
    assert!(a.keys().eq(b.keys()), "{what}: {:?} and {:?}", a.keys(), b.keys());
    for (name, value) in a {
        close(value, &b[name], tolerance, &format!("{what}, {name}"));
    }
}
