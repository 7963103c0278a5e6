//! Coarser grids on coarse levels: what comes out is the same, and so it is on any ranks.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::Relaxation;
use braidnet_nn::{BlockNetConfig, CoarseOperator, NormKind, OdeNet2dConfig, Restriction, SpaceCoarsening};
use braidnet_train::{Activations, InitialGuess, Schedule, SolveConfig};

use crate::common::blocks::blocks;
use crate::common::compare::{Checked, distance, ensure, same, same_bits, text};
use crate::common::config;
use crate::common::families::{Family, fit_of, fresh_gradient};
use crate::common::run::{mesh, meshes, training};

pub const TESTS: &[RankTest] = &[
    ("coarser_grids_converge_to_exact_gradients", coarser_grids_converge_to_exact_gradients),
    (
        "a_run_with_coarser_grids_does_not_depend_on_layer_ranks",
        a_run_with_coarser_grids_does_not_depend_on_layer_ranks,
    ),
];

fn space(restriction: Restriction, levels: &[usize]) -> Option<SpaceCoarsening> {
    Some(SpaceCoarsening { restriction, levels: levels.to_vec() })
}

/// Blocks of two shapes, 8x8 and 4x4 on the finest level.
fn coarsened(norm: Option<NormKind>, space: Option<SpaceCoarsening>) -> BlockNetConfig {
    BlockNetConfig { image: [1, 8, 8], space, coarse: CoarseOperator::Midpoint, ..blocks(&[5, 4], norm) }
}

fn fcf(levels: usize, cfactor: usize, max_iters: usize) -> SolveConfig {
    let relaxation = Relaxation::Fcf(1);
    SolveConfig { max_levels: levels, max_iters, relaxation, skip_downcycle: false, ..SolveConfig::new(cfactor) }
}

/// F- and C-points are relaxed on the fine grid: as many iterations as intervals are exact, whatever the coarse grid says.
fn converges<F: Family>(family: &F, world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        let exact = fresh_gradient(family, &mesh, &Schedule::sequential(), (4, 1), None).map_err(text)?;
        for (levels, cfactor) in [(2, 2), (2, 4), (3, 2)] {
            for activations in [Activations::Store, Activations::Recompute] {
                let off = |max_iters| {
                    let schedule =
                        Schedule { activations, ..Schedule::layer_parallel(fcf(levels, cfactor, max_iters)) };
                    let got = fresh_gradient(family, &mesh, &schedule, (4, 1), None).map_err(text)?;
                    let off = vec![distance(&got.gradients, &exact.gradients), (got.loss / exact.loss - 1.0).abs()];
                    let all = world.all_gather(off, &()).map_err(text)?;
                    Ok::<_, String>([0, 1].map(|n| all.iter().map(|off| off[n]).fold(0.0, f64::max)))
                };
                let (few, many) = (off(1)?, off(14)?);
                ensure(many[0] < 2e-5 && many[1] < 1e-6 && few[0] > 1e-4, || {
                    format!("{family:?}, {mesh:?}, {levels} levels, cfactor {cfactor}: {few:?}, then {many:?}")
                })?;
            }
        }
    }
    Ok(())
}

fn coarser_grids_converge_to_exact_gradients(world: &Communicator) -> Checked {
    for restriction in [Restriction::FullWeighting, Restriction::Injection] {
        let group = Some(NormKind::Group(2));
        for norm in [None, group, Some(NormKind::Batch)] {
            converges(&coarsened(norm, space(restriction, &[0])), world)?;
        }
        converges(&coarsened(group, space(restriction, &[1])), world)?;
        converges(&OdeNet2dConfig { space: space(restriction, &[0]), ..config(10) }, world)?;
    }
    Ok(())
}

/// Also with F-relaxation alone, where the curve is that of another method, but the same everywhere.
fn a_run_with_coarser_grids_does_not_depend_on_layer_ranks(world: &Communicator) -> Checked {
    let family = coarsened(Some(NormKind::Batch), space(Restriction::FullWeighting, &[0]));
    let whole = coarsened(Some(NormKind::Batch), None);
    let f = SolveConfig { relaxation: Relaxation::F, ..fcf(2, 2, 2) };
    let skipping = SolveConfig { skip_downcycle: true, ..fcf(2, 4, 1) };
    let carried = SolveConfig { guess: InitialGuess::Carried, ..fcf(2, 4, 1) };
    for solve in [f, skipping, carried, fcf(3, 2, 1)] {
        let schedule = Schedule::layer_parallel(solve);
        let run = |family: &BlockNetConfig, mesh: &Mesh| {
            let folder = tempfile::tempdir().map_err(text)?;
            let mut config = training(folder.path());
            config.out = None;
            fit_of(family, mesh, &schedule, &config, 6).map_err(text)
        };
        let (got, expected) = (run(&family, &mesh(world, world.size())?)?, run(&family, &Mesh::alone())?);
        same("steps", &got.outcome.step, &4)?;
        same_bits(&schedule.to_string(), &got.parameters, &expected.parameters)?;
        let other = distance(&expected.parameters, &run(&whole, &Mesh::alone())?.parameters);
        ensure(other > 1e-6, || format!("{schedule}: coarser grids change the parameters by {other:e} only"))?;
        let finite = got.parameters.values().flatten().all(|v| v.is_finite());
        ensure(finite, || format!("{schedule}: parameters are not finite"))?;
    }
    Ok(())
}
