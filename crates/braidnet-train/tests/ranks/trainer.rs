//! `Trainer::fit`: the loss curve and the parameters it ends with.

use std::path::Path;

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_monitor::metrics::Step;
use braidnet_train::trainer::End;
use braidnet_train::{Activations, Decay, LearningRate, Schedule, ScheduleKind, SolveConfig, TrainerConfig};

use crate::common::compare::{Checked, distance, ensure, same, same_bits, text};
use crate::common::run::{SAMPLES, alone, fit, mesh, meshes, training, with_folder};
use crate::common::{Set, pipeline};

pub const TESTS: &[RankTest] = &[
    ("the_curve_does_not_depend_on_layer_ranks", the_curve_does_not_depend_on_layer_ranks),
    ("the_curve_hardly_depends_on_data_ranks", the_curve_hardly_depends_on_data_ranks),
    ("a_probe_does_not_change_training", a_probe_does_not_change_training),
    ("what_is_recorded_is_what_was_done", what_is_recorded_is_what_was_done),
];

fn all_schedules() -> Vec<Schedule> {
    let solve = SolveConfig { max_iters: 2, ..SolveConfig::new(3) };
    let mixed = Schedule::new(ScheduleKind::Mixed, solve.clone(), solve.clone());
    vec![
        Schedule::sequential(),
        Schedule::layer_parallel(solve),
        Schedule { activations: Activations::Recompute, ..mixed },
        pipeline(),
    ]
}

/// Two micro-batches, gradients that are clipped, a learning rate that rises and falls.
fn eventful(out: &Path) -> TrainerConfig {
    let learning_rate = LearningRate { rate: 0.05, warmup: 2, decay: Decay::Cosine { end: 0.1 } };
    TrainerConfig { micro_batches: 2, clip: Some(1.0), learning_rate, ..training(out) }
}

fn the_curve_does_not_depend_on_layer_ranks(world: &Communicator) -> Checked {
    for schedule in all_schedules() {
        with_folder(world, |folder| {
            let what = schedule.to_string();
            let set = Set::new(SAMPLES);
            let got = fit(&mesh(world, world.size())?, &schedule, &eventful(folder), &set).map_err(text)?;
            let expected = alone(&schedule, eventful)?;
            same(&what, &(got.steps.len(), got.outcome.end, got.outcome.step), &(6, End::Finished, 6))?;
            same(&what, &got.losses(), &expected.losses())?;
            same_bits(&what, &got.parameters, &expected.parameters)?;
            for (got, expected) in got.steps.iter().zip(&expected.steps) {
                same(&what, &got.gradient_norm, &expected.gradient_norm)?;
                same(&what, &(got.clipped, got.accuracy), &(expected.clipped, expected.accuracy))?;
            }
            ensure(got.steps.iter().any(|step| step.clipped), || format!("{what}: nothing was clipped"))
        })?;
    }
    Ok(())
}

fn the_curve_hardly_depends_on_data_ranks(world: &Communicator) -> Checked {
    let schedule = Schedule::layer_parallel(SolveConfig::new(3));
    let expected = alone(&schedule, eventful)?;
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let got = fit(&mesh, &schedule, &eventful(folder), &Set::new(SAMPLES)).map_err(text)?;
            let off = distance(&got.parameters, &expected.parameters);
            ensure(off < 1e-4, || format!("{mesh:?}: parameters off by {off:e}"))?;
            let losses = |steps: &[Step]| steps.iter().filter_map(|s| s.loss).collect();
            let pairs: [Vec<f64>; 2] = [losses(&got.steps), losses(&expected.steps)];
            let close = pairs[0].iter().zip(&pairs[1]).all(|(a, b)| (a / b - 1.0).abs() < 1e-4);
            ensure(close && pairs[0].len() == 6, || format!("{mesh:?}: losses {pairs:?}"))
        })?;
    }
    Ok(())
}

fn a_probe_does_not_change_training(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        for schedule in all_schedules() {
            with_folder(world, |folder| {
                let [plain, probed] = ["plain", "probed"].map(|name| training(&folder.join(name)));
                let probed = TrainerConfig { probe_every: Some(2), ..probed };
                let set = Set::new(SAMPLES);
                let expected = fit(&mesh, &schedule, &plain, &set).map_err(text)?;
                let got = fit(&mesh, &schedule, &probed, &set).map_err(text)?;
                let what = format!("{mesh:?}, {schedule}");
                same(&what, &got.losses(), &expected.losses())?;
                same_bits(&what, &got.parameters, &expected.parameters)?;
                let errors = &got.outcome.gradient_errors;
                // Before steps 1, 3 and 5, of 5, 2 and 5 samples, where this rank has some.
                let expected = [5, 2, 5].iter().filter(|n| mesh.data_rank() < **n).count();
                same(&what, &errors.len(), &expected)?;
                let exact = schedule.is_exact();
                let fits = errors.iter().all(|e| if exact { e.relative == 0.0 } else { e.relative > 0.0 });
                ensure(fits, || format!("{what}: gradient errors {errors:?}"))
            })?;
        }
    }
    Ok(())
}

/// The records against the numbers of the run: samples, epochs, rates, and the mean of an epoch.
fn what_is_recorded_is_what_was_done(world: &Communicator) -> Checked {
    with_folder(world, |folder| {
        let config = eventful(folder);
        let ran =
            fit(&mesh(world, world.size())?, &Schedule::sequential(), &config, &Set::new(SAMPLES)).map_err(text)?;
        let of = |step: &Step| (step.step, step.epoch, step.samples);
        let expected = [(1, 0, 5), (2, 0, 5), (3, 0, 2), (4, 1, 5), (5, 1, 5), (6, 1, 2)];
        same("steps", &ran.steps.iter().map(of).collect::<Vec<_>>(), &expected.to_vec())?;
        let rates: Vec<f64> = ran.steps.iter().map(|step| step.learning_rate).collect();
        ensure(rates[..3] == [0.025, 0.05, 0.05] && rates.is_sorted_by(|a, b| a < b || rates[1] >= *b), || {
            format!("rates {rates:?}")
        })?;
        let mean = |steps: &[Step]| {
            steps.iter().map(|s| s.loss.unwrap_or(f64::NAN) * s.samples as f64).sum::<f64>() / SAMPLES as f64
        };
        let expected = [mean(&ran.steps[..3]), mean(&ran.steps[3..])];
        same(
            "means of the epochs",
            &ran.epochs.iter().filter_map(|[loss, _]| *loss).collect::<Vec<_>>(),
            &expected.to_vec(),
        )
    })
}
