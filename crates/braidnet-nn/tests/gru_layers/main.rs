//! Laws of the recurrent network: against autograd of a plain loop over samples and steps, single precision against double,
//! batches of steps, coarse steps, padding, and what is refused.
#![allow(missing_docs, clippy::unwrap_used)]

mod agreement;
mod batches;
mod bounds;
mod coarse;
mod diagonal;
mod messages;
mod padding;
mod parts;
mod plain;
mod refusals;

use std::collections::BTreeMap;
use std::convert::Infallible;

use braidnet_grid::{Coarsening, Hierarchy, Step};
use braidnet_mgrit::{Differentiable, Linearization, Output, State};
use braidnet_nn::gru::{GruConfig, GruForm, GruInputs, GruNet, Sequences, Steps};
use braidnet_nn::{Gradients, Network, Pass, TensorState, map_parameters, visit_parameters};
use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const FORMS: [GruForm; 2] = [GruForm::Implicit, GruForm::Explicit];

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

/// The whole network, with parameters drawn in double precision that single precision has too.
fn in_double(config: &GruConfig) -> GruNet {
    let mut n = 100;
    mapped(config.init(0..config.length, 1, &Device::flex()).unwrap(), |_, values| {
        n += 1;
        random(values.dims(), n) * 0.75
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

/// The gradients, of which no parameter has two.
fn by_name(net: &GruNet, gradients: &Gradients) -> Named {
    let mut named = Named::new();
    visit_parameters(net, "", |p| {
        let mut own = gradients.iter().filter(|gradient| gradient.id == p.id);
        if let Some(gradient) = own.next() {
            named.insert(p.name, gradient.values.clone());
        }
        assert!(own.next().is_none());
    });
    assert_eq!(named.len(), gradients.len());
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

/// That all numbers have the same bits.
fn same_bits(a: &[TensorState<3>], b: &[TensorState<3>], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (n, (a, b)) in a.iter().zip(b).enumerate() {
        let bits = |x: &TensorState<3>| x.0.to_data().iter::<f64>().map(f64::to_bits).collect::<Vec<_>>();
        let (a, b) = (bits(a), bits(b));
        assert_eq!(a.len(), b.len(), "{what}, {n}");
        if let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) {
            panic!("{what}, {n}: number {at} is {} and {}", f64::from_bits(a[at]), f64::from_bits(b[at]));
        }
    }
}

/// The steps of level `level` where each is `cfactor` times as long as those of the level before.
fn steps(config: &GruConfig, cfactor: usize, level: usize) -> Vec<Step> {
    let coarsening = Coarsening { min_coarse: 1, ..Coarsening::network(level + 1, cfactor) };
    let hierarchy = Hierarchy::new(&config.grid().unwrap(), &coarsening).unwrap();
    let level = &hierarchy.levels()[level];
    (0..level.n_steps()).map(|n| level.step(n)).collect()
}

/// Features, or tokens, of `samples` sequences.
fn sequences(config: &GruConfig, samples: usize, lengths: Option<Vec<usize>>) -> Sequences {
    let steps = match config.inputs {
        GruInputs::Features(width) => Steps::Features(random([samples, config.length, width], 2)),
        GruInputs::Tokens { vocabulary, .. } => {
            let tokens =
                (0..samples * config.length).map(|i| ((3 * i * i + i) % vocabulary) as i64).collect::<Vec<_>>();
            let data = TensorData::new(tokens, [samples, config.length]);
            Steps::Tokens(Tensor::<2, Int>::from_data(data, &Device::flex()))
        }
    };
    Sequences { steps, lengths }
}

fn sequences_in_single(sequences: &Sequences) -> Sequences {
    let steps = match &sequences.steps {
        Steps::Features(x) => Steps::Features(x.clone().cast(DType::F32)),
        tokens => tokens.clone(),
    };
    Sequences { steps, ..sequences.clone() }
}

/// The state before the first step, and cotangents of the states behind every step.
#[derive(Clone)]
struct Ends {
    first: Tensor<3>,
    cotangents: Vec<Tensor<3>>,
}

impl Ends {
    fn new(config: &GruConfig, samples: usize) -> Self {
        let dims = [config.cells, samples, config.hidden];
        let cotangents = (0..config.length as u64).map(|n| random(dims, 50 + n)).collect();
        Self { first: random(dims, 3), cotangents }
    }

    fn in_single(&self) -> Self {
        let single = |x: &Tensor<3>| x.clone().cast(DType::F32);
        Self { first: single(&self.first), cotangents: self.cotangents.iter().map(single).collect() }
    }
}

/// What a loop over the steps gives.
struct Looped {
    states: Vec<Tensor<3>>,
    /// By the state before the first step.
    lambda: Tensor<3>,
    gradients: Named,
    /// By the inputs, `[steps, samples, width]`.
    inputs: Tensor<3>,
}

/// All steps one after the other and back, as an exact solve takes them.
fn looped(net: &GruNet, input: &Sequences, ends: &Ends) -> Looped {
    let batch = net.prepare(net.batch(input, Pass::Evaluation));
    let (block, steps) = (net.block(&batch), steps(net.config(), 2, 0));
    let mut state = TensorState(ends.first.clone());
    let (mut states, mut tapes) = (Vec::new(), Vec::new());
    for step in &steps {
        tapes.push(block.linearize(step, &mut state, Output::Used).unwrap());
        states.push(state.0.clone());
    }
    let mut lambda = TensorState(state.0.zeros_like());
    for ((step, tape), cotangent) in steps.iter().zip(tapes).zip(&ends.cotangents).rev() {
        lambda.axpy(1.0, &TensorState(cotangent.clone()));
        let pending = tape.pullback_with_gradients(step, &mut lambda, Output::Used).unwrap();
        assert!(pending().unwrap().is_empty(), "what layers share is summed");
    }
    let (gradients, inputs) = net.complete_with_inputs(&batch);
    Looped { states, lambda: lambda.0, gradients: by_name(net, &gradients), inputs: inputs.unwrap() }
}
