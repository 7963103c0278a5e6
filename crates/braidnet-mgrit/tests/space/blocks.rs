//! States of one level that differ in size: blocks of layers with transitions between them.

use braidnet_grid::Coarsening;
use braidnet_mgrit::{Activations, MgritOptions, Relaxation, TemporalNorm};

use super::common::vector_solves::{Ends, sequential, solve};
use super::common::vectors::{Network, Restriction, Weights};

/// Blocks of 3, 5 and 2 layers.
fn blocks(weights: Weights, sizes: [usize; 3]) -> Network {
    let sizes = [4, 6, 3].into_iter().zip(sizes).flat_map(|(n, size)| vec![size; n]).collect();
    Network { weights, is_linear: false, sizes, shares: true, restrictions: Vec::new() }
}

fn options(max_levels: usize, cfactor: usize, relaxation: Relaxation, skip_downcycle: bool) -> MgritOptions {
    let coarsening = Coarsening { min_coarse: 1, ..Coarsening::network(max_levels, cfactor) };
    let norm = Some(TemporalNorm::Max);
    MgritOptions { relaxation: vec![relaxation], skip_downcycle, norm, ..MgritOptions::network(coarsening, 15) }
}

/// Solves forward and back with both options, on 1 to 5 ranks, until it must agree with the plain loops.
fn agrees(network: &Network, options: &MgritOptions) {
    let grid = network.grid(0.3);
    let n = network.n_layers();
    let guess = |point| network.state(point, 1.0);
    let (initial, lambda_end) = (network.state(0, 0.0), network.state(n, 2.0));
    let ends = Ends { initial: &initial, guess: &guess, lambda_end: &lambda_end, lambda_guess: &guess, sources: &[] };
    let expected = sequential(&grid, network, ends);
    for n_ranks in 1..=5 {
        for activations in [Activations::Store, Activations::Recompute] {
            let found = solve(n_ranks, (&grid, [options, options], activations), network, ends);
            let what = format!("{n_ranks} ranks, {activations:?}, {options:?}");
            if activations == Activations::Store {
                let error = found.state_error(&expected);
                assert!(error < 1e-13, "states: {error}; {what}");
            }
            let error = found.adjoint_error(&expected);
            assert!(error < 1e-12, "adjoint: {error}; {what}");
            for report in found.reports {
                assert!(report.residuals[14].unwrap() < 1e-13, "{report:?}; {what}");
            }
        }
    }
}

#[test]
fn sizes_may_change_from_block_to_block() {
    for shares in [true, false] {
        let network = Network { shares, ..blocks(Weights::Dense, [4, 6, 3]) };
        for max_levels in [2, 3] {
            for cfactor in [2, 3, 4] {
                for skip_downcycle in [true, false] {
                    agrees(&network, &options(max_levels, cfactor, Relaxation::F, skip_downcycle));
                    agrees(&network, &options(max_levels, cfactor, Relaxation::Fcf(1), skip_downcycle));
                }
            }
        }
    }
}

/// 14 and 15 points have the same 7 coarse ones: only the state that is corrected tells what a correction is refined to.
#[test]
fn sizes_may_change_while_levels_coarsen_in_space() {
    for restriction in [Restriction::FullWeighting, Restriction::Injection] {
        for levels in [vec![Some(restriction)], vec![None, Some(restriction)], vec![Some(restriction); 2]] {
            for cfactor in [2, 3] {
                for skip_downcycle in [true, false] {
                    let sizes = blocks(Weights::Stencil, [15, 14, 16]);
                    let network = Network { restrictions: levels.clone(), ..sizes };
                    agrees(&network, &options(3, cfactor, Relaxation::Fcf(1), skip_downcycle));
                }
            }
        }
    }
}
