//! Runs of networks with batch norm: running statistics are taken up once per step, kept, left out and loaded with the parameters.

use std::path::Path;
use std::time::Duration;

use braidnet_checkpoint::{Checkpoint, find, import};
use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_data::sampler::epoch_order;
use braidnet_nn::BlockNetConfig;
use braidnet_train::control::{ControlConfig, ControlKind};
use braidnet_train::data::Shards;
use braidnet_train::trainer::{CheckpointConfig, End, OnNan, Resume};
use braidnet_train::{OptimizerConfig, Schedule, SolveConfig, TrainerConfig};

use crate::batch_norm::{exact, family, near};
use crate::common::blocks::{PlainBatchNorm, initial, is_statistic, statistics, weighted_sum};
use crate::common::compare::{Checked, Values, ensure, parameters, same, same_bits, text};
use crate::common::families::{Family, alone_of, fit_of, samples_from, samples_of, trainer_of};
use crate::common::pipeline;
use crate::common::run::{mesh, meshes, steps, training, with_folder};

pub const TESTS: &[RankTest] = &[
    ("a_run_takes_statistics_up_once_per_step", a_run_takes_statistics_up_once_per_step),
    ("a_skipped_step_leaves_statistics", a_skipped_step_leaves_statistics),
    ("a_run_with_statistics_goes_on_with_other_ranks", a_run_with_statistics_goes_on_with_other_ranks),
    ("a_checkpoint_has_statistics_and_no_moments_of_them", a_checkpoint_has_statistics_and_no_moments_of_them),
    ("a_file_has_statistics_by_pytorchs_names", a_file_has_statistics_by_pytorchs_names),
];

const SAMPLES: usize = 6;

/// One step an epoch, with all that could take a batch up twice.
fn eventful(epochs: usize, micro_batches: usize, schedule: &Schedule) -> TrainerConfig {
    let kind = if schedule.is_exact() { ControlKind::Off } else { ControlKind::Adaptive };
    TrainerConfig {
        control: ControlConfig { kind, probe_every: 1, gradient_error: true, ..ControlConfig::default() },
        epochs,
        batch: SAMPLES,
        micro_batches,
        clip: Some(0.5),
        continuity: Some(0.1),
        on_nan: OnNan::Skip,
        probe_every: Some(1),
        optimizer: OptimizerConfig::AdamW { weight_decay: 0.1 },
        out: None,
        ..training(Path::new(""))
    }
}

/// Values of all layer ranks.
fn gathered(mesh: &Mesh, own: &Values) -> Result<Values, String> {
    let own = serde_json::to_string(own).map_err(text)?;
    let all = mesh.layer().all_gather(own, &()).map_err(text)?;
    let parsed = all.iter().map(|own| serde_json::from_str::<Values>(own).map_err(text));
    Ok(parsed.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// What the step of an epoch adds to running statistics.
fn added(mesh: &Mesh, parameters: &Values, epoch: u64, micro_batches: usize) -> Result<Values, String> {
    let family = family();
    let order = epoch_order(SAMPLES, 0, epoch);
    let data_ranks = mesh.shape().data_ranks;
    let mut parts = Vec::new();
    for data_rank in 0..data_ranks {
        let shards = Shards { batch: SAMPLES, micro_batches, data_ranks, data_rank };
        let plan = shards.steps(SAMPLES, 0).map_err(text)?.next().ok_or("no step")?;
        let mut first = plan.skip_before;
        for size in plan.micro {
            let samples: Vec<_> = order[first..first + size].iter().map(|n| family.sample(*n)).collect();
            let added = PlainBatchNorm { family: &family, parameters }.statistics(&samples);
            parts.push((size as f64 / SAMPLES as f64, added));
            first += size;
        }
    }
    Ok(weighted_sum(&parts))
}

fn a_run_takes_statistics_up_once_per_step(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        for (schedule, micro_batches) in exact().into_iter().skip(1).step_by(2).zip([2, 2, 1, 3]) {
            let mut before = initial(&family())?;
            for epochs in 1..=2 {
                let what = format!("{mesh:?}, {schedule}, {micro_batches} micro-batches, step {epochs}");
                let config = eventful(epochs, micro_batches, &schedule);
                let ran = fit_of(&family(), &mesh, &schedule, &config, SAMPLES).map_err(text)?;
                same(&what, &ran.outcome.step, &(epochs as u64))?;
                let added = added(&mesh, &before, epochs as u64 - 1, micro_batches)?;
                let expected = weighted_sum(&[(0.9, statistics(&before)), (0.1, added)]);
                near(&what, &statistics(&ran.parameters), &expected)?;
                let flat: Vec<f32> = ran.parameters.values().flatten().copied().collect();
                let everywhere = mesh.data().all_gather(flat.clone(), &()).map_err(text)?;
                ensure(everywhere.iter().all(|other| *other == flat), || format!("{what}: data ranks differ"))?;
                before = gathered(&mesh, &ran.parameters)?;
            }
        }
    }
    Ok(())
}

/// All numbers in the checkpoint of a step: parameters, then moments.
fn saved(out: &Path, step: u64) -> Result<[Values; 2], String> {
    numbers(&Checkpoint::open(out.join(format!("checkpoints/step-{step:08}"))).map_err(text)?)
}

fn numbers(checkpoint: &Checkpoint) -> Result<[Values; 2], String> {
    let mut all = [Values::new(), Values::new()];
    for name in checkpoint.part_names() {
        let part = checkpoint.read_part(name).map_err(text)?;
        for (all, tensors) in all.iter_mut().zip([&part.parameters, &part.moments]) {
            for tensor in tensors {
                all.insert(tensor.name.clone(), tensor.to_f32().map_err(text)?);
            }
        }
    }
    Ok(all)
}

/// One epoch of three steps with a checkpoint after each; the second one has a bad sample, at any place of the batch.
fn a_skipped_step_leaves_statistics(world: &Communicator) -> Checked {
    let (n, order) = (12, epoch_order(12, 0, 0));
    for (mesh, bad) in meshes(world)?.into_iter().zip([6, 9, 5]) {
        for schedule in [Schedule::layer_parallel(SolveConfig::new(3)), pipeline(), Schedule::sequential()] {
            with_folder(world, |folder| {
                let mut samples: Vec<_> = (0..n).map(|n| family().sample(n)).collect();
                samples[order[bad]].0[17] = f32::NAN;
                let checkpoints = CheckpointConfig { every: Some(1), keep: 3, resume: Resume::No };
                let config = TrainerConfig { epochs: 1, on_nan: OnNan::Skip, checkpoints, ..training(folder) };
                if world.size() == 1 {
                    let checkpoints = CheckpointConfig { every: None, keep: 3, resume: Resume::No };
                    let stop = TrainerConfig { on_nan: OnNan::Stop, out: None, checkpoints, ..config.clone() };
                    let mut trainer = trainer_of(&family(), &mesh, &schedule, &stop).map_err(text)?;
                    let ended = trainer.fit(&samples_from::<BlockNetConfig>(samples.clone(), &mesh), None);
                    let message = ended.err().map(|e| e.to_string()).unwrap_or_default();
                    ensure(message.contains("not finite"), || format!("{schedule}: {message:?}"))?;
                }
                let mut trainer = trainer_of(&family(), &mesh, &schedule, &config).map_err(text)?;
                trainer.fit(&samples_from::<BlockNetConfig>(samples, &mesh), None).map_err(text)?;
                world.barrier().map_err(text)?;
                let what = format!("{mesh:?}, {schedule}");
                let skipped: Vec<bool> = steps(folder).map_err(text)?.iter().map(|step| step.skipped).collect();
                same(&what, &skipped, &vec![false, true, false])?;
                let [one, two, three] = [1, 2, 3].map(|step| saved(folder, step));
                let (one, two, three) = (one?, two?, three?);
                same(&what, &(one == two), &true)?;
                let moved = |name: &String| is_statistic(name) && two[0][name] != three[0][name];
                ensure(two[0].keys().any(moved), || format!("{what}: no statistic moved in the third step"))?;
                let finite = three[0].values().flatten().all(|v| v.is_finite());
                ensure(finite, || format!("{what}: a number is not finite"))
            })?;
        }
    }
    Ok(())
}

/// Two epochs of two steps.
fn saving(out: &Path) -> TrainerConfig {
    TrainerConfig { batch: 4, optimizer: OptimizerConfig::Adam, ..training(out) }
}

/// One step on all ranks, one on rank 0 alone, one on half of them, and again.
fn a_run_with_statistics_goes_on_with_other_ranks(world: &Communicator) -> Checked {
    let solve = SolveConfig { max_levels: 3, ..SolveConfig::new(2) };
    for schedule in [Schedule::layer_parallel(solve), pipeline()] {
        let expected = alone_of(&family(), &schedule, saving, SAMPLES)?;
        with_folder(world, |folder| {
            let checkpoints = CheckpointConfig { resume: Resume::Auto, ..saving(folder).checkpoints };
            let time_limit = Some(Duration::from_millis(1));
            let config = TrainerConfig { time_limit, checkpoints, ..saving(folder) };
            for step in 1..=5 {
                let ranks = [world.size(), 1, world.size().div_ceil(2)][step % 3];
                if let Some(some) = world.first_ranks(ranks).map_err(text)? {
                    let ran = fit_of(&family(), &mesh(&some, ranks)?, &schedule, &config, SAMPLES).map_err(text)?;
                    same("end", &(ran.outcome.end == End::Finished), &(step == 5))?;
                    if ran.outcome.end == End::Finished {
                        same_bits("parameters at the end", &ran.parameters, &expected.parameters)?;
                    }
                }
                world.barrier().map_err(text)?;
            }
            let losses: Vec<_> = steps(folder).map_err(text)?.iter().map(|step| step.loss).collect();
            same(&schedule.to_string(), &losses, &expected.losses())
        })?;
    }
    Ok(())
}

fn a_checkpoint_has_statistics_and_no_moments_of_them(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let ran = fit_of(&family(), &mesh, &Schedule::sequential(), &saving(folder), SAMPLES).map_err(text)?;
            let checkpoint = find(folder.join("checkpoints")).map_err(text)?.ok_or("no checkpoint")?;
            checkpoint.verify().map_err(text)?;
            let [parameters, moments] = numbers(&checkpoint)?;
            let n = statistics(&initial(&family())?).len();
            same("statistics", &statistics(&parameters).len(), &n)?;
            same("statistics with moments", &statistics(&moments).len(), &0)?;
            same("moments", &moments.len(), &(2 * (parameters.len() - n)))?;
            same_bits(&format!("{mesh:?}"), &statistics(&ran.parameters), &parameters)?;
            // As it was saved, by one rank.
            let config = TrainerConfig::new(1, 0.02);
            let mut alone = trainer_of(&family(), &Mesh::alone(), &Schedule::sequential(), &config).map_err(text)?;
            alone.load(&checkpoint).map_err(text)?;
            let loaded = crate::common::compare::parameters(alone.model().network());
            same_bits(&format!("loaded from {mesh:?}"), &ran.parameters, &loaded)
        })?;
    }
    Ok(())
}

fn a_file_has_statistics_by_pytorchs_names(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let (file, config) = (folder.join("network.safetensors"), eventful(1, 1, &Schedule::sequential()));
            let mut trainer = trainer_of(&family(), &mesh, &Schedule::sequential(), &config).map_err(text)?;
            let samples = samples_of(&family(), SAMPLES, &mesh);
            trainer.fit(&samples, None).map_err(text)?;
            trainer.export(&file).map_err(text)?;
            mesh.world().barrier().map_err(text)?;
            let tensors = import(&file).map_err(text)?;
            let shape = |name: &str| tensors.iter().find(|t| t.name == name).map(|t| t.shape.clone());
            for (name, channels) in [
                ("open.norm.running_mean", 2),
                ("open.norm.running_var", 2),
                ("layers.00000.norm1.running_mean", 2),
                ("layers.00003.norm.running_var", 4),
                ("layers.00008.norm2.running_mean", 4),
                ("layers.00015.norm2.running_var", 16),
            ] {
                same(name, &shape(name), &Some(vec![channels]))?;
            }
            let exported = parameters(trainer.model().network());
            let mut fresh = trainer_of(&family(), &mesh, &Schedule::sequential(), &config).map_err(text)?;
            let before = statistics(&parameters(fresh.model().network()));
            fresh.import(&file).map_err(text)?;
            let what = format!("{mesh:?}");
            let kept = before.iter().find(|(name, values)| exported[*name] == **values);
            ensure(kept.is_none(), || format!("{what}: the run left {:?}", kept))?;
            same_bits(&what, &parameters(fresh.model().network()), &exported)?;
            same(&what, &fresh.evaluate(&samples).map_err(text)?, &trainer.evaluate(&samples).map_err(text)?)
        })?;
    }
    Ok(())
}
