//! Activations that are recomputed: nothing changes but the memory.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_train::{Activations, Schedule, ScheduleKind, SolveConfig};

use crate::common::compare::{Checked, same, same_bits, text};
use crate::common::run::{meshes, step};
use crate::common::schedules;

pub const TESTS: &[RankTest] = &[("recomputing_changes_no_bit", recomputing_changes_no_bit)];

fn recomputing_changes_no_bit(world: &Communicator) -> Checked {
    let mut all = schedules();
    let solve = |max_levels, cfactor, max_iters| SolveConfig { max_levels, max_iters, ..SolveConfig::new(cfactor) };
    all.push(Schedule::layer_parallel(solve(2, 3, 2)));
    all.push(Schedule::new(ScheduleKind::LayerParallel, solve(2, 3, 1), solve(3, 2, 2)));
    all.push(Schedule::new(ScheduleKind::LayerParallel, solve(2, 2, 2), solve(2, 5, 1)));
    all.push(Schedule::layer_parallel(SolveConfig { skip_downcycle: false, ..solve(3, 2, 2) }));
    for stored in all {
        let recomputed = Schedule { activations: Activations::Recompute, ..stored.clone() };
        let alone = step(&Mesh::alone(), &stored, (5, 2), None).map_err(text)?;
        for mesh in meshes(world)? {
            let what = format!("{mesh:?}, {recomputed}");
            let expected = step(&mesh, &stored, (5, 2), None).map_err(text)?;
            let got = step(&mesh, &recomputed, (5, 2), None).map_err(text)?;
            same(&what, &got.loss, &expected.loss)?;
            same_bits(&what, &got.gradients, &expected.gradients)?;
            if mesh.shape().data_ranks == 1 {
                same(&what, &got.loss, &alone.loss)?;
                same_bits(&what, &got.gradients, &alone.gradients)?;
            }
        }
    }
    Ok(())
}
