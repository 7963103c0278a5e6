//! The trainer, spelled out: four thread ranks, two of them on either axis, with a folder for checkpoints and metrics.

use std::error::Error;
use std::sync::Arc;

use braidnet::prelude::*;
use braidnet::train::trainer::{CheckpointConfig, Resume};

fn main() -> Result<(), Box<dyn Error>> {
    let Split { train, test } = DigitsConfig { n_train: 2000, n_test: 200, seed: 0 }.generate();
    let (train, test) = (Arc::new(train), Arc::new(test));
    launch(&Launch::ranks(4), |world| -> Result<(), Box<dyn Error>> {
        let network = OdeNet2dConfig::new(16, 3);
        let degrees = MeshConfig { layer_ranks: Degree::Exactly(2), data_ranks: Degree::Auto };
        let mesh = Mesh::new(&world, &degrees, network.layers)?;
        let (grid, device) = (network.grid()?, Device::flex());
        let partition = Partition::even(network.layers, mesh.shape().layer_ranks)?;
        let schedule = Schedule::layer_parallel(SolveConfig::new(4));
        let own = network.init(partition.layers(mesh.layer_rank()), schedule.longest_run(&grid)?, 0, &device)?;
        let model = LayerParallel::new(own, &grid, &partition, &schedule, mesh.layer())?;

        let config = TrainerConfig {
            clip: Some(1.0),
            out: Some("runs/trainer".into()),
            checkpoints: CheckpointConfig { every: Some(20), keep: 3, resume: Resume::Auto },
            ..TrainerConfig::new(2, 1e-2)
        };
        let what = serde_json::to_value(&network)?; // a checkpoint of another network is refused
        let mut trainer = Trainer::new(&mesh, model, &schedule, Task::classification(), what, config)?;
        let outcome = trainer.fit(&samples(&train, &mesh, &device), Some(&samples(&test, &mesh, &device)))?;
        if world.rank() == 0 {
            println!("{:?} after {} steps: {:?}", outcome.end, outcome.step, outcome.test);
        }
        Ok(())
    })?;
    Ok(())
}

/// Images on the first layer rank, labels on the last.
fn samples(set: &Arc<ImageSet>, mesh: &Mesh, device: &Device) -> Samples<Tensor<4>, Tensor<1, Int>> {
    let (for_images, for_labels) = (device.clone(), device.clone());
    let images = move |images: Vec<Vec<f32>>| {
        let shape = [images.len(), 1, 28, 28];
        Tensor::from_data(TensorData::new(images.concat(), shape), &for_images)
    };
    let labels = move |labels: Vec<i64>| {
        let shape = [labels.len()];
        Tensor::from_data(TensorData::new(labels, shape), &for_labels)
    };
    let (is_first, is_last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
    Samples {
        n: set.len(),
        inputs: is_first.then(|| Feed::new(InMemory(Images(set.clone())), images)),
        targets: is_last.then(|| Feed::new(InMemory(Labels(set.clone())), labels)),
    }
}
