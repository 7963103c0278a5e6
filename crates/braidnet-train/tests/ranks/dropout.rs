//! Dropout: a function of seed, step, layer and sample alone.

use std::path::Path;
use std::time::Duration;

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::Relaxation;
use braidnet_nn::Noise;
use braidnet_nn::transformer::{EncoderDecoderConfig, TransformerConfig};
use braidnet_train::trainer::{CheckpointConfig, End, Resume};
use braidnet_train::{Activations, OptimizerConfig, Schedule, SolveConfig, TrainerConfig};

use crate::common::compare::{Checked, distance, ensure, same, same_bits, text};
use crate::common::families::{
    Family, alone_of, decoder, encoder, fit_of, fresh_gradient, model_of, pair, samples_of, trainer_of,
};
use crate::common::pipeline;
use crate::common::run::{mesh, meshes, training, with_folder};

pub const TESTS: &[RankTest] = &[
    ("dropout_does_not_depend_on_layer_ranks", dropout_does_not_depend_on_layer_ranks),
    ("dropout_does_not_depend_on_how_a_batch_is_cut", dropout_does_not_depend_on_how_a_batch_is_cut),
    ("dropout_differs_between_steps_and_seeds", dropout_differs_between_steps_and_seeds),
    ("an_evaluation_drops_nothing", an_evaluation_drops_nothing),
    ("every_sweep_drops_the_same", every_sweep_drops_the_same),
    ("a_run_with_dropout_goes_on_as_it_was", a_run_with_dropout_goes_on_as_it_was),
];

const NOISE: Option<Noise> = Some(Noise { seed: 5, step: 2, first_sample: 0 });

fn solve(cfactor: usize, max_iters: usize) -> Schedule {
    Schedule::layer_parallel(SolveConfig { max_iters, relaxation: Relaxation::Fcf(1), ..SolveConfig::new(cfactor) })
}

/// Encoder, decoder and encoder-decoder; buffers drop too.
fn families() -> ([TransformerConfig; 3], [EncoderDecoderConfig; 2]) {
    let dropping = |family| TransformerConfig { dropout: 0.3, ..family };
    let pairs = [false, true].map(|split| EncoderDecoderConfig { dropout: 0.3, ..pair(4, split) });
    ([dropping(encoder(8)), dropping(decoder(8)), TransformerConfig { buffer: 1, ..dropping(encoder(8)) }], pairs)
}

fn of_ranks<F: Family>(family: &F, world: &Communicator) -> Checked {
    let mesh = mesh(world, world.size())?;
    for schedule in [Schedule::sequential(), solve(2, 1), solve(4, 2), pipeline()] {
        let expected = fresh_gradient(family, &Mesh::alone(), &schedule, (5, 2), NOISE).map_err(text)?;
        for activations in [Activations::Store, Activations::Recompute] {
            let schedule = Schedule { activations, ..schedule.clone() };
            let what = format!("{family:?}, {schedule}");
            let got = fresh_gradient(family, &mesh, &schedule, (5, 2), NOISE).map_err(text)?;
            same(&what, &got.loss, &expected.loss)?;
            same_bits(&what, &got.gradients, &expected.gradients)?;
        }
    }
    Ok(())
}

fn dropout_does_not_depend_on_layer_ranks(world: &Communicator) -> Checked {
    let (single, pairs) = families();
    single.iter().try_for_each(|family| of_ranks(family, world))?;
    pairs.iter().try_for_each(|family| of_ranks(family, world))
}

/// Parts of a batch are padded to other lengths.
fn of_cuts<F: Family>(family: &F, world: &Communicator) -> Checked {
    let whole = fresh_gradient(family, &Mesh::alone(), &Schedule::sequential(), (7, 1), NOISE).map_err(text)?;
    for mesh in meshes(world)? {
        for (schedule, micro_batches) in [(Schedule::sequential(), 1), (Schedule::sequential(), 3), (pipeline(), 2)] {
            let got = fresh_gradient(family, &mesh, &schedule, (7, micro_batches), NOISE).map_err(text)?;
            let off = distance(&got.gradients, &whole.gradients);
            ensure(off < 1e-5 && (got.loss / whole.loss - 1.0).abs() < 1e-6, || {
                format!("{family:?}, {mesh:?}, {schedule}, {micro_batches} micro-batches: off by {off:e}")
            })?;
        }
    }
    Ok(())
}

fn dropout_does_not_depend_on_how_a_batch_is_cut(world: &Communicator) -> Checked {
    let (single, pairs) = families();
    single.iter().try_for_each(|family| of_cuts(family, world))?;
    pairs.iter().try_for_each(|family| of_cuts(family, world))
}

fn dropout_differs_between_steps_and_seeds(world: &Communicator) -> Checked {
    let family = &families().0[0];
    let loss = |noise| {
        let mesh = mesh(world, world.size())?;
        fresh_gradient(family, &mesh, &Schedule::sequential(), (5, 2), noise).map_err(text).map(|step| step.loss)
    };
    let noise = |seed, step| Some(Noise { seed, step, first_sample: 0 });
    let losses = [None, noise(5, 2), noise(5, 3), noise(6, 2)].map(loss);
    let losses: Vec<f64> = losses.into_iter().collect::<Result<_, _>>()?;
    for (n, a) in losses.iter().enumerate() {
        ensure(losses[..n].iter().all(|b| (a - b).abs() > 1e-4), || format!("losses {losses:?}"))?;
    }
    Ok(())
}

fn an_evaluation_drops_nothing(world: &Communicator) -> Checked {
    let family = &families().0[0];
    let without = &encoder(8);
    let samples: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
    let input = TransformerConfig::inputs(&samples);
    let evaluate = |family: &TransformerConfig, noise| {
        let mut model = model_of(family, &solve(2, 1), world).map_err(text)?;
        model.set_noise(noise);
        let outputs = [model.evaluate(4, Some(&input)), model.evaluate_exact(4, Some(&input))];
        let values = outputs.map(|output| Ok(output.map_err(text)?.map(|o| o.to_data().iter::<f32>().collect())));
        values.into_iter().collect::<Result<Vec<Option<Vec<f32>>>, String>>()
    };
    same("outputs", &evaluate(family, NOISE)?, &evaluate(without, None)?)?;
    // And after training, which has noise, likewise.
    let training = TrainerConfig { batch: 4, ..TrainerConfig::new(1, 0.05) };
    let mesh = mesh(world, world.size())?;
    let mut trainer = trainer_of(family, &mesh, &Schedule::sequential(), &training).map_err(text)?;
    let samples = samples_of(family, 6, &mesh);
    trainer.fit(&samples, None).map_err(text)?;
    let scores = [trainer.evaluate(&samples), trainer.evaluate(&samples)];
    let [one, two] = scores.map(|score| score.map_err(text));
    same("scores", &one?, &two?)
}

/// MGRIT converges to the sequential solution with the same mask: to one with other masks it would not.
fn every_sweep_drops_the_same(world: &Communicator) -> Checked {
    let (single, pairs) = families();
    let mesh = mesh(world, world.size())?;
    fn check<F: Family>(family: &F, mesh: &Mesh) -> Checked {
        let exact = fresh_gradient(family, mesh, &Schedule::sequential(), (4, 1), NOISE).map_err(text)?;
        for schedule in [solve(2, 8), solve(4, 4)] {
            for activations in [Activations::Store, Activations::Recompute] {
                let schedule = Schedule { activations, ..schedule.clone() };
                let got = fresh_gradient(family, mesh, &schedule, (4, 1), NOISE).map_err(text)?;
                let off = distance(&got.gradients, &exact.gradients);
                ensure(off < 1e-5 && (got.loss / exact.loss - 1.0).abs() < 1e-6, || {
                    format!("{family:?}, {schedule}: off by {off:e}")
                })?;
            }
        }
        Ok(())
    }
    single.iter().try_for_each(|family| check(family, &mesh))?;
    pairs.iter().try_for_each(|family| check(family, &mesh))
}

fn adam(out: &Path) -> TrainerConfig {
    TrainerConfig { batch: 4, optimizer: OptimizerConfig::Adam, probe_every: Some(1), ..training(out) }
}

fn a_run_with_dropout_goes_on_as_it_was(world: &Communicator) -> Checked {
    let mesh = mesh(world, world.size())?;
    for (family, schedule) in families().0.iter().zip([solve(2, 2), pipeline(), solve(2, 1)]) {
        with_folder(world, |folder| {
            let expected = alone_of(family, &schedule, adam, 6)?;
            let checkpoints = CheckpointConfig { resume: Resume::Auto, ..adam(folder).checkpoints };
            let a_step = TrainerConfig { time_limit: Some(Duration::from_millis(1)), checkpoints, ..adam(folder) };
            let mut errors = Vec::new();
            for step in 1..=4 {
                let ran = fit_of(family, &mesh, &schedule, &a_step, 6).map_err(text)?;
                same("step", &(ran.outcome.step, ran.outcome.end), &(step, End::Stopped))?;
                errors.extend(ran.outcome.gradient_errors.iter().map(|error| error.relative));
            }
            let whole = expected.outcome.gradient_errors.iter().map(|error| error.relative);
            let close = errors.iter().zip(whole).all(|(a, b)| (a - b).abs() <= 1e-3 * b);
            ensure(close && errors.len() == 4, || format!("{family:?}, {schedule}: gradient errors {errors:?}"))?;
            let last = fit_of(family, &mesh, &schedule, &a_step, 6).map_err(text)?;
            let what = format!("{family:?}, {schedule}");
            same(&what, &last.losses(), &expected.losses())?;
            same_bits(&what, &last.parameters, &expected.parameters)
        })?;
    }
    Ok(())
}
