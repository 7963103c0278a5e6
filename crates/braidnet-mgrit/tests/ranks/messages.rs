//! How many messages a solve takes.
//!
//! Where the ranks' blocks end with coarse steps, every border between two ranks costs one message per sweep that
//! changes its point: one per FC sweep of every level, one for the coarse solve, one for a final C-relaxation.
//! F-relaxation, restriction, tau and prolongation cost none.

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_grid::{Coarsening, TimeGrid};
use braidnet_mgrit::{FinalSweep, Guess, Mgrit, MgritOptions, Relaxation, TemporalNorm};

use crate::common::gradients::gradients_on;
use crate::common::problems::Scalar;
use crate::common::run::on;
use crate::common::tunable::Tunable;
use crate::{Checked, even, same, text};

pub const TESTS: &[RankTest] = &[
    ("aligned_blocks_send_one_message_per_sweep", aligned_blocks_send_one_message_per_sweep),
    ("an_aligned_adjoint_sends_one_message_per_sweep", an_aligned_adjoint_sends_one_message_per_sweep),
    ("runs_across_borders_send_what_must_travel", runs_across_borders_send_what_must_travel),
    ("no_norm_no_collective", no_norm_no_collective),
];

/// 144 layers are aligned on 1 to 4 ranks with 2 levels (36 coarse steps) and with 3 (12 steps).
const N: usize = 144;

fn is_aligned(comm: &Communicator) -> bool {
    12 % comm.size() == 0
}

fn network(max_levels: usize, cfactors: &[usize], max_iters: usize) -> MgritOptions {
    let coarsening = Coarsening { cfactors: cfactors.to_vec(), ..Coarsening::network(max_levels, 4) };
    MgritOptions::network(coarsening, max_iters)
}

/// Messages per border: `sweeps` FC sweeps on all levels but the coarsest, and its solve, per iteration.
fn per_border(sweeps: usize, iterations: usize, skips: bool, final_fc: bool) -> u64 {
    let full = if skips { iterations - 1 } else { iterations };
    (sweeps * full + iterations + usize::from(final_fc)) as u64
}

fn aligned_blocks_send_one_message_per_sweep(comm: &Communicator) -> Checked {
    let Some(partition) = even(N, comm).filter(|_| is_aligned(comm)) else { return Ok(()) };
    let problem = Scalar::generic(N);
    let borders = comm.size() as u64 - 1;
    for sweeps in [[0, 0], [0, 1], [1, 1], [2, 1]] {
        for (skips, final_fc) in [(false, false), (true, false), (false, true)] {
            for (levels, iterations) in [(2, 1), (2, 3), (3, 1), (3, 2)] {
                let options = MgritOptions {
                    relaxation: sweeps.map(Relaxation::Fcf).to_vec(),
                    skip_downcycle: skips,
                    final_sweep: if final_fc { FinalSweep::Fc } else { FinalSweep::F },
                    norm: Some(TemporalNorm::Two),
                    ..network(levels, &[4, 3], iterations)
                };
                let solved = on(comm, (&problem.grid(0.1), &partition, &options), &problem, 0.5, &|_| 0.0);
                let report = solved.map_err(text)?.report;
                let expected = borders * per_border(sweeps[..levels - 1].iter().sum(), iterations, skips, final_fc);
                same(&format!("messages with {options:?}"), report.messages, expected)?;
                same("bytes", report.bytes, 8 * expected)?;
            }
        }
    }
    Ok(())
}

fn an_aligned_adjoint_sends_one_message_per_sweep(comm: &Communicator) -> Checked {
    let Some(partition) = even(N, comm).filter(|_| is_aligned(comm)) else { return Ok(()) };
    let borders = comm.size() as u64 - 1;
    let tunable = Tunable::new(Scalar::generic(N), true);
    let (forward, backward) = (network(3, &[4, 3], 2), network(3, &[4, 3], 3));
    let setup = (&tunable.layers.grid(0.05), &partition, [&forward, &backward]);
    let reports = gradients_on(comm, setup, &tunable, &0.5).map_err(text)?.reports;
    same("forward", reports[0].messages, borders * per_border(1, 2, true, false))?;
    same("adjoint", reports[1].messages, borders * per_border(1, 3, true, false))
}

/// 8 layers on 3 ranks own 0..3, 3..6, 6..8; coarse steps 0..4 and 4..8 belong to ranks 0 and 1.
///
/// Per iteration: 2 in the F-relaxation (points 3 and 6 are F-points), state and residual of points 4 and 8 to the
/// rank of the coarse step that ends there (4), 1 in the coarse solve, the correction of point 8 back to rank 2.
/// After the last: 2 in the final F-relaxation.
fn runs_across_borders_send_what_must_travel(comm: &Communicator) -> Checked {
    let Some(partition) = even(8, comm).filter(|_| comm.size() == 3) else { return Ok(()) };
    let problem = Scalar::generic(8);
    for iterations in [1, 2, 5] {
        let options = MgritOptions { skip_downcycle: false, ..network(2, &[4], iterations) };
        let solved = on(comm, (&problem.grid(0.1), &partition, &options), &problem, 0.5, &|_| 0.0);
        same("messages", solved.map_err(text)?.report.messages, 8 * iterations as u64 + 2)?;
    }
    Ok(())
}

fn no_norm_no_collective(comm: &Communicator) -> Checked {
    let Some(partition) = even(30, comm) else { return Ok(()) };
    let grid = TimeGrid::uniform(30, 0.0, 2.0).map_err(text)?;
    for norm in [None, Some(TemporalNorm::Two)] {
        let options = MgritOptions { norm, skip_downcycle: false, ..network(3, &[4, 3], 2) };
        let before = comm.traffic();
        let mut solver = Mgrit::new(&grid, &partition, options, comm).map_err(text)?;
        let report = solver.solve(&Scalar::generic(30), Some(0.5), Guess::From(&|_| 0.0)).map_err(text)?;
        let after = comm.traffic();
        same("messages", after.messages - before.messages, report.messages)?;
        same("bytes", after.bytes - before.bytes, report.bytes)?;
        let collectives = after.collective_messages - before.collective_messages;
        same("collectives", collectives > 0, norm.is_some() && comm.size() > 1)?;
    }
    Ok(())
}
