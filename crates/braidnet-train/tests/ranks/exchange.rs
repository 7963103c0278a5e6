//! One file with the whole network: PyTorch's names and layouts, and back.

use std::path::Path;

use braidnet_checkpoint::{find, import};
use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_train::{OptimizerConfig, Schedule, TrainerConfig};

use crate::common::compare::{Checked, Values, ensure, parameters, same, same_bits, text};
use crate::common::run::{SAMPLES, fit, meshes, trainer, training, with_folder};
use crate::common::{LAYERS, Set};

pub const TESTS: &[RankTest] = &[
    ("what_is_exported_is_imported_to_the_bit", what_is_exported_is_imported_to_the_bit),
    ("what_is_saved_is_loaded_to_the_bit_by_any_layout", what_is_saved_is_loaded_to_the_bit_by_any_layout),
    ("the_file_is_as_pytorch_has_it", the_file_is_as_pytorch_has_it),
];

/// Trains for an epoch and exports; this rank's parameters.
fn export(mesh: &Mesh, file: &Path) -> Result<Values, String> {
    let config = TrainerConfig { batch: 6, ..TrainerConfig::new(1, 0.1) };
    let mut trainer = trainer(mesh, &Schedule::sequential(), config).map_err(text)?;
    trainer.fit(&Set::new(SAMPLES).on(mesh), None).map_err(text)?;
    trainer.export(file).map_err(text)?;
    mesh.world().barrier().map_err(text)?;
    Ok(parameters(trainer.model().network()))
}

fn what_is_exported_is_imported_to_the_bit(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let file = folder.join("network.safetensors");
            let exported = export(&mesh, &file)?;
            let config = TrainerConfig::new(1, 0.1);
            let mut fresh = trainer(&mesh, &Schedule::sequential(), config).map_err(text)?;
            let before = parameters(fresh.model().network());
            fresh.import(&file).map_err(text)?;
            ensure(same_bits("", &before, &exported).is_err(), || "nothing was trained".to_owned())?;
            same_bits(&format!("{mesh:?}"), &parameters(fresh.model().network()), &exported)?;
            if mesh.shape().data_ranks == 1 {
                let own = tempfile::tempdir().map_err(text)?;
                let alone = own.path().join("alone.safetensors");
                export(&Mesh::alone(), &alone)?;
                let [a, b] = [&file, &alone].map(std::fs::read);
                same("bytes of the file of one rank", &(a.map_err(text)? == b.map_err(text)?), &true)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn what_is_saved_is_loaded_to_the_bit_by_any_layout(world: &Communicator) -> Checked {
    let sequential = Schedule::sequential();
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let saved = fit(&mesh, &sequential, &training(folder), &Set::new(SAMPLES)).map_err(text)?;
            let checkpoint = find(folder.join("checkpoints")).map_err(text)?.ok_or("no checkpoint")?;
            // Another optimizer than the one whose moments were saved is no obstacle.
            let config = TrainerConfig { optimizer: OptimizerConfig::Adam, ..TrainerConfig::new(1, 0.1) };
            let mut fresh = trainer(&mesh, &sequential, config.clone()).map_err(text)?;
            let before = parameters(fresh.model().network());
            ensure(same_bits("", &before, &saved.parameters).is_err(), || "nothing was trained".to_owned())?;
            fresh.load(&checkpoint).map_err(text)?;
            same_bits(&format!("{mesh:?}"), &parameters(fresh.model().network()), &saved.parameters)?;
            let mut alone = trainer(&Mesh::alone(), &sequential, config).map_err(text)?;
            alone.load(&checkpoint).map_err(text)?;
            let all = parameters(alone.model().network());
            let own = saved.parameters.keys().map(|name| (name.clone(), all[name].clone())).collect();
            same_bits(&format!("alone, of {mesh:?}"), &own, &saved.parameters)
        })?;
    }
    Ok(())
}

fn the_file_is_as_pytorch_has_it(world: &Communicator) -> Checked {
    with_folder(world, |folder| {
        let file = folder.join("network.safetensors");
        let mesh = crate::common::run::mesh(world, world.size())?;
        let own = export(&mesh, &file)?;
        let tensors = import(&file).map_err(text)?;
        let shape = |name: &str| tensors.iter().find(|t| t.name == name).map(|t| t.shape.clone());
        same("closing layer", &shape("close.fc1.weight"), &Some(vec![8, 72]))?;
        same("closing layer", &shape("close.fc2.weight"), &Some(vec![10, 8]))?;
        same("closing layer", &shape("close.fc2.bias"), &Some(vec![10]))?;
        same("convolution", &shape("layers.00009.conv2.weight"), &Some(vec![2, 2, 3, 3]))?;
        same(
            "tensors of the layers",
            &tensors.iter().filter(|t| t.name.starts_with("layers.")).count(),
            &(4 * LAYERS),
        )?;
        if mesh.layer_rank() + 1 == world.size() {
            // burn keeps [in, out], the file has [out, in].
            let stored = &own["close.fc1.weight"];
            let tensor = tensors.iter().find(|t| t.name == "close.fc1.weight").ok_or("no fc1")?;
            let values = tensor.to_f32().map_err(text)?;
            let transposed = (0..8 * 72).all(|i| values[i] == stored[(i % 72) * 8 + i / 72]);
            ensure(transposed, || "the weight of a dense layer is not [out, in]".to_owned())?;
        }
        Ok(())
    })
}
