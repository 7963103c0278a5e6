//! Sources of the adjoint: losses that read states on the way, against the plain loop and finite differences.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

mod common;

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::{Coarsening, Partition, StepKind, TimeGrid};
use braidnet_mgrit::{Activations, Cycle, FinalSweep, MgritError, MgritOptions, Relaxation, Sources, TemporalNorm};

use common::deviation;
use common::gradients::{Found, gradients_of_sum};
use common::problems::Scalar;
use common::tunable::Tunable;

type FoundScalars = Found<f64, [f64; 2]>;

fn network(max_levels: usize, cfactor: usize, max_iters: usize) -> MgritOptions {
    let coarsening = Coarsening { min_coarse: 1, ..Coarsening::network(max_levels, cfactor) };
    MgritOptions::network(coarsening, max_iters)
}

fn irregular(n: usize) -> (Scalar, TimeGrid) {
    let times = (0..=n).map(|k| 0.2 * k as f64 + 0.05 * (k as f64).sin()).collect();
    (Scalar::generic(n), TimeGrid::from_times(times).unwrap())
}

/// Weight of `u_n^2 / 2` in the loss: most points have one.
fn weight(point: usize) -> Option<f64> {
    (point % 4 != 1).then(|| (1.7 * point as f64).cos())
}

/// `u_n` of all points by the plain loop.
fn states(layers: &Scalar, grid: &TimeGrid, initial: f64) -> Vec<f64> {
    let mut u = vec![initial];
    for (k, t) in grid.times().windows(2).enumerate() {
        u.push(layers.phi(k, t[1] - t[0], u[k]));
    }
    u
}

/// Gradients and `lambda_0` by the plain loop at states `u`.
fn plain(network: &Tunable, grid: &TimeGrid, u: &[f64]) -> (Vec<[f64; 2]>, f64) {
    let (n, t) = (grid.n_steps(), grid.times());
    let mut lambda = u[n];
    let mut gradients = vec![[0.0; 2]; n];
    for k in (0..n).rev() {
        let dt = t[k + 1] - t[k];
        let delta = dt * network.slope(k, u[k]) * lambda;
        gradients[k] = [delta * u[k], delta];
        lambda = network.jacobian(k, dt, u[k]) * lambda + weight(k).map_or(0.0, |w| w * u[k]);
    }
    (gradients, lambda)
}

/// Every rank gives the sources of its own layers, at the exact states.
fn solve(
    comm: &Communicator,
    setup: (&TimeGrid, &Partition, [&MgritOptions; 2]),
    network: &Tunable,
    activations: Activations,
) -> Result<FoundScalars, MgritError> {
    let u = states(&network.layers, setup.0, 0.5);
    let own = setup.1.layers(comm.rank());
    let sources = Sources::new(own.filter_map(|point| Some((point, weight(point)? * u[point]))));
    gradients_of_sum(sources, activations, comm, setup, network, &0.5)
}

fn on_threads(
    setup: (&TimeGrid, &Partition, [&MgritOptions; 2]),
    network: &Tunable,
    activations: Activations,
) -> FoundScalars {
    let ranks = Launch::ranks(Some(setup.1.n_ranks()));
    let all = launch(&ranks, |comm| solve(&comm, setup, network, activations)).unwrap();
    all.into_iter()
        .reduce(|mut first, next| {
            first.gradients.extend(next.gradients);
            first
        })
        .unwrap()
}

fn is_plain(found: &FoundScalars, expected: &(Vec<[f64; 2]>, f64), tolerance: f64, what: &str) {
    let (gradients, lambda_0) = expected;
    assert!(found.gradients.iter().map(|g| g.layer).eq(0..gradients.len()), "{what}");
    for (g, expected) in found.gradients.iter().zip(gradients) {
        for (got, expected) in g.gradients.iter().zip(expected) {
            assert!(deviation(*expected, *got) <= tolerance, "layer {}: {got}, expected {expected}; {what}", g.layer);
        }
    }
    let got = found.lambda_0.unwrap();
    assert!(deviation(*lambda_0, got) <= tolerance, "lambda_0 {got}, expected {lambda_0}; {what}");
}

/// Backward solves that have converged after 25 iterations.
fn converging() -> Vec<MgritOptions> {
    let fcf = MgritOptions { relaxation: vec![Relaxation::Fcf(1)], skip_downcycle: false, ..network(4, 2, 25) };
    vec![
        network(2, 4, 25),
        network(3, 5, 25),
        network(4, 2, 25),
        MgritOptions { cycle: Cycle::F { v_cycles: 1, iterations: None }, ..network(3, 2, 25) },
        MgritOptions { final_sweep: FinalSweep::Fc, ..fcf.clone() },
        MgritOptions { norm: Some(TemporalNorm::Two), ..fcf },
        MgritOptions::newton(25, None),
    ]
}

#[test]
fn a_converged_adjoint_with_sources_is_the_plain_loop() {
    for n in [1, 4, 23] {
        let (layers, grid) = irregular(n);
        for shares in [true, false] {
            let network = Tunable::new(layers.clone(), shares);
            let expected = plain(&network, &grid, &states(&layers, &grid, 0.5));
            for ranks in [1, 2, 3, 4].into_iter().filter(|ranks| *ranks <= n) {
                let partition = Partition::even(n, ranks).unwrap();
                for backward in converging() {
                    for activations in [Activations::Store, Activations::Recompute] {
                        let both = [&MgritOptions::sequential(), &backward];
                        let found = on_threads((&grid, &partition, both), &network, activations);
                        is_plain(&found, &expected, 1e-12, &format!("{n} layers on {ranks} ranks, {backward:?}"));
                    }
                }
            }
        }
    }
}

#[test]
fn the_sequential_solve_has_the_bits_of_the_plain_loop() {
    let n = 23;
    let (layers, grid) = irregular(n);
    let network = Tunable::new(layers.clone(), true);
    let expected = plain(&network, &grid, &states(&layers, &grid, 0.5));
    for ranks in 1..=4 {
        let partition = Partition::even(n, ranks).unwrap();
        let both = [&MgritOptions::sequential(), &MgritOptions::sequential()];
        is_plain(&on_threads((&grid, &partition, both), &network, Activations::Store), &expected, 0.0, "sequential");
    }
}

#[test]
fn sources_do_not_mind_transitions() {
    let kind = |c| if c == 't' { StepKind::Transition } else { StepKind::Ode };
    let kinds: Vec<StepKind> = "oooootoooottooot".chars().map(kind).collect();
    let network = Tunable::new(Scalar { kinds, ..Scalar::generic(16) }, true);
    let grid = network.layers.grid(0.3);
    let expected = plain(&network, &grid, &states(&network.layers, &grid, 0.5));
    for ranks in 1..=3 {
        let partition = Partition::even(16, ranks).unwrap();
        let both = [&MgritOptions::sequential(), &self::network(3, 3, 25)];
        is_plain(&on_threads((&grid, &partition, both), &network, Activations::Store), &expected, 1e-12, "transitions");
    }
}

/// Two levels, first down-cycle skipped: a coarse step adds all sources of its run, then every run is swept.
#[test]
fn one_iteration_with_sources_step_by_step() {
    let (n, m) = (12, 3);
    let (layers, grid) = irregular(n);
    let (t, u) = (grid.times(), states(&layers, &grid, 0.5));
    let source = |k: usize| weight(k).map_or(0.0, |w| w * u[k]);
    // Runs of 3 layers do not cross the borders of 1, 2 or 4 ranks.
    for (ranks, shares) in [(1, true), (1, false), (2, true), (4, false)] {
        let network = Tunable::new(layers.clone(), shares);
        let partition = Partition::even(n, ranks).unwrap();
        let both = [&MgritOptions::sequential(), &self::network(2, m, 1)];
        let found = on_threads((&grid, &partition, both), &network, Activations::Store);
        let mut lambda_c = u[n];
        for first in (0..n).step_by(m).rev() {
            let mut lambda = lambda_c;
            for k in (first..first + m).rev() {
                let dt = t[k + 1] - t[k];
                let delta = dt * network.slope(k, u[k]) * lambda;
                for (got, expected) in found.gradients[k].gradients.iter().zip([delta * u[k], delta]) {
                    assert!(deviation(expected, *got) < 1e-13, "layer {k}: {got}, expected {expected}");
                }
                lambda = network.jacobian(k, dt, u[k]) * lambda + source(k);
            }
            lambda_c *= network.jacobian(first, t[first + m] - t[first], u[first]);
            lambda_c += (first..first + m).map(source).sum::<f64>();
        }
        assert!(deviation(lambda_c, found.lambda_0.unwrap()) < 1e-13);
    }
}

/// The loss `u_N^2 / 2` and the weighted ones of the points before.
fn loss(layers: &Scalar, grid: &TimeGrid, initial: f64) -> f64 {
    let u = states(layers, grid, initial);
    let n = grid.n_steps();
    let inside: f64 = (0..n).filter_map(|k| Some(0.5 * weight(k)? * u[k] * u[k])).sum();
    inside + 0.5 * u[n] * u[n]
}

#[test]
fn gradients_with_sources_agree_with_finite_differences() {
    let n = 17;
    let (layers, grid) = irregular(n);
    let network = Tunable::new(layers.clone(), true);
    let partition = Partition::even(n, 2).unwrap();
    let both = [&MgritOptions::sequential(), &self::network(3, 2, 20)];
    let found = on_threads((&grid, &partition, both), &network, Activations::Store);
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

fn alone(sources: Sources<f64>) -> Result<FoundScalars, MgritError> {
    let (layers, grid) = irregular(5);
    let partition = Partition::even(5, 1)?;
    let both = [&MgritOptions::sequential(), &network(2, 2, 1)];
    let setup = (&grid, &partition, both);
    gradients_of_sum(sources, Activations::Store, &Communicator::alone(), setup, &Tunable::new(layers, true), &0.5)
}

#[test]
fn sources_of_one_point_add_up() {
    let once = alone(Sources::new([(2, 0.75), (4, -1.0)])).unwrap();
    let twice = alone(Sources::new([(2, 0.5), (4, -1.0), (2, 0.25)])).unwrap();
    let none = alone(Sources::none()).unwrap();
    assert_eq!(once.lambda_0, twice.lambda_0);
    assert_ne!(once.lambda_0, none.lambda_0);
}

#[test]
fn the_last_point_has_no_source() {
    let message = alone(Sources::new([(3, 1.0), (5, 1.0)])).map(drop).unwrap_err().to_string();
    let expected = "rank 0 was given a source of point 5, but only points 0 to 4 have one";
    assert!(message.contains(expected) && message.contains("lambda_end"), "{message}");
}
