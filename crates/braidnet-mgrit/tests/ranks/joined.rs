//! A rank's intervals joined in the final sweep.

use std::ops::Range;

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_grid::{Coarsening, Hierarchy, LastInterval, Partition, StepKind, TimeGrid};
use braidnet_mgrit::{Activations, Coarsest, Cycle, FinalSweep, MgritOptions, Relaxation, TemporalNorm, Tolerance};

use crate::common::gradients::{gradients_on, gradients_with};
use crate::common::problems::Scalar;
use crate::common::run::on;
use crate::common::tunable::Tunable;
use crate::common::{deviation, v_cycles};
use crate::{Checked, even, one_rank, same, text};

pub const TESTS: &[RankTest] = &[
    ("joined_sweeps_walk_on_from_the_border", joined_sweeps_walk_on_from_the_border),
    ("one_rank_joined_is_exact", one_rank_joined_is_exact),
    ("joined_gradients_converge", joined_gradients_converge),
    ("the_last_rank_leaves_the_coarse_solve_out", the_last_rank_leaves_the_coarse_solve_out),
];

fn joined(options: &MgritOptions) -> MgritOptions {
    MgritOptions { final_sweep: FinalSweep::Joined, ..options.clone() }
}

fn guess(n: usize) -> f64 {
    0.3 + 0.1 * (n as f64).sin()
}

/// What the last way up leaves out (without a tolerance), and what it must not.
fn variants(coarsening: &Coarsening) -> Vec<MgritOptions> {
    let v = MgritOptions { coarsening: coarsening.clone(), ..v_cycles(2, 2, 0, 2) };
    let fcf = MgritOptions { relaxation: vec![Relaxation::Fcf(1)], ..v.clone() };
    let cycle = Cycle::F { v_cycles: 1, iterations: None };
    let (norm, tolerance) = (Some(TemporalNorm::Two), Some(Tolerance::Absolute(1e-3)));
    vec![
        MgritOptions { skip_downcycle: true, max_iters: 1, norm: None, ..v.clone() },
        MgritOptions { skip_downcycle: true, ..fcf.clone() },
        MgritOptions { cycle, ..v.clone() },
        MgritOptions { norm, tolerance, ..v.clone() },
        MgritOptions { coarsest: Coarsest::Relax { fc_sweeps: 1 }, ..fcf },
        v,
    ]
}

/// The states after each of the `own` layers, of those that a plain final sweep has left: walked on through C-points.
fn walked_on(
    problem: &Scalar,
    grid: &TimeGrid,
    options: &MgritOptions,
    all: &[f64],
    own: Range<usize>,
) -> Checked<Vec<f64>> {
    let hierarchy = Hierarchy::new(grid, &options.coarsening).map_err(text)?;
    let mut u = all[own.start..=own.end].to_vec();
    let c_points = hierarchy.finest().c_points().iter().filter(|c| (own.start..=own.end).contains(c));
    let c_points: Vec<usize> = c_points.copied().collect();
    if let (Some(&from), Some(&last), true) = (c_points.first(), c_points.last(), hierarchy.n_levels() > 1) {
        // The value of a C-point where another rank goes on stays that of the coarse grid.
        let from = if own.end == grid.n_steps() && from == own.end { own.start } else { from };
        let stop = if own.end == grid.n_steps() { own.end + 1 } else { last };
        for point in from + 1..stop {
            let dt = grid.times()[point] - grid.times()[point - 1];
            u[point - own.start] = problem.phi(point - 1, dt, u[point - 1 - own.start]);
        }
    }
    Ok(u[usize::from(own.start > 0)..].to_vec())
}

fn check(comm: &Communicator, problem: &Scalar, partition: &Partition, coarsening: &Coarsening) -> Checked {
    let grid = problem.grid(0.2);
    for options in variants(coarsening) {
        let plain = on(comm, (&grid, partition, &options), problem, 0.5, &guess).map_err(text)?;
        let got = on(comm, (&grid, partition, &joined(&options)), problem, 0.5, &guess).map_err(text)?;
        same("norms of the residuals", &got.report.residuals, &plain.report.residuals)?;
        let all = comm.all_gather(plain.states, &()).map_err(text)?.concat();
        let expected = walked_on(problem, &grid, &options, &all, partition.layers(comm.rank()))?;
        let bits = |states: &[f64]| states.iter().map(|u| u.to_bits()).collect::<Vec<_>>();
        same(
            &format!("states of {:?} of {} with {options:?}", partition.layers(comm.rank()), grid.n_steps()),
            bits(&got.states),
            bits(&expected),
        )?;
    }
    Ok(())
}

fn joined_sweeps_walk_on_from_the_border(comm: &Communicator) -> Checked {
    for (n, factors) in
        [(16, vec![4]), (16, vec![4, 2]), (23, vec![3]), (30, vec![7, 2]), (12, vec![8]), (12, vec![2]), (40, vec![2])]
    {
        let Some(partition) = even(n, comm) else { continue };
        for last_interval in [LastInterval::Short, LastInterval::Tail] {
            let coarsening = Coarsening { max_levels: 3, cfactors: factors.clone(), min_coarse: 1, last_interval };
            check(comm, &Scalar::generic(n), &partition, &coarsening)?;
            let costs: Vec<f64> = (0..n).map(|k| if k % 5 == 3 { 4.0 } else { 1.0 }).collect();
            let uneven = Partition::by_cost(&costs, comm.size()).map_err(text)?;
            check(comm, &Scalar::generic(n), &uneven, &coarsening)?;
        }
    }
    let kind = |c| if c == 't' { StepKind::Transition } else { StepKind::Ode };
    let kinds: Vec<StepKind> = "oooootoooottooot".chars().map(kind).collect();
    let Some(partition) = even(kinds.len(), comm) else { return Ok(()) };
    let problem = Scalar { kinds, ..Scalar::generic(16) };
    let coarsening = Coarsening { max_levels: 3, cfactors: vec![3], min_coarse: 1, last_interval: LastInterval::Short };
    check(comm, &problem, &partition, &coarsening)
}

fn network(max_levels: usize, cfactor: usize, max_iters: usize) -> MgritOptions {
    MgritOptions::network(Coarsening::network(max_levels, cfactor), max_iters)
}

/// Without work on the coarse grid, too.
fn one_rank_joined_is_exact(_: &Communicator) -> Checked {
    let (alone, single) = (Communicator::alone(), one_rank(23));
    let tunable = Tunable::new(Scalar::generic(23), true);
    let grid = tunable.layers.grid(0.3);
    let sequential = MgritOptions::sequential();
    let exact = [&sequential; 2];
    let expected = gradients_on(&alone, (&grid, &single, exact), &tunable, &0.5).map_err(text)?;
    for options in [network(2, 4, 1), network(3, 2, 1)].map(|options| joined(&options)) {
        let got = gradients_on(&alone, (&grid, &single, [&options; 2]), &tunable, &0.5).map_err(text)?;
        for (got, expected) in got.gradients.iter().zip(&expected.gradients) {
            same("gradients", &got.gradients, &expected.gradients)?;
        }
        for report in &got.reports {
            same("coarse evaluations", report.evaluations[1..].iter().sum::<u64>(), 0)?;
        }
    }
    Ok(())
}

/// As many iterations as there are intervals give the sequential gradients; one gives the same with states stored and made again.
fn joined_gradients_converge(comm: &Communicator) -> Checked {
    for n in [5, 16, 23] {
        let Some(partition) = even(n, comm) else { continue };
        let tunable = Tunable::new(Scalar::generic(n), true);
        let grid = tunable.layers.grid(0.3);
        let of = |options: &MgritOptions, activations| {
            gradients_with(activations, comm, (&grid, &partition, [options; 2]), &tunable, &0.5).map_err(text)
        };
        let exact = of(&MgritOptions::sequential(), Activations::Store)?;
        let many = of(&joined(&MgritOptions { norm: None, ..network(2, 4, n) }), Activations::Store)?;
        let [stored, again] = [Activations::Store, Activations::Recompute].map(|activations| {
            let both = [&joined(&network(3, 2, 1)), &joined(&network(2, 3, 1))];
            gradients_with(activations, comm, (&grid, &partition, both), &tunable, &0.5).map_err(text)
        });
        let (stored, again) = (stored?, again?);
        for k in 0..exact.gradients.len() {
            let layer = exact.gradients[k].layer;
            let values = |g: &[f64; 2]| g.to_vec();
            let pairs = values(&many.gradients[k].gradients).into_iter().zip(values(&exact.gradients[k].gradients));
            for (got, expected) in pairs {
                if deviation(expected, got) > 1e-11 {
                    return Err(format!("layer {layer}: gradient {got}, expected {expected}"));
                }
            }
            same("gradients with states made again", &again.gradients[k].gradients, &stored.gradients[k].gradients)?;
        }
    }
    Ok(())
}

/// Of 8 layers in 2 coarse steps a rank, the last rank of either direction takes none; nor where its block begins between C-points,
/// except the step that leads to its first one.
fn the_last_rank_leaves_the_coarse_solve_out(comm: &Communicator) -> Checked {
    let n = 8 * comm.size();
    let tunable = Tunable::new(Scalar::generic(n), true);
    let grid = tunable.layers.grid(0.1);
    let options = joined(&network(2, 4, 1));
    for shift in [0, 1] {
        let borders = (0..=comm.size()).map(|rank| if rank % comm.size() == 0 { 8 * rank } else { 8 * rank + shift });
        let partition = Partition::from_borders(borders).map_err(text)?;
        let found = gradients_on(comm, (&grid, &partition, [&options; 2]), &tunable, &0.5).map_err(text)?;
        // The rank that has a step's first layer takes it: of those across a border, the rank before, which is last on the way back.
        let left_out = if comm.size() == 1 { [2, 2] } else { [2 - shift as u64, 2] };
        for (report, left_out) in found.reports.iter().zip(left_out) {
            same("coarse steps", report.evaluations[1], 2 * comm.size() as u64 - left_out)?;
            same("fine steps", report.evaluations[0], n as u64)?;
        }
    }
    Ok(())
}
