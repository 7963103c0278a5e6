//! From a zero guess, the adjoint solve of a linear network is the transpose of the forward solve.
//!
//! Both have the same C-points and the same coarse steps, and F-relaxation, residuals and corrections transpose into each
//! other: without FC sweeps that makes every iteration a transpose. But forward the state of point 0 is known, and back
//! that of point N, so what a correction would make of them is not seen. Where space is coarsened that counts from the
//! second iteration on; the first one, begun on the coarsest level, is a transpose there as well.

use braidnet_grid::{Coarsening, Hierarchy};
use braidnet_mgrit::model::Vector;
use braidnet_mgrit::{Activations, MgritOptions, Relaxation};
use nalgebra::DVector;
use proptest::prelude::*;
use proptest::sample::select;

use super::common::deviation;
use super::common::vector_solves::{Ends, solve};
use super::common::vectors::{Network, Restriction, Weights};

fn options(max_levels: usize, cfactor: usize, max_iters: usize) -> MgritOptions {
    let coarsening = Coarsening { min_coarse: 1, ..Coarsening::network(max_levels, cfactor) };
    let relaxation = vec![Relaxation::F];
    MgritOptions { relaxation, skip_downcycle: true, ..MgritOptions::network(coarsening, max_iters) }
}

/// Irregular, without any smoothness.
fn state(network: &Network, point: usize, phase: f64) -> Vector {
    let at = |i: usize| (phase + 1.3 * point as f64 + 7.0 * (i * i) as f64).sin();
    Vector(DVector::from_fn(network.sizes[point], |i, _| at(i)))
}

/// `<u_N, l>` plus `<u_n, s_n>` of all sources, and `<u_0, lambda_0>`: equal for a transpose.
fn both_sides(network: &Network, options: &MgritOptions, n_ranks: usize, phase: f64, sources: &[usize]) -> [f64; 2] {
    let n = network.n_layers();
    let zero = |point| network.zero(point);
    let (initial, lambda_end) = (state(network, 0, phase), state(network, n, 2.0 * phase));
    let sources: Vec<_> = sources.iter().map(|point| (*point, state(network, *point, 3.0 * phase))).collect();
    let ends =
        Ends { initial: &initial, guess: &zero, lambda_end: &lambda_end, lambda_guess: &zero, sources: &sources };
    let grid = network.grid(0.2);
    let found = solve(n_ranks, (&grid, [options, options], Activations::Store), network, ends);
    let inside: f64 = sources.iter().map(|(point, source)| found.states[*point].0.dot(&source.0)).sum();
    [found.states[n].0.dot(&lambda_end.0) + inside, initial.0.dot(&found.lambda_0.0)]
}

/// Layers along lines of both parities, with transitions.
fn line() -> impl Strategy<Value = Vec<usize>> {
    let block = (1usize..7, 12usize..17).prop_map(|(n_layers, size)| vec![size; n_layers + 1]);
    prop::collection::vec(block, 1..4).prop_map(|blocks| blocks.concat())
}

fn restrictions() -> impl Strategy<Value = Vec<Option<Restriction>>> {
    let restriction = select(vec![None, Some(Restriction::FullWeighting), Some(Restriction::Injection)]);
    prop::collection::vec(restriction, 1..3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_first_iteration_is_a_transpose_in_space_too(
        (sizes, restrictions, shares) in (line(), restrictions(), any::<bool>()),
        (max_levels, cfactor) in (2usize..4, 2usize..5),
        (n_ranks, phase) in (1usize..4, 0.0f64..6.0),
    ) {
        let network = Network { weights: Weights::Stencil, is_linear: true, sizes, shares, restrictions };
        let options = options(max_levels, cfactor, 1);
        let hierarchy = Hierarchy::new(&network.grid(0.2), &options.coarsening).unwrap();
        // On two levels a coarse step adds just the source of the C-point that it starts from.
        let c_points = hierarchy.finest().c_points();
        let sources = if hierarchy.n_levels() == 2 { &c_points[1..c_points.len() - 1] } else { &[] };
        let ranks = n_ranks.min(network.n_layers());
        let [forward, back] = both_sides(&network, &options, ranks, phase, sources);
        prop_assert!(deviation(forward, back) < 1e-12, "{} and {}", forward, back);
    }

    #[test]
    fn without_coarsening_in_space_every_iteration_is_a_transpose(
        sizes in prop::collection::vec((1usize..7, 2usize..6).prop_map(|(n, size)| vec![size; n + 1]), 1..4),
        (max_levels, cfactor, max_iters) in (2usize..4, 2usize..5, 1usize..5),
        (n_ranks, phase) in (1usize..4, 0.0f64..6.0),
    ) {
        let (weights, sizes) = (Weights::Dense, sizes.concat());
        let network = Network { weights, is_linear: true, sizes, shares: true, restrictions: Vec::new() };
        let ranks = n_ranks.min(network.n_layers());
        let [forward, back] = both_sides(&network, &options(max_levels, cfactor, max_iters), ranks, phase, &[]);
        prop_assert!(deviation(forward, back) < 1e-12, "{} and {}", forward, back);
    }
}
