//! Losses of tokens: means over all tokens of the global batch, however it is cut.

use std::path::Path;

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_monitor::metrics::Step;
use braidnet_nn::transformer::TransformerConfig;
use braidnet_train::{OptimizerConfig, Schedule, TrainerConfig};

use crate::common::compare::{Checked, distance, ensure, same, text};
use crate::common::families::{Family, Sentence, encoder, pair, samples_from, samples_of, trainer_of};
use crate::common::pipeline;
use crate::common::run::{Ran, epochs, meshes, steps, training, with_folder};

pub const TESTS: &[RankTest] = &[
    ("a_run_over_tokens_hardly_depends_on_how_it_is_cut", a_run_over_tokens_hardly_depends_on_how_it_is_cut),
    ("a_score_is_the_mean_over_all_tokens", a_score_is_the_mean_over_all_tokens),
    ("a_sequence_without_a_word_counts_for_nothing", a_sequence_without_a_word_counts_for_nothing),
];

/// Clipped, so that the size of the gradient counts, in batches of four.
fn eventful(out: &Path) -> TrainerConfig {
    let optimizer = OptimizerConfig::Sgd { momentum: 0.9 };
    TrainerConfig { batch: 4, clip: Some(2.0), optimizer, ..training(out) }
}

fn long_and_short() -> TransformerConfig {
    TransformerConfig { max_length: 40, ..encoder(4) }
}

/// One long sentence among short ones, and one that is empty but for padding.
fn sentences() -> Vec<Sentence> {
    let lengths = [40, 1, 2, 3, 1, 17, 2, 5, 1, 1];
    let word = |n: usize, i: usize| 1 + ((3 * i + 7 * n) % 10) as i64;
    let class = |n: usize, i: usize| 1 + ((i * i + 5 * n) % 4) as i64;
    let sentence = |(n, length): (usize, usize)| {
        ((0..length).map(|i| word(n, i)).collect(), (0..length).map(|i| class(n, i)).collect())
    };
    lengths.into_iter().enumerate().map(sentence).collect()
}

fn fit(mesh: &Mesh, schedule: &Schedule, training: &TrainerConfig) -> Result<(Ran, [f64; 2]), String> {
    let mut trainer = trainer_of(&long_and_short(), mesh, schedule, training).map_err(text)?;
    let samples = samples_from::<TransformerConfig>(sentences(), mesh);
    let outcome = trainer.fit(&samples, Some(&samples)).map_err(text)?;
    mesh.world().barrier().map_err(text)?;
    let out = training.out.as_deref().ok_or("no folder")?;
    let (steps, epochs) = (steps(out).map_err(text)?, epochs(out).map_err(text)?);
    let score = trainer.evaluate(&samples).map_err(text)?;
    let parameters = crate::common::compare::parameters(trainer.model().network());
    Ok((Ran { outcome, steps, epochs, parameters }, [score.loss, score.accuracy.unwrap_or(f64::NAN)]))
}

fn a_run_over_tokens_hardly_depends_on_how_it_is_cut(world: &Communicator) -> Checked {
    let own = tempfile::tempdir().map_err(text)?;
    let (expected, score) = fit(&Mesh::alone(), &Schedule::sequential(), &eventful(own.path()))?;
    let numbers = |ran: &Ran, of: fn(&Step) -> Option<f64>| ran.steps.iter().filter_map(of).collect::<Vec<f64>>();
    let close = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a / b - 1.0).abs() < 1e-4);
    ensure(numbers(&expected, |step| step.loss).len() == 6, || "six steps expected".to_owned())?;
    for mesh in meshes(world)? {
        for (schedule, micro_batches) in [(Schedule::sequential(), 1), (Schedule::sequential(), 2), (pipeline(), 4)] {
            with_folder(world, |folder| {
                let training = TrainerConfig { micro_batches, ..eventful(folder) };
                let (got, own_score) = fit(&mesh, &schedule, &training)?;
                let what = format!("{mesh:?}, {schedule}, {micro_batches} micro-batches");
                let quantities: [fn(&Step) -> Option<f64>; 2] = [|step| step.loss, |step| step.gradient_norm];
                for of in quantities {
                    let (a, b) = (numbers(&got, of), numbers(&expected, of));
                    ensure(close(&a, &b), || format!("{what}: {a:?} instead of {b:?}"))?;
                }
                same(&what, &numbers(&got, |s| s.accuracy), &numbers(&expected, |s| s.accuracy))?;
                let off = distance(&got.parameters, &expected.parameters);
                ensure(off < 1e-4, || format!("{what}: parameters off by {off:e}"))?;
                for ([loss, accuracy], [its_loss, its_accuracy]) in got.epochs.iter().zip(&expected.epochs) {
                    same(&what, accuracy, its_accuracy)?;
                    ensure(close(loss.as_slice(), its_loss.as_slice()), || format!("{what}: epoch {loss:?}"))?;
                }
                ensure(close(&own_score, &score), || format!("{what}: scores {own_score:?} instead of {score:?}"))
            })?;
        }
    }
    Ok(())
}

/// Sums over single sentences, by the plain loop.
fn plain_score<F: Family>(family: &F, all: &[F::Sample]) -> Result<[f64; 2], String> {
    let task = family.task();
    let mut sums = [0.0; 3];
    for sample in all.chunks(1) {
        let (output, target) = (family.plain_output(&F::inputs(sample))?, F::targets(sample));
        let items = task.items.as_ref().map_or(1, |items| items(&target)) as f64;
        sums[0] += items * (task.loss)(output.clone(), &target).into_scalar::<f64>();
        sums[1] += task.correct.as_ref().map_or(0, |correct| correct(output, &target)) as f64;
        sums[2] += items;
    }
    Ok([sums[0] / sums[2], sums[1] / sums[2]])
}

fn score_of<F: Family>(family: &F, all: Vec<F::Sample>, world: &Communicator) -> Checked {
    let expected = plain_score(family, &all)?;
    for mesh in meshes(world)? {
        for batch in [3, 7, 64] {
            let training = TrainerConfig { batch, ..TrainerConfig::new(1, 0.1) };
            let mut trainer = trainer_of(family, &mesh, &Schedule::sequential(), &training).map_err(text)?;
            let got = trainer.evaluate(&samples_from::<F>(all.clone(), &mesh)).map_err(text)?;
            let what = format!("{family:?}, {mesh:?}, batches of {batch}: {got:?}, not {expected:?}");
            ensure((got.loss / expected[0] - 1.0).abs() < 1e-5, || what.clone())?;
            ensure(got.accuracy.is_some_and(|own| (own - expected[1]).abs() < 1e-9), || what.clone())?;
        }
    }
    Ok(())
}

fn a_score_is_the_mean_over_all_tokens(world: &Communicator) -> Checked {
    score_of(&long_and_short(), sentences(), world)?;
    let double = pair(2, true);
    score_of(&double, (0..8).map(|n| double.sample(n)).collect(), world)
}

/// A sentence of padding alone, or several: losses and gradients are finite, and those of the others.
fn a_sequence_without_a_word_counts_for_nothing(world: &Communicator) -> Checked {
    let family = encoder(4);
    let empty: Sentence = (vec![0; 3], vec![0; 3]);
    let words: Vec<Sentence> = (0..3).map(|n| family.sample(n)).collect();
    let score = |samples: Vec<Sentence>, mesh: &Mesh| {
        let training =
            TrainerConfig { batch: 2, show: braidnet_train::trainer::Show::Nothing, ..TrainerConfig::new(2, 0.1) };
        let mut trainer = trainer_of(&family, mesh, &Schedule::sequential(), &training).map_err(text)?;
        let samples = samples_from::<TransformerConfig>(samples, mesh);
        let before = trainer.evaluate(&samples).map_err(text)?;
        trainer.fit(&samples, None).map_err(text)?;
        let after = trainer.evaluate(&samples).map_err(text)?;
        Ok::<_, String>((before.loss, after.loss))
    };
    for mesh in meshes(world)? {
        let (without, _) = score(words.clone(), &mesh)?;
        // The second step of each epoch may be of padding alone.
        let with = words.iter().cloned().chain([empty.clone(), empty.clone(), empty.clone()]).collect();
        let (before, after) = score(with, &mesh)?;
        ensure((before / without - 1.0).abs() < 1e-6, || format!("{mesh:?}: loss {before} instead of {without}"))?;
        ensure(after.is_finite() && after < before, || format!("{mesh:?}: {before}, then {after}"))?;
    }
    let nothing = |n| std::iter::repeat_n(empty.clone(), n).collect::<Vec<_>>();
    let mesh = crate::common::run::mesh(world, world.size())?;
    let mut trainer = trainer_of(&family, &mesh, &Schedule::sequential(), &quiet()).map_err(text)?;
    trainer.fit(&samples_from::<TransformerConfig>(nothing(2), &mesh), None).map_err(text)?;
    let score = trainer.evaluate(&samples_of(&family, 3, &mesh)).map_err(text)?;
    ensure(score.loss.is_finite(), || format!("{score:?} after a step of padding alone"))
}

fn quiet() -> TrainerConfig {
    TrainerConfig { show: braidnet_train::trainer::Show::Nothing, ..TrainerConfig::new(1, 0.1) }
}
