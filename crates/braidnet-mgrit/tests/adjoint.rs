//! The adjoint: laws of a linearisation, gradients against the chain rule and finite differences, and how often what
//! is linearised.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

mod common;

use braidnet_grid::{Coarsening, Hierarchy, LastInterval, Partition, Step, StepKind, TimeGrid};
use braidnet_mgrit::model::{Resnet, Vector};
use braidnet_mgrit::{
    Cycle, Differentiable, Linearization, MgritOptions, Output, Propagator, Relaxation, State, TemporalNorm,
};
use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;

use common::deviation;
use common::gradients::gradients;
use common::problems::Scalar;
use common::tunable::Tunable;

fn step(level: usize, t: f64, dt: f64) -> Step {
    Step { level, index: 0, layer: 0, t, dt, kind: StepKind::Ode, fine: 0..1 }
}

/// `W(t)` and `b(t)` of the model problem.
fn parameters(n: usize, t: f64) -> (DMatrix<f64>, DVector<f64>) {
    let w = |i: usize, j: usize| 2.0 * (1.0 + i as f64 + 2.0 * j as f64 + t).sin() / n as f64;
    (DMatrix::from_fn(n, n, w), DVector::from_fn(n, |i, _| 0.1 * (i as f64 + t).cos()))
}

/// `J v` of a step of length `dt`.
fn jvp(u: &DVector<f64>, v: &DVector<f64>, t: f64, dt: f64) -> DVector<f64> {
    let (w, b) = parameters(u.len(), t);
    let slope = (&w * u + b).map(|z| 1.0 - z.tanh().powi(2));
    v + dt * slope.component_mul(&(w * v))
}

fn vectors() -> impl Strategy<Value = [DVector<f64>; 3]> {
    let vector = |n| prop::collection::vec(-2.0f64..2.0, n).prop_map(DVector::from_vec);
    (1usize..7).prop_flat_map(move |n| [vector(n), vector(n), vector(n)])
}

fn is_close(a: f64, b: f64, tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert!(deviation(a, b) < tolerance, "{} and {}", a, b);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// `<J v, w> = <v, J^T w>` for the layer linearised and for a coarse step that shares its linearisation.
    #[test]
    fn a_pullback_is_the_transpose([u, v, w] in vectors(), t in 0.0f64..5.0, dt in 0.01f64..1.0) {
        let resnet = Resnet { n: u.len() };
        let mut next = Vector(u.clone());
        let linearization = resnet.linearize(&step(0, t, dt), &mut next, Output::Used).unwrap();
        let mut stepped = [Vector(u.clone())];
        resnet.step(&[step(0, t, dt)], &mut stepped).unwrap();
        prop_assert_eq!(&next, &stepped[0]);
        for (level, length) in [(0, dt), (1, 4.0 * dt)] {
            prop_assert_eq!(resnet.shared_linearization(&step(level, t, length)), Some(0));
            let mut lambda = Vector(w.clone());
            linearization.pullback(&step(level, t, length), &mut lambda).unwrap();
            is_close(jvp(&u, &v, t, length).dot(&w), v.dot(&lambda.0), 1e-13)?;
        }
        let h = 1e-5;
        let mut both = [Vector(&u + h * &v), Vector(&u - h * &v)];
        resnet.step(&[step(0, t, dt), step(0, t, dt)], &mut both).unwrap();
        let difference = (&both[0].0 - &both[1].0) / (2.0 * h);
        is_close(jvp(&u, &v, t, dt).dot(&w), difference.dot(&w), 1e-8)?;
    }

    /// `<dPhi/dW V, w> = <V, g_W>` and the same for the bias; lambda as from the plain pullback.
    #[test]
    fn gradients_are_the_transpose_too([u, v, w] in vectors(), t in 0.0f64..5.0, dt in 0.01f64..1.0) {
        let (n, here) = (u.len(), step(0, t, dt));
        let linearize = || Resnet { n }.linearize(&here, &mut Vector(u.clone()), Output::Discarded).unwrap();
        let [mut plain, mut with, mut discarded] = [0; 3].map(|_| Vector(w.clone()));
        linearize().pullback(&here, &mut plain).unwrap();
        let pending = linearize().pullback_with_gradients(&here, &mut with, Output::Used).unwrap();
        let other = linearize().pullback_with_gradients(&here, &mut discarded, Output::Discarded).unwrap();
        prop_assert_eq!(plain, with);
        let gradients = pending().unwrap();
        prop_assert_eq!(&gradients, &other().unwrap());
        let (weights, bias) = parameters(n, t);
        let slope = (weights * &u + bias).map(|z| 1.0 - z.tanh().powi(2)) * dt;
        let direction = DMatrix::from_fn(n, n, |i, j| v[i] - 0.3 * v[j]);
        is_close(slope.component_mul(&(&direction * &u)).dot(&w), direction.dot(&gradients.weights), 1e-13)?;
        is_close(slope.component_mul(&v).dot(&w), v.dot(&gradients.bias), 1e-13)?;
    }
}

fn network(max_levels: usize, cfactor: usize, max_iters: usize) -> MgritOptions {
    let coarsening = Coarsening { min_coarse: 1, ..Coarsening::network(max_levels, cfactor) };
    MgritOptions::network(coarsening, max_iters)
}

/// Solves that have converged, with hierarchies and cycles of all kinds.
fn converged() -> Vec<MgritOptions> {
    let fcf = MgritOptions { relaxation: vec![Relaxation::Fcf(1)], skip_downcycle: false, ..network(4, 2, 25) };
    vec![
        network(2, 4, 25),
        network(3, 5, 25),
        MgritOptions { cycle: Cycle::F { v_cycles: 1, iterations: None }, ..network(4, 2, 25) },
        MgritOptions { norm: Some(TemporalNorm::Max), ..fcf },
        MgritOptions::sequential(),
    ]
}

/// `g_n` of all layers and `dLoss/du_0` by the chain rule at the given states.
fn chain_rule(network: &Tunable, grid: &TimeGrid, states: &[f64]) -> (Vec<[f64; 2]>, f64) {
    let (n, t) = (grid.n_steps(), grid.times());
    let mut lambda = states[n];
    let mut gradients = vec![[0.0; 2]; n];
    for k in (0..n).rev() {
        let dt = t[k + 1] - t[k];
        let delta = dt * network.slope(k, states[k]) * lambda;
        gradients[k] = [delta * states[k], delta];
        lambda *= network.jacobian(k, dt, states[k]);
    }
    (gradients, lambda)
}

fn irregular(n: usize) -> (Scalar, TimeGrid) {
    let times = (0..=n).map(|k| 0.2 * k as f64 + 0.05 * (k as f64).sin()).collect();
    (Scalar::generic(n), TimeGrid::from_times(times).unwrap())
}

#[test]
fn a_converged_adjoint_is_the_chain_rule() {
    let n = 23;
    let (layers, grid) = irregular(n);
    for backward in converged() {
        for (ranks, shares) in [(1, true), (1, false), (3, true), (3, false)] {
            let network = Tunable::new(layers.clone(), shares);
            let partition = Partition::even(n, ranks).unwrap();
            let found = gradients((&grid, &partition, [&self::network(3, 4, 25), &backward]), &network, &0.5);
            let (expected, lambda_0) = chain_rule(&network, &grid, &found.states);
            // Each layer once, in order.
            assert!(found.gradients.iter().map(|g| g.layer).eq(0..n), "{backward:?}");
            for (g, expected) in found.gradients.iter().zip(&expected) {
                for (got, expected) in g.gradients.iter().zip(expected) {
                    assert!(deviation(*expected, *got) < 1e-12, "layer {}: {got}, expected {expected}", g.layer);
                }
            }
            assert!(deviation(lambda_0, found.lambda_0.unwrap()) < 1e-12);
            // One linearisation per layer, and without sharing one per coarse step of the adjoint's levels.
            let hierarchy = Hierarchy::new(&grid, &backward.coarsening).unwrap();
            let n_coarse = hierarchy.levels().iter().skip(1).map(|l| l.n_steps()).sum();
            assert_eq!(network.n_linearizations(), [n, if shares { 0 } else { n_coarse }]);
        }
    }
}

/// The loss `u_N^2 / 2` of the plain loop.
fn loss(layers: &Scalar, grid: &TimeGrid, initial: f64) -> f64 {
    let pairs = grid.times().windows(2).enumerate();
    let end = pairs.fold(initial, |u, (k, t)| layers.phi(k, t[1] - t[0], u));
    0.5 * end * end
}

#[test]
fn gradients_agree_with_finite_differences() {
    let n = 17;
    let (layers, grid) = irregular(n);
    let network = Tunable::new(layers.clone(), true);
    let partition = Partition::even(n, 2).unwrap();
    let found = gradients((&grid, &partition, [&self::network(3, 3, 20), &self::network(3, 2, 20)]), &network, &0.5);
    let h = 1e-5;
    for g in &found.gradients {
        for (which, got) in g.gradients.iter().enumerate() {
            let moved = |by: f64| {
                let mut layers = layers.clone();
                let (w, b) = &mut layers.parameters[g.layer];
                *[w, b][which] += by;
                loss(&layers, &grid, 0.5)
            };
            let difference = (moved(h) - moved(-h)) / (2.0 * h);
            assert!(deviation(difference, *got) < 1e-8, "layer {}: {got}, difference {difference}", g.layer);
        }
    }
    let difference = (loss(&layers, &grid, 0.5 + h) - loss(&layers, &grid, 0.5 - h)) / (2.0 * h);
    assert!(deviation(difference, found.lambda_0.unwrap()) < 1e-8);
}

#[test]
fn a_converged_adjoint_of_vectors_is_the_sequential_one() {
    let resnet = Resnet { n: 4 };
    let grid = TimeGrid::uniform(26, 0.0, 2.0).unwrap();
    let partition = Partition::even(26, 1).unwrap();
    let sequential = MgritOptions::sequential();
    let expected = gradients((&grid, &partition, [&sequential, &sequential]), &resnet, &resnet.initial());
    for backward in converged() {
        let found = gradients((&grid, &partition, [&sequential, &backward]), &resnet, &resnet.initial());
        for (got, expected) in found.gradients.iter().zip(&expected.gradients) {
            assert!((&got.gradients.weights - &expected.gradients.weights).norm() < 1e-12);
            assert!((&got.gradients.bias - &expected.gradients.bias).norm() < 1e-12);
        }
        let (mut d, expected) = (found.lambda_0.unwrap(), expected.lambda_0.as_ref().unwrap());
        d.axpy(-1.0, expected);
        assert!(d.norm_squared().sqrt() < 1e-12);
    }
}

/// One iteration on two levels, written out: a coarse step pulls back through the FIRST layer of its run, at the
/// state before it, over the length of the run; then every run is swept from its right end.
#[test]
fn one_adjoint_iteration_step_by_step() {
    let (n, m) = (11, 3);
    let (layers, grid) = irregular(n);
    let t = grid.times();
    let mut u = vec![0.5];
    (0..n).for_each(|k| u.push(layers.phi(k, t[k + 1] - t[k], u[k])));
    for (ranks, shares) in [(1, true), (1, false), (2, true), (4, false)] {
        let network = Tunable::new(layers.clone(), shares);
        let partition = Partition::even(n, ranks).unwrap();
        let found =
            gradients((&grid, &partition, [&MgritOptions::sequential(), &self::network(2, m, 1)]), &network, &0.5);
        let mut lambda_c = u[n];
        for first in (0..n).step_by(m).rev() {
            let end = (first + m).min(n);
            let mut lambda = lambda_c;
            for k in (first..end).rev() {
                let dt = t[k + 1] - t[k];
                let delta = dt * network.slope(k, u[k]) * lambda;
                for (got, expected) in found.gradients[k].gradients.iter().zip([delta * u[k], delta]) {
                    assert!(deviation(expected, *got) < 1e-13, "layer {k}: {got}, expected {expected}");
                }
                lambda *= network.jacobian(k, dt, u[k]);
            }
            lambda_c *= network.jacobian(first, t[end] - t[first], u[first]);
        }
        assert!(deviation(lambda_c, found.lambda_0.unwrap()) < 1e-13);
    }
}

/// After an inexact forward solve the gradients are those of the chain rule at the states that it ended with.
#[test]
fn layers_are_linearised_at_the_states_of_the_last_sweep() {
    let n = 14;
    let (layers, grid) = irregular(n);
    for last_interval in [LastInterval::Short, LastInterval::Tail] {
        let mut forward = network(3, 4, 1);
        forward.coarsening.last_interval = last_interval;
        for ranks in [1, 3] {
            let network = Tunable::new(layers.clone(), true);
            let partition = Partition::even(n, ranks).unwrap();
            let found = gradients((&grid, &partition, [&forward, &MgritOptions::sequential()]), &network, &0.5);
            let (expected, _) = chain_rule(&network, &grid, &found.states);
            for (g, expected) in found.gradients.iter().zip(&expected) {
                assert!(deviation(expected[0], g.gradients[0]) < 1e-13, "layer {}", g.layer);
                assert!(deviation(expected[1], g.gradients[1]) < 1e-13, "layer {}", g.layer);
            }
        }
    }
}
