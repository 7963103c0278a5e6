//! Solves in 16 bits on ranks: nothing depends on how many there are, and a run that is stopped goes on to the bit.

use std::path::Path;
use std::time::Duration;

use braidnet_checkpoint::find;
use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_train::trainer::{CheckpointConfig, End, Resume};
use braidnet_train::{OptimizerConfig, Precision, Schedule, SolveConfig, TrainError, TrainerConfig};

use crate::common::compare::{Checked, ensure, same, same_bits, text};
use crate::common::families::{Family, encoder, gradient_of, model_of, pair};
use crate::common::run::{SAMPLES, alone, fit, mesh, training, with_folder};
use crate::common::{Set, config, pipeline, schedules};

pub const TESTS: &[RankTest] = &[
    ("gradients_in_16_bits_do_not_depend_on_ranks", gradients_in_16_bits_do_not_depend_on_ranks),
    ("states_in_16_bits_travel_in_16_bits", states_in_16_bits_travel_in_16_bits),
    ("a_run_in_16_bits_stopped_after_every_step_is_the_whole_run", a_run_in_16_bits_stopped_is_the_whole_run),
];

const LOW: [Precision; 2] = [Precision::Bf16, Precision::F16];

fn of_family<F: Family>(family: &F, world: &Communicator) -> Checked {
    for schedule in schedules().into_iter().chain([pipeline()]) {
        for precision in LOW {
            let gradient = |mesh: &Mesh| -> Result<_, TrainError> {
                let mut model = model_of(family, &schedule, mesh.layer())?;
                model.set_precision(precision)?;
                gradient_of(&mut model, family, mesh, &schedule, (5, 2))
            };
            let expected = gradient(&Mesh::alone()).map_err(text)?;
            let got = gradient(&mesh(world, world.size())?).map_err(text)?;
            let what = format!("{family:?}, {schedule}, {precision}");
            same(&what, &got.loss, &expected.loss)?;
            same_bits(&what, &got.gradients, &expected.gradients)?;
        }
    }
    Ok(())
}

fn gradients_in_16_bits_do_not_depend_on_ranks(world: &Communicator) -> Checked {
    of_family(&config(10), world)?;
    of_family(&encoder(10), world)?;
    of_family(&pair(5, false), world)
}

fn states_in_16_bits_travel_in_16_bits(world: &Communicator) -> Checked {
    let schedule = Schedule::layer_parallel(SolveConfig::new(2));
    let bytes = |precision| {
        let mesh = mesh(world, world.size())?;
        let mut model = model_of(&config(10), &schedule, mesh.layer()).map_err(text)?;
        model.set_precision(precision).map_err(text)?;
        let gradient = gradient_of(&mut model, &config(10), &mesh, &schedule, (4, 1)).map_err(text)?;
        let reports = [gradient.report.forward, gradient.report.backward];
        Ok::<_, String>(reports.iter().flatten().map(|report| report.bytes).sum::<u64>())
    };
    let (single, half) = (bytes(Precision::F32)?, bytes(Precision::Bf16)?);
    // Besides the numbers of 4 samples, 2 channels and 36 pixels, messages have their shapes.
    ensure(half * 100 <= single * 56, || format!("{half} bytes in 16 bits, {single} in 32"))
}

fn low(out: &Path, precision: Precision) -> TrainerConfig {
    TrainerConfig { precision, optimizer: OptimizerConfig::Adam, ..training(out) }
}

fn a_run_in_16_bits_stopped_is_the_whole_run(world: &Communicator) -> Checked {
    let schedule = Schedule::layer_parallel(SolveConfig::new(3));
    for precision in LOW {
        let expected = alone(&schedule, |out| low(out, precision))?;
        let single = alone(&schedule, |out| low(out, Precision::F32))?;
        ensure(expected.losses() != single.losses(), || format!("{precision} makes no difference"))?;
        with_folder(world, |folder| {
            let config = low(folder, precision);
            let checkpoints = CheckpointConfig { resume: Resume::Auto, ..config.checkpoints.clone() };
            let one_step = TrainerConfig { time_limit: Some(Duration::from_millis(1)), checkpoints, ..config };
            for step in 1..=6 {
                let ran = fit(&mesh(world, world.size())?, &schedule, &one_step, &Set::new(SAMPLES)).map_err(text)?;
                same("step", &(ran.outcome.step, ran.outcome.end), &(step, End::Stopped))?;
            }
            masters_are_kept(folder)?;
            let last = fit(&mesh(world, world.size())?, &schedule, &one_step, &Set::new(SAMPLES)).map_err(text)?;
            same("losses", &last.losses(), &expected.losses())?;
            same_bits("parameters", &last.parameters, &expected.parameters)
        })?;
    }
    Ok(())
}

/// That parameters in the latest checkpoint have the digits of single precision, which neither type of 16 bits has.
fn masters_are_kept(folder: &Path) -> Checked {
    let checkpoint = find(folder.join("checkpoints")).map_err(text)?.ok_or("no checkpoint")?;
    for name in checkpoint.part_names() {
        for tensor in checkpoint.read_parameters(name).map_err(text)? {
            let values = tensor.to_f32().map_err(text)?;
            // 8 and 11 bits leave at least the last 13 of 24 empty.
            let is_single = values.iter().any(|value| value.to_bits() & 0x1fff != 0);
            ensure(is_single, || format!("{} is kept in 16 bits", tensor.name))?;
        }
    }
    Ok(())
}
