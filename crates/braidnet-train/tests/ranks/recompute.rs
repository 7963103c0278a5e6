//! Activations that are recomputed: nothing changes but the memory.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::Relaxation;
use braidnet_nn::transformer::TransformerConfig;
use braidnet_train::{Activations, Schedule, ScheduleKind, SolveConfig};

use crate::common::compare::{Checked, ensure, same, same_bits, text};
use crate::common::families::{Family, encoder, model_of};
use crate::common::run::{meshes, step};
use crate::common::schedules;

pub const TESTS: &[RankTest] = &[
    ("recomputing_changes_no_bit", recomputing_changes_no_bit),
    ("state_errors_are_those_of_the_states_kept", state_errors_are_those_of_the_states_kept),
];

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

/// The others hold the guess, whose error would be near 1.
fn state_errors_are_those_of_the_states_kept(world: &Communicator) -> Checked {
    let family = encoder(8);
    let samples: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
    let input = TransformerConfig::inputs(&samples);
    for activations in [Activations::Store, Activations::Recompute] {
        let error_of = |schedule: Schedule| {
            let mut model = model_of(&family, &Schedule { activations, ..schedule }, world).map_err(text)?;
            model.state_error(4, Some(&input)).map_err(text)
        };
        let exact = error_of(Schedule::sequential())?;
        ensure(exact == 0.0, || format!("{activations:?}: {exact} of exact states"))?;
        let relaxation = Relaxation::Fcf(1);
        let solve = SolveConfig { max_iters: 8, relaxation, ..SolveConfig::new(2) };
        let converged = error_of(Schedule::layer_parallel(solve))?;
        ensure(converged < 1e-4, || format!("{activations:?}: {converged} of converged states"))?;
    }
    Ok(())
}
