//! Runs that are stopped and go on: on the same ranks and on others.

use std::path::Path;
use std::time::Duration;

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_train::trainer::{CheckpointConfig, End, Resume};
use braidnet_train::{Decay, LearningRate, OptimizerConfig, Schedule, SolveConfig, TrainerConfig};

use crate::common::Set;
use crate::common::compare::{Checked, Values, distance, ensure, same, same_bits, text};
use crate::common::run::{Ran, SAMPLES, alone, fit, mesh, meshes, steps, training, with_folder};

pub const TESTS: &[RankTest] = &[
    ("a_run_stopped_after_every_step_is_the_whole_run", a_run_stopped_after_every_step_is_the_whole_run),
    ("a_run_goes_on_from_any_of_its_checkpoints", a_run_goes_on_from_any_of_its_checkpoints),
    ("a_run_goes_on_with_other_layer_ranks", a_run_goes_on_with_other_layer_ranks),
    ("a_run_goes_on_with_other_data_ranks", a_run_goes_on_with_other_data_ranks),
];

const OPTIMIZERS: [OptimizerConfig; 4] = [
    OptimizerConfig::Sgd { momentum: 0.9 },
    OptimizerConfig::Sgd { momentum: 0.0 },
    OptimizerConfig::Adam,
    OptimizerConfig::AdamW { weight_decay: 0.1 },
];

fn decaying(out: &Path, optimizer: OptimizerConfig) -> TrainerConfig {
    let learning_rate = LearningRate { rate: 0.02, warmup: 1, decay: Decay::Linear { end: 0.2 } };
    TrainerConfig { optimizer, learning_rate, ..training(out) }
}

/// As `config`, but from the latest checkpoint, and with no time for more than one step.
fn one_step(config: TrainerConfig) -> TrainerConfig {
    let checkpoints = CheckpointConfig { resume: Resume::Auto, ..config.checkpoints };
    TrainerConfig { time_limit: Some(Duration::from_millis(1)), checkpoints, ..config }
}

fn a_run_stopped_after_every_step_is_the_whole_run(world: &Communicator) -> Checked {
    let schedule = Schedule::layer_parallel(SolveConfig::new(3));
    let mesh = mesh(world, world.size())?;
    for optimizer in [OPTIMIZERS[0], OPTIMIZERS[3]] {
        let expected = alone(&schedule, |out| decaying(out, optimizer))?;
        with_folder(world, |folder| {
            let config = one_step(decaying(folder, optimizer));
            for step in 1..=6 {
                let ran = fit(&mesh, &schedule, &config, &Set::new(SAMPLES)).map_err(text)?;
                same("step", &(ran.outcome.step, ran.outcome.end), &(step, End::Stopped))?;
            }
            // Nothing is left to do but to end the epoch.
            let last = fit(&mesh, &schedule, &config, &Set::new(SAMPLES)).map_err(text)?;
            same("last", &(last.outcome.step, last.outcome.end, last.outcome.steps.len()), &(6, End::Finished, 0))?;
            let what = format!("{optimizer:?}");
            same(&what, &last.losses(), &expected.losses())?;
            same(&what, &last.epochs, &expected.epochs)?;
            same_bits(&what, &last.parameters, &expected.parameters)
        })?;
    }
    Ok(())
}

fn a_run_goes_on_from_any_of_its_checkpoints(world: &Communicator) -> Checked {
    let schedule = Schedule::sequential();
    let set = Set::new(SAMPLES);
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let out = |name: &str| decaying(&folder.join(name), OptimizerConfig::Adam);
            let checkpoints = |every, resume| CheckpointConfig { every, keep: 9, resume };
            let saving = TrainerConfig { checkpoints: checkpoints(Some(2), Resume::No), ..out("whole") };
            let whole = fit(&mesh, &schedule, &saving, &set).map_err(text)?;
            for step in [2, 4] {
                let from = folder.join(format!("whole/checkpoints/step-{step:08}"));
                let name = format!("from {step}");
                let going_on = TrainerConfig { checkpoints: checkpoints(None, Resume::From(from)), ..out(&name) };
                let got = fit(&mesh, &schedule, &going_on, &set).map_err(text)?;
                same(&name, &got.losses(), &whole.losses()[step..].to_vec())?;
                same_bits(&name, &got.parameters, &whole.parameters)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// One step on all ranks, one on rank 0 alone, one on all but the last, and again.
fn a_run_goes_on_with_other_layer_ranks(world: &Communicator) -> Checked {
    let schedule = Schedule::layer_parallel(SolveConfig { max_levels: 3, ..SolveConfig::new(2) });
    for optimizer in OPTIMIZERS[1..3].iter().copied() {
        let expected = alone(&schedule, |out| decaying(out, optimizer))?;
        with_folder(world, |folder| {
            let config = one_step(decaying(folder, optimizer));
            for step in 1..=7 {
                let ranks = [world.size(), 1, world.size().div_ceil(2)][step % 3];
                if let Some(some) = world.first_ranks(ranks).map_err(text)? {
                    let ran = fit(&mesh(&some, ranks)?, &schedule, &config, &Set::new(SAMPLES)).map_err(text)?;
                    same_bits_at_the_end(&ran, &expected.parameters)?;
                }
                world.barrier().map_err(text)?;
            }
            let losses: Vec<_> = steps(folder).map_err(text)?.iter().map(|step| step.loss).collect();
            same(&format!("{optimizer:?}"), &losses, &expected.losses())
        })?;
    }
    Ok(())
}

fn same_bits_at_the_end(ran: &Ran, expected: &Values) -> Checked {
    match ran.outcome.end {
        End::Finished => same_bits("parameters at the end", &ran.parameters, expected),
        End::Stopped => Ok(()),
    }
}

fn a_run_goes_on_with_other_data_ranks(world: &Communicator) -> Checked {
    let schedule = Schedule::sequential();
    for optimizer in [OPTIMIZERS[0], OPTIMIZERS[2]] {
        let expected = alone(&schedule, |out| decaying(out, optimizer))?;
        with_folder(world, |folder| {
            let config = one_step(decaying(folder, optimizer));
            for mesh in meshes(world)?.into_iter().cycle().take(7) {
                let ran = fit(&mesh, &schedule, &config, &Set::new(SAMPLES)).map_err(text)?;
                if ran.outcome.end == End::Finished {
                    same("steps", &ran.steps.len(), &6)?;
                    let off = distance(&ran.parameters, &expected.parameters);
                    ensure(off < 1e-4, || format!("{mesh:?}, {optimizer:?}: parameters off by {off:e}"))?;
                }
            }
            let state = std::fs::read_to_string(folder.join("state")).map_err(text)?;
            same("how the run ended", &state.as_str(), &"finished\n")
        })?;
    }
    Ok(())
}
