//! Levels that coarsen in space as well: the same solution, and few iterations where layers damp what coarse points cannot
//! show.

use braidnet_grid::{Coarsening, Hierarchy};
use braidnet_mgrit::model::Vector;
use braidnet_mgrit::{Activations, Differentiable, Linearization, MgritOptions, Output, Relaxation, TemporalNorm};

use super::common::vector_solves::{Ends, Found, sequential, solve};
use super::common::vectors::{Network, Restriction, Weights, interpolation};

const N_LAYERS: usize = 96;
const RESTRICTIONS: [Restriction; 2] = [Restriction::FullWeighting, Restriction::Injection];

fn line(n: usize, restrictions: Vec<Option<Restriction>>) -> Network {
    let sizes = vec![n; N_LAYERS + 1];
    Network { weights: Weights::Diffusion, is_linear: false, sizes, shares: true, restrictions }
}

fn options(max_levels: usize, fc_sweeps: usize, max_iters: usize) -> MgritOptions {
    MgritOptions {
        relaxation: vec![Relaxation::Fcf(fc_sweeps)],
        skip_downcycle: false,
        norm: Some(TemporalNorm::Max),
        ..MgritOptions::network(Coarsening::network(max_levels, 3), max_iters)
    }
}

/// Numbers of levels, and which of them coarsen.
fn choices() -> impl Iterator<Item = (usize, Vec<Option<Restriction>>)> {
    RESTRICTIONS.into_iter().flat_map(|restriction| {
        let yes = Some(restriction);
        [(2, vec![yes]), (3, vec![yes]), (3, vec![None, yes]), (3, vec![yes, yes])]
    })
}

/// Solves on every number of ranks given; errors of the states and of the adjoint, which all agree on.
fn errors(network: &Network, options: &MgritOptions, n_ranks: std::ops::RangeInclusive<usize>) -> ([f64; 2], Found) {
    let grid = network.grid(0.05);
    let bad = |point| network.state(point, 1.0);
    let (initial, lambda_end) = (network.state(0, 0.0), network.state(N_LAYERS, 2.0));
    let ends = Ends { initial: &initial, guess: &bad, lambda_end: &lambda_end, lambda_guess: &bad, sources: &[] };
    let expected = sequential(&grid, network, ends);
    let setup = (&grid, [options, options], Activations::Store);
    let all = n_ranks.map(|n_ranks| solve(n_ranks, setup, network, ends));
    let found = all.reduce(|first, next| {
        assert_eq!(first.states, next.states);
        assert_eq!(first.gradients, next.gradients);
        first
    });
    let found = found.unwrap();
    ([found.state_error(&expected), found.adjoint_error(&expected)], found)
}

/// With one FC sweep, 32 intervals are exact anyway once 32 iterations are done, however bad the corrections are.
#[test]
fn few_iterations_come_close_and_more_of_them_to_round_off() {
    for (max_levels, restrictions) in choices() {
        for n in [15, 16] {
            for shares in [true, false] {
                let network = Network { shares, ..line(n, restrictions.clone()) };
                let ([states, adjoint], _) = errors(&network, &options(max_levels, 1, 12), 1..=4);
                let what = format!("{states:e}, {adjoint:e}: {n} points, {max_levels} levels, {restrictions:?}");
                assert!(states < 1e-6 && adjoint < 1e-6, "{what}");
            }
            let (after, found) = errors(&line(n, restrictions.clone()), &options(max_levels, 1, 28), 1..=1);
            assert!(after.iter().all(|error| *error < 1e-13), "{after:?}: {n} points, {restrictions:?}");
            for report in found.reports {
                assert!(report.residuals[27].unwrap() < 1e-13, "{report:?}");
            }
        }
    }
}

/// What the C-points have outside of the range of the prolongation stays what it was.
#[test]
fn without_c_relaxation_it_ends_elsewhere() {
    for (max_levels, restrictions) in choices() {
        let (after, _) = errors(&line(15, restrictions), &options(max_levels, 0, 40), 1..=1);
        assert!(after.iter().all(|error| *error > 0.1), "{after:?}");
    }
}

#[test]
fn the_sequential_solution_is_a_fixed_point() {
    for (max_levels, restrictions) in choices() {
        for (n, fc_sweeps) in [(15, 0), (15, 1), (16, 0), (16, 1)] {
            let network = line(n, restrictions.clone());
            let grid = network.grid(0.05);
            let bad = |point| network.state(point, 1.0);
            let (initial, lambda_end) = (network.state(0, 0.0), network.state(N_LAYERS, 2.0));
            let ends =
                Ends { initial: &initial, guess: &bad, lambda_end: &lambda_end, lambda_guess: &bad, sources: &[] };
            let expected = sequential(&grid, &network, ends);
            let solution = |point: usize| expected.states[point].clone();
            let ends = Ends { guess: &solution, ..ends };
            let options = options(max_levels, fc_sweeps, 2);
            let found = solve(2, (&grid, [&options, &options], Activations::Store), &network, ends);
            let error =
                found.reports[0].residuals.iter().flatten().fold(found.state_error(&expected), |a, r| a.max(*r));
            assert!(error < 1e-13, "{error:e}: {n} points, {max_levels} levels, {restrictions:?}");
        }
    }
}

/// One iteration on two levels from a zero guess, written out: a coarse step pulls back at the restricted state before it;
/// the adjoint goes down by the transpose of the prolongation and up by that of the restriction.
#[test]
fn one_adjoint_iteration_step_by_step() {
    for restriction in RESTRICTIONS {
        let network = line(15, vec![Some(restriction)]);
        let grid = network.grid(0.05);
        let zero = |point| network.zero(point);
        let (initial, lambda_end) = (network.state(0, 0.0), network.state(N_LAYERS, 2.0));
        let ends = Ends { initial: &initial, guess: &zero, lambda_end: &lambda_end, lambda_guess: &zero, sources: &[] };
        let backward = MgritOptions { skip_downcycle: true, ..options(2, 1, 1) };
        let setup = (&grid, [&MgritOptions::sequential(), &backward], Activations::Store);
        let found = solve(3, setup, &network, ends);
        let hierarchy = Hierarchy::new(&grid, &backward.coarsening).unwrap();
        let coarse = &hierarchy.levels()[1];
        let restrict = restriction.matrix(15);
        let mut lambda = Vector(interpolation(15).tr_mul(&lambda_end.0));
        for step in (0..coarse.n_steps()).rev().map(|j| coarse.step(j)) {
            let mut state = Vector(&restrict * &found.states[step.layer].0);
            let linearization = network.linearize(&step, &mut state, Output::Discarded).unwrap();
            linearization.pullback(&step, &mut lambda).unwrap();
        }
        let error = (restrict.tr_mul(&lambda.0) - &found.lambda_0.0).norm();
        assert!(error < 1e-13, "{error:e}: {restriction:?}");
    }
}
