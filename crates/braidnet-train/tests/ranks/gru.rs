//! Recurrent networks: states do not depend on ranks, gradients but for rounding, as the sums over the steps that share parameters
//! are grouped by ranks; a converged solve is the sequential one.

use std::path::Path;

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::Relaxation;
use braidnet_nn::CoarseOperator;
use braidnet_nn::gru::{GruCoarse, GruConfig, GruForm};
use braidnet_train::{Activations, OptimizerConfig, Schedule, SolveConfig, TrainerConfig};

use crate::common::compare::{Checked, distance, ensure, same, same_bits, text};
use crate::common::families::{Family, alone_of, fit_of, fresh_gradient, model_of, samples_of, trainer_of};
use crate::common::pipeline;
use crate::common::recurrent::{gru, gru_of_tokens};
use crate::common::run::{mesh, meshes, training, with_folder};

pub const TESTS: &[RankTest] = &[
    ("a_sequential_recurrent_network_is_the_plain_loop", a_sequential_recurrent_network_is_the_plain_loop),
    ("a_recurrent_networks_states_do_not_depend_on_ranks", a_recurrent_networks_states_do_not_depend_on_ranks),
    ("a_recurrent_networks_schedules_agree_on_a_step", a_recurrent_networks_schedules_agree_on_a_step),
    ("a_recurrent_networks_curve_does_not_depend_on_ranks", a_recurrent_networks_curve_does_not_depend_on_ranks),
    ("sequences_of_any_length_converge_to_exact_gradients", sequences_of_any_length_converge_to_exact_gradients),
    ("enough_iterations_are_exact_for_every_coarse_step", enough_iterations_are_exact_for_every_coarse_step),
];

fn solve(max_levels: usize, cfactor: usize, max_iters: usize) -> SolveConfig {
    SolveConfig { max_levels, max_iters, relaxation: Relaxation::Fcf(1), ..SolveConfig::new(cfactor) }
}

fn recomputed(schedule: Schedule) -> Schedule {
    Schedule { activations: Activations::Recompute, ..schedule }
}

/// One and two cells, features and tokens; more steps than ranks divide.
fn families() -> [GruConfig; 3] {
    [gru(13, 1), gru(10, 2), gru_of_tokens(11, 2)]
}

/// The output as the schedule makes it and as it is, on the last rank.
fn outputs(family: &GruConfig, schedule: &Schedule, comm: &Communicator) -> Result<[Option<Vec<f32>>; 2], String> {
    let samples: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
    let input = GruConfig::inputs(&samples);
    let mut model = model_of(family, schedule, comm).map_err(text)?;
    let values = |output: burn::tensor::Tensor<2>| output.to_data().iter::<f32>().collect::<Vec<_>>();
    let scheduled = model.evaluate(4, Some(&input)).map_err(text)?.map(values);
    let exact = model.evaluate_exact(4, Some(&input)).map_err(text)?.map(values);
    Ok([scheduled, exact])
}

fn a_sequential_recurrent_network_is_the_plain_loop(world: &Communicator) -> Checked {
    for family in families() {
        let samples: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
        let plain = family.plain_output(&GruConfig::inputs(&samples))?;
        let is_last = world.rank() + 1 == world.size();
        let plain = is_last.then(|| plain.to_data().iter::<f32>().collect::<Vec<_>>());
        for (how, output) in ["scheduled", "exact"].iter().zip(outputs(&family, &Schedule::sequential(), world)?) {
            same(&format!("{family:?}, {how}"), &output, &plain)?;
        }
    }
    Ok(())
}

/// To the bit, also far from convergence.
fn a_recurrent_networks_states_do_not_depend_on_ranks(world: &Communicator) -> Checked {
    for family in families() {
        let schedules = [solve(2, 2, 1), solve(2, 4, 2), solve(3, 2, 1)].map(Schedule::layer_parallel);
        for schedule in schedules {
            let [scheduled, exact] = outputs(&family, &schedule, world)?;
            let [expected, plain] = outputs(&family, &schedule, &Communicator::alone())?;
            if world.rank() + 1 == world.size() {
                same(&format!("{family:?}, {schedule}"), &[&scheduled, &exact], &[&expected, &plain])?;
                ensure(scheduled != exact, || format!("{family:?}, {schedule}: nothing was approximated"))?;
            }
        }
    }
    Ok(())
}

/// Exact schedules have the same gradients to the bit on the same ranks and cut, and those of one rank but for rounding.
fn a_recurrent_networks_schedules_agree_on_a_step(world: &Communicator) -> Checked {
    let exact = Schedule::sequential();
    for family in families() {
        let whole = fresh_gradient(&family, &Mesh::alone(), &exact, (7, 1), None).map_err(text)?;
        for mesh in meshes(world)? {
            for cut in [(7, 1), (7, 3)] {
                let expected = fresh_gradient(&family, &mesh, &exact, cut, None).map_err(text)?;
                let what = format!("{family:?}, {mesh:?}, {cut:?}");
                let off = distance(&expected.gradients, &whole.gradients);
                ensure(off < 1e-5, || format!("{what}: off by {off:e}"))?;
                ensure((expected.loss / whole.loss - 1.0).abs() < 1e-6, || format!("{what}: loss {}", expected.loss))?;
                for schedule in [recomputed(exact.clone()), pipeline(), recomputed(pipeline())] {
                    let got = fresh_gradient(&family, &mesh, &schedule, cut, None).map_err(text)?;
                    let what = format!("{what}, {schedule}");
                    same(&what, &got.loss, &expected.loss)?;
                    same_bits(&what, &got.gradients, &expected.gradients)?;
                }
            }
        }
    }
    Ok(())
}

/// Two epochs of two steps on six samples, the second step with two of them; clipped.
fn eventful(out: &Path) -> TrainerConfig {
    TrainerConfig { batch: 4, micro_batches: 2, clip: Some(0.1), optimizer: OptimizerConfig::Adam, ..training(out) }
}

fn a_recurrent_networks_curve_does_not_depend_on_ranks(world: &Communicator) -> Checked {
    let all = [Schedule::sequential(), pipeline(), recomputed(Schedule::layer_parallel(solve(2, 2, 12)))];
    for family in families() {
        for schedule in &all {
            let expected = alone_of(&family, schedule, eventful, 6)?;
            for mesh in meshes(world)? {
                with_folder(world, |folder| {
                    let what = format!("{family:?}, {mesh:?}, {schedule}");
                    let got = fit_of(&family, &mesh, schedule, &eventful(folder), 6).map_err(text)?;
                    same(&what, &got.steps.len(), &expected.steps.len())?;
                    for (got, expected) in got.steps.iter().zip(&expected.steps) {
                        let near =
                            |a: Option<f64>, b: Option<f64>| a.zip(b).is_some_and(|(a, b)| (a / b - 1.0).abs() < 1e-5);
                        ensure(near(got.loss, expected.loss), || format!("{what}: loss {:?}", got.loss))?;
                        ensure(near(got.gradient_norm, expected.gradient_norm), || {
                            format!("{what}: norm {:?}, on one rank {:?}", got.gradient_norm, expected.gradient_norm)
                        })?;
                        same(&what, &got.clipped, &true)?;
                    }
                    let off = distance(&got.parameters, &expected.parameters);
                    ensure(off < 1e-4, || format!("{what}: parameters off by {off:e}"))
                })?;
            }
        }
    }
    Ok(())
}

/// Lengths that neither ranks nor cfactors divide.
fn sequences_of_any_length_converge_to_exact_gradients(world: &Communicator) -> Checked {
    for family in [gru(13, 2), gru_of_tokens(17, 1), gru(50, 1)] {
        for mesh in meshes(world)? {
            let exact = fresh_gradient(&family, &mesh, &Schedule::sequential(), (4, 2), None).map_err(text)?;
            for (levels, cfactor) in [(2, 2), (2, 4), (3, 3), (2, 7)] {
                let off = |max_iters| {
                    let schedule = Schedule::layer_parallel(solve(levels, cfactor, max_iters));
                    let got = fresh_gradient(&family, &mesh, &schedule, (4, 2), None).map_err(text)?;
                    let off = (distance(&got.gradients, &exact.gradients), (got.loss / exact.loss - 1.0).abs());
                    // A rank may be exact already after one iteration, but not all of them.
                    let all = world.all_gather(off.0, &()).map_err(text)?.into_iter().fold(0.0, f64::max);
                    Ok::<_, String>((all, off.1))
                };
                let ((few, _), (many, loss)) = (off(1)?, off(13)?);
                ensure(many < 1e-5 && loss < 1e-6 && few > 1e-4, || {
                    format!(
                        "{family:?}, {mesh:?}, {levels} levels, cfactor {cfactor}: {few:e}, then {many:e}, {loss:e}"
                    )
                })?;
            }
        }
    }
    Ok(())
}

/// Of both forms; as many iterations as there are intervals. A mean where no coarse step is split.
fn enough_iterations_are_exact_for_every_coarse_step(world: &Communicator) -> Checked {
    let mesh = mesh(world, world.size())?;
    for form in [GruForm::Implicit, GruForm::Explicit] {
        for coarse in [GruCoarse::Frozen, GruCoarse::Rediscretised] {
            for coarse_input in [CoarseOperator::FirstLayer, CoarseOperator::Mean] {
                let family = GruConfig { form, coarse, coarse_input, ..gru(12, 2) };
                // 12 steps of 1, 2, and 4 ranks are intervals of 3 each.
                if coarse_input == CoarseOperator::Mean && !12_usize.is_multiple_of(3 * world.size()) {
                    let schedule = Schedule::layer_parallel(solve(2, 3, 1));
                    let message = model_of(&family, &schedule, world).err().map(|e| e.to_string());
                    let split = world.all_gather(message.unwrap_or_default(), &()).map_err(text)?.concat();
                    ensure(split.contains("Mean") && split.contains("split"), || format!("{family:?}: {split}"))?;
                    continue;
                }
                let exact = fresh_gradient(&family, &mesh, &Schedule::sequential(), (3, 1), None).map_err(text)?;
                let schedule = Schedule::layer_parallel(solve(2, 3, 4));
                let got = fresh_gradient(&family, &mesh, &schedule, (3, 1), None).map_err(text)?;
                let off = distance(&got.gradients, &exact.gradients);
                ensure(off < 1e-5, || format!("{family:?}: off by {off:e}"))?;
                // Samples reach every rank, and so do targets.
                let mut trainer = trainer_of(&family, &mesh, &schedule, &TrainerConfig::new(1, 0.01)).map_err(text)?;
                let evaluated = trainer.evaluate(&samples_of(&family, 3, &mesh)).map_err(text)?;
                ensure(evaluated.loss.is_finite(), || format!("{family:?}: {evaluated:?}"))?;
            }
        }
    }
    Ok(())
}
