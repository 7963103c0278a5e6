//! Transformers of every kind: what training makes of them does not depend on layer ranks, and is what they are.

use std::path::Path;

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::Relaxation;
use braidnet_nn::CoarseOperator;
use braidnet_nn::transformer::{EncoderDecoderConfig, TransformerConfig};
use braidnet_train::{Activations, OptimizerConfig, Schedule, SolveConfig, TrainerConfig};

use crate::common::compare::{Checked, distance, ensure, same, same_bits, text};
use crate::common::families::{Family, alone_of, decoder, encoder, fit_of, fresh_gradient, model_of, pair};
use crate::common::pipeline;
use crate::common::run::{mesh, meshes, training, with_folder};

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

/// Two epochs of two steps on six samples, the second step with two of them; clipped.
fn eventful(out: &Path) -> TrainerConfig {
    TrainerConfig { batch: 4, micro_batches: 2, clip: Some(0.5), optimizer: OptimizerConfig::Adam, ..training(out) }
}

fn curve<F: Family>(family: &F, world: &Communicator) -> Checked {
    for schedule in schedules() {
        with_folder(world, |folder| {
            let what = format!("{family:?}, {schedule}");
            let expected = alone_of(family, &schedule, eventful, 6)?;
            let got = fit_of(family, &mesh(world, world.size())?, &schedule, &eventful(folder), 6).map_err(text)?;
            same(&what, &(got.steps.len(), got.losses()), &(4, expected.losses()))?;
            same(&what, &got.epochs, &expected.epochs)?;
            same_bits(&what, &got.parameters, &expected.parameters)?;
            let norms = |steps: &[braidnet_monitor::metrics::Step]| -> Vec<_> {
                steps.iter().map(|step| (step.gradient_norm, step.clipped)).collect()
            };
            same(&what, &norms(&got.steps), &norms(&expected.steps))?;
            let losses: Vec<f64> = expected.losses().into_iter().flatten().collect();
            // The same samples again, in another order.
            ensure(losses[2] + losses[3] < losses[0] + losses[1], || format!("{what}: losses {losses:?}"))
        })?;
    }
    Ok(())
}

fn a_transformers_curve_does_not_depend_on_layer_ranks(world: &Communicator) -> Checked {
    of_all(world, |family| curve(family, world), |family| curve(family, world))
}

/// On any mesh and cut the exact schedules have the same gradients, and those of one rank but for rounding.
fn agree<F: Family>(family: &F, world: &Communicator) -> Checked {
    let exact = Schedule::sequential();
    let whole = fresh_gradient(family, &Mesh::alone(), &exact, (7, 1), None).map_err(text)?;
    for mesh in meshes(world)? {
        for cut in [(7, 1), (7, 3)] {
            let expected = fresh_gradient(family, &mesh, &exact, cut, None).map_err(text)?;
            let what = format!("{family:?}, {mesh:?}, {cut:?}");
            let off = distance(&expected.gradients, &whole.gradients);
            ensure(off < 1e-5, || format!("{what}: off by {off:e}"))?;
            ensure((expected.loss / whole.loss - 1.0).abs() < 1e-6, || format!("{what}: loss {}", expected.loss))?;
            for activations in [Activations::Store, Activations::Recompute] {
                for schedule in [Schedule { activations, ..exact.clone() }, Schedule { activations, ..pipeline() }] {
                    let got = fresh_gradient(family, &mesh, &schedule, cut, None).map_err(text)?;
                    let what = format!("{what}, {schedule}");
                    same(&what, &got.loss, &expected.loss)?;
                    same_bits(&what, &got.gradients, &expected.gradients)?;
                }
            }
        }
    }
    Ok(())
}

fn a_transformers_schedules_agree_on_a_step(world: &Communicator) -> Checked {
    of_all(world, |family| agree(family, world), |family| agree(family, world))
}

fn plain<F: Family>(family: &F, world: &Communicator) -> Checked {
    let samples: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
    let input = F::inputs(&samples);
    let mut model = model_of(family, &Schedule::sequential(), world).map_err(text)?;
    let values = |output: burn::tensor::Tensor<2>| output.to_data().iter::<f32>().collect::<Vec<_>>();
    let scheduled = model.evaluate(4, Some(&input)).map_err(text)?.map(values);
    let exact = model.evaluate_exact(4, Some(&input)).map_err(text)?.map(values);
    let expected = (world.rank() + 1 == world.size()).then(|| family.plain_output(&input)).transpose()?.map(values);
    same(&format!("{family:?}, as scheduled"), &scheduled, &expected)?;
    same(&format!("{family:?}, exact"), &exact, &expected)
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
