//! Transformers of every kind: what training makes of them does not depend on layer ranks, and is what they are.

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_mgrit::Relaxation;
use braidnet_nn::CoarseOperator;
use braidnet_nn::transformer::{EncoderDecoderConfig, TransformerConfig};
use braidnet_train::{Activations, Schedule, SolveConfig};

use crate::common::compare::{Checked, distance, ensure, text};
use crate::common::families::{Family, decoder, encoder, fresh_gradient, pair};
use crate::common::pipeline;
use crate::common::run::meshes;
use crate::of_any::{agree, curve, plain};

pub const TESTS: &[RankTest] = &[
    ("a_transformers_curve_does_not_depend_on_layer_ranks", a_transformers_curve_does_not_depend_on_layer_ranks),
    ("a_transformers_schedules_agree_on_a_step", a_transformers_schedules_agree_on_a_step),
    ("a_sequential_transformer_is_the_plain_loop", a_sequential_transformer_is_the_plain_loop),
    ("a_converged_transformer_has_exact_gradients", a_converged_transformer_has_exact_gradients),
];

fn solve(cfactor: usize, max_iters: usize) -> SolveConfig {
    SolveConfig { max_iters, relaxation: Relaxation::Fcf(1), ..SolveConfig::new(cfactor) }
}

/// Two of a kind of solve, three levels, and what is exact; with activations stored and recomputed.
fn schedules() -> Vec<Schedule> {
    let three = SolveConfig { max_levels: 3, ..solve(2, 2) };
    let recompute = |schedule| Schedule { activations: Activations::Recompute, ..schedule };
    vec![
        Schedule::sequential(),
        Schedule::layer_parallel(solve(2, 2)),
        recompute(Schedule::layer_parallel(solve(4, 3))),
        Schedule { forward: SolveConfig { skip_downcycle: false, ..solve(4, 2) }, ..Schedule::layer_parallel(three) },
        pipeline(),
        recompute(pipeline()),
    ]
}

/// Every kind of transformer. One whose coarse steps need several layers where no coarse step is split.
fn of_all(
    world: &Communicator,
    mut check: impl FnMut(&TransformerConfig) -> Checked,
    mut of_pair: impl FnMut(&EncoderDecoderConfig) -> Checked,
) -> Checked {
    check(&encoder(8))?;
    check(&TransformerConfig { coarse: CoarseOperator::Midpoint, ..encoder(8) })?;
    check(&decoder(8))?;
    of_pair(&pair(4, false))?;
    of_pair(&pair(4, true))?;
    if world.size() <= 2 {
        let coarse = CoarseOperator::Centred;
        check(&TransformerConfig { coarse, ..decoder(8) })?;
        of_pair(&EncoderDecoderConfig { coarse, ..pair(4, true) })?;
    }
    Ok(())
}

fn a_transformers_curve_does_not_depend_on_layer_ranks(world: &Communicator) -> Checked {
    let all = schedules();
    of_all(world, |family| curve(family, &all, world), |family| curve(family, &all, world))
}

fn a_transformers_schedules_agree_on_a_step(world: &Communicator) -> Checked {
    of_all(world, |family| agree(family, world), |family| agree(family, world))
}

fn a_sequential_transformer_is_the_plain_loop(world: &Communicator) -> Checked {
    of_all(world, |family| plain(family, world), |family| plain(family, world))
}

/// As many iterations as make MGRIT exact, and one.
fn converged<F: Family>(family: &F, world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        let exact = fresh_gradient(family, &mesh, &Schedule::sequential(), (4, 2), None).map_err(text)?;
        for (cfactor, levels) in [(2, 2), (4, 2), (2, 3)] {
            let off = |max_iters| {
                let solve = SolveConfig { max_levels: levels, ..solve(cfactor, max_iters) };
                let got = fresh_gradient(family, &mesh, &Schedule::layer_parallel(solve), (4, 2), None);
                got.map(|got| (distance(&got.gradients, &exact.gradients), (got.loss / exact.loss - 1.0).abs()))
            };
            let [few, many] = [1, 8].map(off);
            let ((few, _), (many, loss)) = (few.map_err(text)?, many.map_err(text)?);
            // A rank of a decoder's layers may already be exact after one iteration, but not all of them.
            let all = world.all_gather(few, &()).map_err(text)?;
            let few = all.into_iter().fold(0.0, f64::max);
            ensure(many < 1e-5 && loss < 1e-6 && few > 1e-4, || {
                format!("{family:?}, {mesh:?}, cfactor {cfactor}, {levels} levels: {few:e}, then {many:e}, {loss:e}")
            })?;
        }
    }
    Ok(())
}

fn a_converged_transformer_has_exact_gradients(world: &Communicator) -> Checked {
    of_all(world, |family| converged(family, world), |family| converged(family, world))
}
