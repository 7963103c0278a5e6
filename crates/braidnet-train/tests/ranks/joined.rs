//! Intervals of a rank joined in the last sweep: what they yield depends on the layer ranks, so tests say of what.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_nn::{BlockNetConfig, NormKind};
use braidnet_train::{Activations, Schedule, ScheduleKind, SolveConfig};

use crate::common::blocks::blocks;
use crate::common::compare::{Checked, distance, ensure, same, same_bits, text};
use crate::common::families::{Family, decoder, encoder, fresh_gradient};
use crate::common::recurrent::gru;
use crate::common::run::meshes;

pub const TESTS: &[RankTest] = &[
    ("joined_on_one_layer_rank_is_sequential", joined_on_one_layer_rank_is_sequential),
    ("joined_keeps_what_it_needs_and_converges", joined_keeps_what_it_needs_and_converges),
];

fn solve(levels: usize, cfactor: usize, max_iters: usize) -> SolveConfig {
    SolveConfig { max_levels: levels, max_iters, min_coarse: 1, join_intervals: true, ..SolveConfig::new(cfactor) }
}

fn blocks_with_batch_norm() -> BlockNetConfig {
    blocks(&[3, 5, 1, 4], Some(NormKind::Batch))
}

/// The same bits, from the start: nothing of the coarse grid is left.
fn joined_on_one_layer_rank_is_sequential(_: &Communicator) -> Checked {
    fn of(family: &impl Family) -> Checked {
        let expected = fresh_gradient(family, &Mesh::alone(), &Schedule::sequential(), (5, 2), None).map_err(text)?;
        let skips = SolveConfig { skip_downcycle: false, ..solve(2, 3, 2) };
        for schedule in [Schedule::layer_parallel(solve(2, 4, 1)), Schedule::layer_parallel(skips)] {
            let got = fresh_gradient(family, &Mesh::alone(), &schedule, (5, 2), None).map_err(text)?;
            let what = format!("{family:?}, {schedule}");
            same(&what, &got.loss, &expected.loss)?;
            same_bits(&what, &got.gradients, &expected.gradients)?;
        }
        Ok(())
    }
    of(&encoder(8))?;
    of(&decoder(8))?;
    of(&gru(13, 1))?;
    of(&blocks_with_batch_norm())
}

/// On any mesh: the same bits with activations kept and made again; as many iterations as intervals give the exact gradients, and
/// with them the statistics of a batch norm.
fn joined_keeps_what_it_needs_and_converges(world: &Communicator) -> Checked {
    fn of(family: &impl Family, world: &Communicator) -> Checked {
        for mesh in meshes(world)? {
            let of = |schedule: &Schedule| fresh_gradient(family, &mesh, schedule, (5, 1), None).map_err(text);
            let exact = of(&Schedule::sequential())?;
            for kind in [ScheduleKind::LayerParallel, ScheduleKind::Mixed] {
                let inexact = Schedule::new(kind, solve(3, 2, 1), solve(2, 3, 1));
                let again = Schedule { activations: Activations::Recompute, ..inexact.clone() };
                let what = format!("{family:?}, {mesh:?}, {inexact}");
                same_bits(&what, &of(&again)?.gradients, &of(&inexact)?.gradients)?;
                let converged = of(&Schedule::new(kind, solve(2, 2, 12), solve(2, 2, 12)))?;
                let off = distance(&converged.gradients, &exact.gradients);
                ensure(off < 1e-4, || format!("{what}, 12 iterations: off by {off:e}"))?;
            }
        }
        Ok(())
    }
    of(&encoder(8), world)?;
    of(&gru(13, 1), world)?;
    of(&blocks_with_batch_norm(), world)
}
