//! Networks of blocks on more ranks than elsewhere, up to one for every layer.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use braidnet_comm::{Communicator, Launch, Mesh, launch};
use braidnet_mgrit::Relaxation;
use braidnet_nn::{BlockNetConfig, NormKind};
use braidnet_train::{Activations, Schedule, SolveConfig};

use common::blocks::blocks;
use common::compare::{Checked, distance, ensure, same, same_bits, text};
use common::families::fresh_gradient;
use common::pipeline;
use common::run::mesh;

/// One iteration: the same bits. Many: the exact gradients.
fn on_ranks(family: &BlockNetConfig, world: &Communicator) -> Checked {
    let mesh = mesh(world, world.size())?;
    let step = |mesh: &Mesh, schedule: &Schedule| fresh_gradient(family, mesh, schedule, (4, 2), None).map_err(text);
    let exact = step(&Mesh::alone(), &Schedule::sequential())?;
    for (levels, cfactor) in [(2, 2), (2, 3), (3, 2), (2, 8)] {
        for activations in [Activations::Store, Activations::Recompute] {
            for max_iters in [1, 12] {
                let relaxation = Relaxation::Fcf(1);
                let solve = SolveConfig { max_levels: levels, max_iters, relaxation, ..SolveConfig::new(cfactor) };
                let schedule = Schedule { activations, ..Schedule::layer_parallel(solve) };
                let what = format!("{family:?}, {} ranks, {schedule}", world.size());
                let (got, alone) = (step(&mesh, &schedule)?, step(&Mesh::alone(), &schedule)?);
                same(&what, &got.loss, &alone.loss)?;
                same_bits(&what, &got.gradients, &alone.gradients)?;
                let off = distance(&got.gradients, &exact.gradients);
                ensure(max_iters == 1 || off < 2e-5, || format!("{what}: off by {off:e}"))?;
            }
        }
    }
    for schedule in [Schedule::sequential(), pipeline()] {
        let got = step(&mesh, &schedule)?;
        same_bits(&format!("{family:?}, {schedule}"), &got.gradients, &exact.gradients)?;
    }
    Ok(())
}

fn on(ranks: usize, per_block: &[usize], norm: Option<NormKind>) {
    let family = blocks(per_block, norm);
    launch(&Launch::ranks(ranks), |world| on_ranks(&family, &world)).unwrap();
}

#[test]
fn blocks_on_five_ranks() {
    on(5, &[3, 5, 1, 4], Some(NormKind::Batch));
    on(5, &[7, 2], Some(NormKind::Layer));
}

#[test]
fn blocks_on_six_ranks() {
    on(6, &[3, 5, 1, 4], Some(NormKind::Group(2)));
    on(6, &[7, 2], Some(NormKind::Batch));
}

#[test]
fn as_many_ranks_as_layers() {
    on(5, &[1, 1, 1], Some(NormKind::Batch));
    on(6, &[1, 2, 1], None);
    on(6, &[3, 2], Some(NormKind::Batch));
}
