//! Networks of blocks: states of several shapes, transitions between them, blocks that no number of ranks divides.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::Relaxation;
use braidnet_nn::{BlockNetConfig, CoarseOperator, NormKind, Pooling};
use braidnet_train::trainer::Plan;
use braidnet_train::{Activations, InitialGuess, OptimizerConfig, Schedule, ScheduleKind, SolveConfig};

use crate::common::blocks::blocks;
use crate::common::compare::{Checked, distance, ensure, same, same_bits, text};
use crate::common::families::{Family, Gradient, fresh_gradient, model_of};
use crate::common::pipeline;
use crate::common::run::meshes;
use crate::of_any::{agree, curve, plain};

pub const TESTS: &[RankTest] = &[
    ("a_curve_of_blocks_does_not_depend_on_layer_ranks", a_curve_of_blocks_does_not_depend_on_layer_ranks),
    ("schedules_of_blocks_agree_on_a_step", schedules_of_blocks_agree_on_a_step),
    ("sequential_blocks_are_the_plain_loop", sequential_blocks_are_the_plain_loop),
    ("converged_blocks_have_exact_states_and_gradients", converged_blocks_have_exact_states_and_gradients),
    ("one_iteration_of_blocks_has_the_same_bits_everywhere", one_iteration_of_blocks_has_the_same_bits_everywhere),
    ("a_step_of_blocks_does_what_the_plan_counts", a_step_of_blocks_does_what_the_plan_counts),
];

/// Every norm and pooling, one and two convolutions, layers outside the solver.
fn families() -> Vec<BlockNetConfig> {
    let batch = Some(NormKind::Batch);
    vec![
        blocks(&[3, 5, 1, 4], batch),
        BlockNetConfig { coarse: CoarseOperator::Midpoint, pooling: Pooling::Average, ..blocks(&[7, 2], batch) },
        BlockNetConfig { convs: 1, pooling: Pooling::None, ..blocks(&[1, 1, 1], None) },
        BlockNetConfig { pooling: Pooling::Average, ..blocks(&[3, 5], Some(NormKind::Group(2))) },
        BlockNetConfig { buffer: 2, ..blocks(&[1, 4, 3], Some(NormKind::Layer)) },
    ]
}

fn solve(levels: usize, cfactor: usize, max_iters: usize) -> SolveConfig {
    let relaxation = Relaxation::Fcf(1);
    SolveConfig { max_levels: levels, max_iters, relaxation, min_coarse: 1, ..SolveConfig::new(cfactor) }
}

/// One iteration and several, two and three levels, other solves forward than backward.
fn inexact() -> Vec<Schedule> {
    let recompute = |schedule| Schedule { activations: Activations::Recompute, ..schedule };
    let carried = SolveConfig { guess: InitialGuess::Carried, skip_downcycle: false, ..solve(2, 4, 1) };
    let mixed = Schedule::new(ScheduleKind::LayerParallel, SolveConfig::new(4), solve(3, 2, 2));
    vec![
        Schedule::layer_parallel(SolveConfig::new(2)),
        recompute(Schedule::layer_parallel(SolveConfig { skip_downcycle: false, ..solve(3, 2, 2) })),
        Schedule::layer_parallel(SolveConfig::new(8)),
        recompute(Schedule::layer_parallel(solve(2, 3, 2))),
        mixed,
        Schedule::layer_parallel(carried),
    ]
}

fn a_curve_of_blocks_does_not_depend_on_layer_ranks(world: &Communicator) -> Checked {
    let mut all = inexact();
    all.extend([Schedule::sequential(), pipeline()]);
    families().iter().filter(|family| can_have(family, world.size())).try_for_each(|family| curve(family, &all, world))
}

/// Whether there is a layer for every rank.
fn can_have(family: &BlockNetConfig, ranks: usize) -> bool {
    family.n_layers() >= 2 * family.buffer + ranks
}

fn schedules_of_blocks_agree_on_a_step(world: &Communicator) -> Checked {
    families().iter().try_for_each(|family| agree(family, world))
}

fn sequential_blocks_are_the_plain_loop(world: &Communicator) -> Checked {
    families().iter().filter(|family| family.buffer == 0).try_for_each(|family| plain(family, world))
}

/// As many iterations as there are intervals.
fn converged_blocks_have_exact_states_and_gradients(world: &Communicator) -> Checked {
    for family in families() {
        for mesh in meshes(world)? {
            let exact = fresh_gradient(&family, &mesh, &Schedule::sequential(), (6, 1), None).map_err(text)?;
            for (levels, cfactor) in [(2, 2), (2, 3), (3, 2), (2, 4), (3, 3), (2, 8)] {
                let what = format!("{family:?}, {mesh:?}, {levels} levels, cfactor {cfactor}");
                let off = |max_iters| {
                    let schedule = Schedule::layer_parallel(solve(levels, cfactor, max_iters));
                    let got = fresh_gradient(&family, &mesh, &schedule, (6, 1), None).map_err(text)?;
                    let mut model = model_of(&family, &schedule, mesh.layer()).map_err(text)?;
                    let samples: Vec<_> = (0..6).map(|n| family.sample(n)).collect();
                    let states = model.state_error(6, Some(&BlockNetConfig::inputs(&samples))).map_err(text)?;
                    let off = [distance(&got.gradients, &exact.gradients), states, (got.loss / exact.loss - 1.0).abs()];
                    let all = world.all_gather(off.to_vec(), &()).map_err(text)?;
                    Ok::<_, String>([0, 1, 2].map(|n| all.iter().map(|off| off[n]).fold(0.0, f64::max)))
                };
                let (few, many) = (off(1)?, off(12)?);
                ensure(many[0] < 2e-5 && many[1] < 1e-5 && many[2] < 1e-6, || format!("{what}: off by {many:?}"))?;
                // Blocks of one layer each leave nothing to approximate.
                let is_approximate = family.per_block.iter().any(|n| *n > 1);
                ensure((few[0] > 1e-4) == is_approximate, || format!("{what}: off by {few:?} after one iteration"))?;
            }
        }
    }
    Ok(())
}

fn one_iteration_of_blocks_has_the_same_bits_everywhere(world: &Communicator) -> Checked {
    let mesh = crate::common::run::mesh(world, world.size())?;
    for family in families().iter().filter(|family| can_have(family, world.size())) {
        for schedule in inexact() {
            for cut in [(4, 1), (5, 2)] {
                let step = |mesh: &Mesh| fresh_gradient(family, mesh, &schedule, cut, None).map_err(text);
                let (got, expected): (Gradient, Gradient) = (step(&mesh)?, step(&Mesh::alone())?);
                let what = format!("{family:?}, {schedule}, {cut:?}");
                same(&what, &got.loss, &expected.loss)?;
                same_bits(&what, &got.gradients, &expected.gradients)?;
            }
        }
    }
    Ok(())
}

fn a_step_of_blocks_does_what_the_plan_counts(world: &Communicator) -> Checked {
    let family = blocks(&[3, 5, 1, 4], Some(NormKind::Batch));
    for mesh in meshes(world)? {
        for schedule in inexact().into_iter().chain([Schedule::sequential()]) {
            let model = model_of(&family, &schedule, mesh.layer()).map_err(text)?;
            let plan = Plan::new(&mesh, &model, &schedule, OptimizerConfig::Adam, (4, 1)).map_err(text)?;
            let own = &plan.ranks[mesh.layer_rank()];
            let cut = (4 * mesh.shape().data_ranks, 1);
            let report = fresh_gradient(&family, &mesh, &schedule, cut, None).map_err(text)?.report;
            let what = format!("{mesh:?}, {schedule}");
            let reports = [&report.forward, &report.backward];
            let evaluations = reports.map(|report| report.as_ref().map_or(0, |r| r.evaluations.iter().sum()));
            same(&what, &own.evaluations, &evaluations)?;
            let messages = reports.map(|report| report.as_ref().map_or(0, |r| r.messages)).iter().sum();
            same(&what, &own.messages, &messages)?;
            let state = own.layers.len() + 1;
            same(&what, &own.points.first(), &Some(&state))?;
        }
    }
    Ok(())
}
