//! Checkpoints and files of networks whose layers share parameters: each is there once, and any ranks can go on from it.

use std::collections::BTreeMap;
use std::path::Path;

use braidnet_checkpoint::{Checkpoint, Part, PartName, find, import};
use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_train::trainer::{CheckpointConfig, End, Resume};
use braidnet_train::{OptimizerConfig, Schedule, TrainerConfig};

use crate::common::compare::{Checked, Values, distance, ensure, parameters, same, same_bits, text};
use crate::common::families::{fit_of, samples_of, trainer_of};
use crate::common::run::{meshes, training, with_folder};
use crate::gru_copies::{N_PARAMETERS, family, shared};

pub const TESTS: &[RankTest] = &[
    ("a_checkpoint_has_what_layers_share_once", a_checkpoint_has_what_layers_share_once),
    ("a_recurrent_run_goes_on_with_other_ranks", a_recurrent_run_goes_on_with_other_ranks),
    ("a_file_has_what_layers_share_once", a_file_has_what_layers_share_once),
];

fn saving(out: &Path, checkpoints: CheckpointConfig) -> TrainerConfig {
    TrainerConfig { batch: 4, optimizer: OptimizerConfig::Adam, checkpoints, ..training(out) }
}

/// The parts of a checkpoint.
fn parts(checkpoint: &Checkpoint) -> Result<BTreeMap<String, Part>, String> {
    let read = |name: PartName| Ok((name.to_string(), checkpoint.read_part(name).map_err(text)?));
    checkpoint.part_names().map(read).collect()
}

/// All numbers of a checkpoint by name: parameters, then moments.
fn numbers(parts: &BTreeMap<String, Part>) -> Result<[Values; 2], String> {
    let mut all = [Values::new(), Values::new()];
    for part in parts.values() {
        for (all, tensors) in all.iter_mut().zip([&part.parameters, &part.moments]) {
            for tensor in tensors {
                let twice = all.insert(tensor.name.clone(), tensor.to_f32().map_err(text)?);
                ensure(twice.is_none(), || format!("{} is there twice", tensor.name))?;
            }
        }
    }
    Ok(all)
}

fn a_checkpoint_has_what_layers_share_once(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let config = saving(folder, CheckpointConfig { every: Some(2), keep: 9, resume: Resume::No });
            let ran = fit_of(&family(), &mesh, &Schedule::sequential(), &config, 6).map_err(text)?;
            same("steps", &ran.outcome.step, &4)?;
            let checkpoint = find(folder.join("checkpoints")).map_err(text)?.ok_or("no checkpoint")?;
            checkpoint.verify().map_err(text)?;
            let parts = parts(&checkpoint)?;
            same("parts", &parts.keys().map(String::as_str).collect(), &vec!["close", "open"])?;
            let [parameters, moments] = numbers(&parts)?;
            same("parameters", &parameters.len(), &N_PARAMETERS)?;
            // Two of each, and how many steps they are of.
            same("moments", &moments.len(), &(2 * N_PARAMETERS))?;
            let scalars: usize = parts.values().map(|part| part.scalars.len()).sum();
            ensure(scalars >= N_PARAMETERS, || format!("{scalars} scalars"))?;
            let sizes = |values: &Values| values.values().map(Vec::len).sum::<usize>();
            same("moments of every number", &sizes(&moments), &(2 * sizes(&parameters)))?;
            for name in shared(&ran.parameters).keys() {
                let mut own: Vec<u32> = parameters[name].iter().map(|v| v.to_bits()).collect();
                let mut trained: Vec<u32> = ran.parameters[name].iter().map(|v| v.to_bits()).collect();
                // In another layout.
                own.sort_unstable();
                trained.sort_unstable();
                same(name, &own, &trained)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Saved by some ranks and taken up by fewer and by more: the same numbers, moments too, and the same run but for rounding.
fn a_recurrent_run_goes_on_with_other_ranks(world: &Communicator) -> Checked {
    let schedule = Schedule::sequential();
    let every = |every, resume| CheckpointConfig { every, keep: 9, resume };
    for saved_by in (1..=world.size()).rev() {
        with_folder(world, |folder| {
            let whole = folder.join("whole");
            if let Some(some) = world.first_ranks(saved_by).map_err(text)? {
                let mesh = meshes(&some)?.swap_remove(0);
                fit_of(&family(), &mesh, &schedule, &saving(&whole, every(Some(2), Resume::No)), 6).map_err(text)?;
            }
            world.barrier().map_err(text)?;
            let at = |folder: &Path, step: u64| {
                let checkpoint = Checkpoint::open(folder.join(format!("checkpoints/step-{step:08}"))).map_err(text)?;
                numbers(&parts(&checkpoint)?)
            };
            let [expected, moments] = at(&whole, 4)?;
            for mesh in meshes(world)? {
                let what = format!("saved on {saved_by} ranks, taken up on {mesh:?}");
                let name = format!("on {} layer ranks", mesh.shape().layer_ranks);
                let from = Resume::From(whole.join("checkpoints/step-00000002"));
                let config = saving(&folder.join(&name), every(Some(1), from));
                let ran = fit_of(&family(), &mesh, &schedule, &config, 6).map_err(text)?;
                same(&what, &(ran.outcome.step, ran.outcome.end), &(4, End::Finished))?;
                let [got, got_moments] = at(&folder.join(&name), 4)?;
                let off = [distance(&got, &expected), distance(&got_moments, &moments)];
                ensure(off[0] < 1e-5 && off[1] < 1e-4, || format!("{what}: off by {off:?}"))?;
                if mesh.shape().layer_ranks == saved_by && mesh.shape().data_ranks == 1 {
                    same_bits(&what, &got, &expected)?;
                    same_bits(&what, &got_moments, &moments)?;
                }
                // As it was saved, before any step.
                let config = TrainerConfig::new(1, 0.02);
                let mut fresh = trainer_of(&family(), &mesh, &schedule, &config).map_err(text)?;
                let last = find(whole.join("checkpoints")).map_err(text)?.ok_or("no checkpoint")?;
                fresh.load(&last).map_err(text)?;
                let file = folder.join(format!("{name}.safetensors"));
                fresh.export(&file).map_err(text)?;
                world.barrier().map_err(text)?;
                same_bits(&what, &tensors(&file)?, &expected)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What a file has, by name.
fn tensors(file: &Path) -> Result<Values, String> {
    let mut all = Values::new();
    for tensor in import(file).map_err(text)? {
        let twice = all.insert(tensor.name.clone(), tensor.to_f32().map_err(text)?);
        ensure(twice.is_none(), || format!("{} is there twice", tensor.name))?;
    }
    Ok(all)
}

fn a_file_has_what_layers_share_once(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let (file, config) = (folder.join("network.safetensors"), TrainerConfig::new(1, 0.02));
            let mut trainer = trainer_of(&family(), &mesh, &Schedule::sequential(), &config).map_err(text)?;
            trainer.fit(&samples_of(&family(), 6, &mesh), None).map_err(text)?;
            trainer.export(&file).map_err(text)?;
            mesh.world().barrier().map_err(text)?;
            same("tensors", &tensors(&file)?.len(), &N_PARAMETERS)?;
            let exported = parameters(trainer.model().network());
            let mut fresh = trainer_of(&family(), &mesh, &Schedule::sequential(), &config).map_err(text)?;
            let before = parameters(fresh.model().network());
            ensure(same_bits("", &before, &exported).is_err(), || "nothing was trained".to_owned())?;
            fresh.import(&file).map_err(text)?;
            same_bits(&format!("{mesh:?}"), &parameters(fresh.model().network()), &exported)
        })?;
    }
    Ok(())
}
