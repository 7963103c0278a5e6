//! A NaN that is skipped: the update is left out, and the run goes on.

use std::path::Path;
use std::sync::Arc;

use braidnet_checkpoint::{Checkpoint, Part};
use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_data::sampler::epoch_order;
use braidnet_train::trainer::{CheckpointConfig, OnNan, Resume};
use braidnet_train::{OptimizerConfig, Schedule, SolveConfig, Task, TrainerConfig};
use burn::tensor::{Int, Tensor};

use crate::common::compare::{Checked, ensure, same, text};
use crate::common::run::{SAMPLES, fit, fit_for, meshes, training, with_folder};
use crate::common::{Set, pipeline};

pub const TESTS: &[RankTest] = &[
    ("a_bad_sample_is_left_out", a_bad_sample_is_left_out),
    ("a_bad_gradient_of_a_finite_loss_is_left_out", a_bad_gradient_of_a_finite_loss_is_left_out),
];

/// One epoch of three steps with a checkpoint after each.
fn skipping(out: &Path, optimizer: OptimizerConfig) -> TrainerConfig {
    let checkpoints = CheckpointConfig { every: Some(1), keep: 3, resume: Resume::No };
    TrainerConfig { epochs: 1, optimizer, on_nan: OnNan::Skip, checkpoints, ..training(out) }
}

/// All parameters and moments in the checkpoint of a step.
fn parts(out: &Path, step: u64) -> Result<Vec<Part>, String> {
    let checkpoint = Checkpoint::open(out.join(format!("checkpoints/step-{step:08}"))).map_err(text)?;
    checkpoint.part_names().map(|name| checkpoint.read_part(name).map_err(text)).collect()
}

fn a_bad_sample_is_left_out(world: &Communicator) -> Checked {
    // Any sample of the second step: on some mesh it is any rank's.
    let order = epoch_order(SAMPLES, 0, 0);
    let schedules = [Schedule::layer_parallel(SolveConfig::new(3)), pipeline()];
    for (mesh, bad) in meshes(world)?.into_iter().zip([6, 9, 5]) {
        for (schedule, optimizer) in schedules.iter().zip([OptimizerConfig::Adam, SGD]) {
            with_folder(world, |folder| {
                let set = Set::new(SAMPLES).with_nan(order[bad]);
                // The probe looks at every batch, also at the bad one.
                let config = TrainerConfig { probe_every: Some(1), ..skipping(folder, optimizer) };
                let ran = fit(&mesh, schedule, &config, &set).map_err(text)?;
                let what = format!("{mesh:?}, {schedule}");
                let skipped: Vec<bool> = ran.steps.iter().map(|step| step.skipped).collect();
                same(&what, &skipped, &vec![false, true, false])?;
                let [one, two, three] = [1, 2, 3].map(|step| parts(folder, step));
                let (one, two, three) = (one?, two?, three?);
                same(&what, &(one.len(), one == two, two == three), &(12, true, false))?;
                let has_moments = one.iter().all(|part| !part.moments.is_empty());
                ensure(has_moments, || format!("{what}: a part without moments"))?;
                let finite = ran.parameters.values().flatten().all(|v| v.is_finite());
                ensure(finite, || format!("{what}: parameters are not finite"))
            })?;
        }
    }
    Ok(())
}

const SGD: OptimizerConfig = OptimizerConfig::Sgd { momentum: 0.9 };

/// Cross entropy plus a zero whose derivative is NaN.
fn broken() -> Task<Tensor<1, Int>> {
    let plain = Task::classification();
    let loss = plain.loss.clone();
    Task { loss: Arc::new(move |x, target| loss(x.clone(), target) + (x.sum() * 0.0).sqrt()), ..plain }
}

fn a_bad_gradient_of_a_finite_loss_is_left_out(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        for schedule in [Schedule::layer_parallel(SolveConfig::new(3)), pipeline()] {
            with_folder(world, |folder| {
                let config = skipping(folder, OptimizerConfig::Adam);
                let ran = fit_for(&mesh, &schedule, &config, &Set::new(SAMPLES), broken()).map_err(text)?;
                let what = format!("{mesh:?}, {schedule}");
                ensure(ran.steps.iter().all(|step| step.skipped), || format!("{what}: a step was not skipped"))?;
                let finite = ran.losses().iter().all(|loss| loss.is_some_and(f64::is_finite));
                ensure(finite, || format!("{what}: the loss is not finite"))?;
                same(&what, &(parts(folder, 1)? == parts(folder, 3)?), &true)
            })?;
        }
    }
    Ok(())
}
