//! Laws of the linearisations: hand-written against autograd, and the adjoint dot test, in double precision.
#![allow(missing_docs, clippy::unwrap_used)]

use std::convert::Infallible;

use braidnet_grid::{Coarsening, Hierarchy, Step, TimeGrid};
use braidnet_mgrit::{Differentiable, Linearization, Output, Propagator};
use braidnet_nn::{
    At, Autograd, CoarseOperator, Conv3dRhs, ConvRhs, Forward, Gradients, GridSpace, ImageSpace, Layers, OdeBlock,
    OdeNet2dConfig, Recorded, RhsTape, RightHandSide, Samples, TensorState, map_parameters,
};
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn random<const D: usize>(dims: [usize; D], seed: u64) -> Tensor<D> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f64> = (0..dims.iter().product()).map(|_| 2.0 * random.random::<f64>() - 1.0).collect();
    Tensor::from_data(TensorData::new(values, dims), (&Device::flex(), DType::F64))
}

/// Parameters drawn anew in double precision.
fn in_double<M: Module>(module: M, seed: u64) -> M {
    let mut n = seed;
    let mapped: Result<M, Infallible> = map_parameters(module, "", |p| {
        n += 1;
        Ok(Some(random([p.values.dims()[0]], n) * 0.4))
    });
    mapped.unwrap_or_else(|never| match never {})
}

fn layer(convs: usize, channels: usize, seed: u64) -> ConvRhs {
    in_double(ConvRhs::new(convs, None, channels, &Device::flex()), seed)
}

fn dot<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f64 {
    (a.clone() * b.clone()).sum().into_scalar::<f64>()
}

fn relative<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f64 {
    let difference = a.clone() - b.clone();
    (dot(&difference, &difference) / dot(b, b)).sqrt()
}

/// One and two convolutions, on both sides of the switch between flipped and transposed convolution.
const SHAPES: [(usize, usize); 4] = [(1, 3), (2, 3), (2, 5), (1, 12)];

fn gradients_agree(hand: &Gradients, autograd: &Gradients) {
    assert_eq!(hand.len(), autograd.len());
    for a in autograd {
        let h = hand.iter().find(|h| h.id == a.id).unwrap();
        assert!(relative(&h.values, &a.values) < 1e-12);
    }
}

/// Value, pullback and gradients of `rhs` on states of shape `dims`, by hand and by autograd.
fn agrees_with_autograd<const D: usize, R>(rhs: R, dims: [usize; D])
where
    R: RightHandSide<Space = GridSpace<D>> + Forward<Space = GridSpace<D>>,
    R::Tape: RhsTape<State = TensorState<D>>,
    TensorState<D>: Recorded,
{
    let reference = Autograd::new(rhs.clone());
    let state = |seed| TensorState(random(dims, seed));
    let (u, delta) = (state(2), state(3));
    let (f, hand) = rhs.linearize(u.clone(), AT, Output::Used);
    let (f_reference, autograd) = reference.linearize(u, AT, Output::Used);
    assert!(relative(&f.0, &f_reference.0) < 1e-14);
    let (back, back_reference) = (hand.pullback(delta.clone()).unwrap(), autograd.pullback(delta.clone()).unwrap());
    assert!(relative(&back.0, &back_reference.0) < 1e-12, "{dims:?}");
    let (again, pending) = hand.pullback_with_gradients(delta.clone(), Output::Used).unwrap();
    let (_, pending_reference) = autograd.pullback_with_gradients(delta, Output::Used).unwrap();
    assert!(relative(&again.unwrap().0, &back.0) < 1e-14);
    gradients_agree(&pending().unwrap(), &pending_reference().unwrap());
}

#[test]
fn hand_written_agrees_with_autograd() {
    for (convs, channels) in SHAPES {
        agrees_with_autograd(layer(convs, channels, 1), [2, channels, 6, 5]);
    }
    for channels in [1, 2, 5] {
        let rhs = in_double(Conv3dRhs::new(channels, &Device::flex()), 1);
        agrees_with_autograd(rhs, [2, channels, 4, 5, 3]);
    }
}

#[test]
fn gradients_do_not_need_the_state_pulled_back() {
    let rhs = layer(2, 3, 1);
    let state = |seed| TensorState(random([2, 3, 5, 5], seed));
    let (_, tape) = rhs.linearize(state(2), AT, Output::Used);
    let (used, all) = tape.clone().pullback_with_gradients(state(3), Output::Used).unwrap();
    let (discarded, same) = tape.pullback_with_gradients(state(3), Output::Discarded).unwrap();
    assert!(used.is_some() && discarded.is_none());
    gradients_agree(&all().unwrap(), &same().unwrap());
}

/// Some step of some layer; convolutions depend on neither.
const AT: At<'static, Samples> = At { layers: Layers::One(0), dt: 1.0, batch: &BATCH };

const BATCH: Samples = Samples { n: 2, is_training: true };

/// Images of three channels.
fn space() -> ImageSpace {
    let config = OdeNet2dConfig { image: [3, 5, 5], ..OdeNet2dConfig::new(1, 3) };
    config.init(0..1, 1, 0, &Device::flex()).unwrap().space().clone()
}

fn evaluate(rhs: &ConvRhs, u: &Tensor<4>) -> Tensor<4> {
    rhs.evaluate(TensorState(u.clone()), AT).0
}

fn block(operator: CoarseOperator, layers: usize) -> OdeBlock<ConvRhs> {
    let layers = (0..layers).map(|n| layer(2, 3, 100 * n as u64)).collect();
    OdeBlock::new(0, layers, operator, &Device::flex())
}

/// A fine step and a coarse one over four layers.
fn steps() -> [Step; 2] {
    let grid = TimeGrid::uniform(8, 0.0, 1.0).unwrap();
    let hierarchy = Hierarchy::new(&grid, &Coarsening::network(2, 4)).unwrap();
    [hierarchy.levels()[0].step(4), hierarchy.levels()[1].step(1)]
}

fn apply(block: &OdeBlock<ConvRhs>, step: &Step, u: Tensor<4>) -> Tensor<4> {
    let mut state = [TensorState(u)];
    block.on(&space(), &BATCH).step(std::slice::from_ref(step), &mut state).unwrap();
    let [TensorState(u)] = state;
    u
}

/// `<J v, w> = <v, J^T w>` with `J v` by central differences.
fn dot_test(block: &OdeBlock<ConvRhs>, step: &Step, linearized_at: &Step) {
    let shape = [2, 3, 5, 5];
    let (u, v, w) = (random(shape, 7), random(shape, 8), random(shape, 9));
    let epsilon = 1e-7;
    let plus = apply(block, step, u.clone() + v.clone() * epsilon);
    let minus = apply(block, step, u.clone() - v.clone() * epsilon);
    let forward = dot(&((plus - minus) / (2.0 * epsilon)), &w);
    let linearization = block.on(&space(), &BATCH).linearize(linearized_at, &mut TensorState(u), Output::Used).unwrap();
    let mut lambda = TensorState(w);
    linearization.pullback(step, &mut lambda).unwrap();
    let backward = dot(&v, &lambda.0);
    assert!((forward - backward).abs() < 1e-6 * forward.abs(), "{step:?}: {forward} and {backward}");
}

#[test]
fn the_dot_test_holds_for_every_operator_and_level() {
    for operator in [CoarseOperator::FirstLayer, CoarseOperator::Mean, CoarseOperator::Sum] {
        let block = block(operator, 8);
        for step in steps() {
            dot_test(&block, &step, &step);
        }
    }
}

#[test]
fn one_linearisation_serves_the_coarse_step_of_its_first_layer() {
    let block = block(CoarseOperator::FirstLayer, 8);
    let [fine, coarse] = steps();
    assert!(block.on(&space(), &BATCH).shared_linearization(&coarse).is_some());
    assert_eq!(fine.layer, coarse.layer);
    dot_test(&block, &coarse, &fine);
    for operator in [CoarseOperator::Mean, CoarseOperator::Sum] {
        assert_eq!(self::block(operator, 8).on(&space(), &BATCH).shared_linearization(&coarse), None);
    }
}

#[test]
fn coarse_operators_are_what_they_say() {
    let [_, coarse] = steps();
    let u = random([1, 3, 4, 4], 5);
    let sum = apply(&block(CoarseOperator::Sum, 8), &coarse, u.clone());
    let by_hand = (4..8).fold(u.clone(), |sum, n| sum + evaluate(&layer(2, 3, 100 * n), &u) * 0.125);
    assert!(relative(&sum, &by_hand) < 1e-14);
    let first = apply(&block(CoarseOperator::FirstLayer, 8), &coarse, u.clone());
    assert!(relative(&first, &(u.clone() + evaluate(&layer(2, 3, 400), &u) * 0.5)) < 1e-14);
    let equal = (0..8).map(|_| layer(2, 3, 400)).collect();
    let mean = OdeBlock::new(0, equal, CoarseOperator::Mean, &Device::flex());
    assert!(relative(&apply(&mean, &coarse, u), &first) < 1e-14);
}

/// Distance of one coarse step of length `4 dt` from the four equal fine steps that it stands for.
fn defect(operator: CoarseOperator, t_stop: f64) -> f64 {
    let grid = TimeGrid::uniform(8, 0.0, t_stop).unwrap();
    let hierarchy = Hierarchy::new(&grid, &Coarsening::network(2, 4)).unwrap();
    let equal = (0..8).map(|_| layer(2, 3, 400)).collect();
    let block = OdeBlock::new(0, equal, operator, &Device::flex());
    let u = random([1, 3, 4, 4], 5);
    let fine = (0..4).fold(u.clone(), |u, n| apply(&block, &hierarchy.levels()[0].step(n), u));
    let coarse = apply(&block, &hierarchy.levels()[1].step(0), u);
    let difference = coarse - fine;
    dot(&difference, &difference).sqrt()
}

#[test]
fn the_midpoint_step_is_second_order_and_the_first_layer_first() {
    for (operator, order) in [(CoarseOperator::FirstLayer, 2), (CoarseOperator::Midpoint, 3)] {
        // Small steps, so that no ReLU changes sign between them.
        let ratio = defect(operator, 2e-3) / defect(operator, 1e-3);
        assert!((ratio - f64::from(1 << order)).abs() < 0.2, "{operator:?}: {ratio}");
    }
}

#[test]
fn a_midpoint_step_shares_the_fine_linearisation_and_its_own_output_is_the_step() {
    let block = block(CoarseOperator::Midpoint, 8);
    let [_, coarse] = steps();
    assert!(block.on(&space(), &BATCH).shared_linearization(&coarse).is_some());
    let u = random([1, 3, 4, 4], 5);
    let mut state = TensorState(u.clone());
    block.on(&space(), &BATCH).linearize(&coarse, &mut state, Output::Used).unwrap();
    assert!(relative(&state.0, &apply(&block, &coarse, u)) < 1e-14);
}

#[test]
fn a_run_that_is_split_is_refused_with_the_remedy() {
    let layers = (0..2).map(|n| layer(2, 3, n)).collect();
    let part = OdeBlock::new(4, layers, CoarseOperator::Sum, &Device::flex());
    let [_, coarse] = steps();
    let message = part.supports(&coarse).unwrap_err().to_string();
    assert!(message.contains("4..8") && message.contains("FirstLayer"), "{message}");
}
