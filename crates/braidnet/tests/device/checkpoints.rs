//! A run whose every step is done on another device than the one before, from its checkpoint.

use std::fs::create_dir;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use braidnet::checkpoint::{Part, find};
use braidnet::device::DeviceSpec;
use braidnet::monitor::metrics::{Record, read};
use braidnet::prelude::*;
use braidnet::train::trainer::{CheckpointConfig, OnNan, Resume, Show};
use burn_dataset::InMemDataset;

use crate::given::{device, flex, given};
use crate::kinds::convolutions;
use crate::train::between_losses;

/// Two epochs of three steps.
const N_SAMPLES: usize = 12;
const BATCH: usize = 4;
const STEPS: usize = 6;
/// Largest relative distance of losses: Adam divides by the size of gradients, however small, and so magnifies their rounding.
const TOLERANCE: f64 = 1e-4;

/// An image and its class.
type Sample = (Vec<f32>, i64);

fn samples(mesh: &Mesh, device: &Device) -> Samples<Tensor<4>, Tensor<1, Int>> {
    let sample = |n: usize| ((0..36).map(|i| ((7 * i + 29 * n) as f32 * 0.37).sin()).collect(), (3 * n % 10) as i64);
    let all = || InMemory(InMemDataset::<Sample>::new((0..N_SAMPLES).map(sample).collect()));
    let (for_images, for_classes) = (device.clone(), device.clone());
    let images = move |samples: Vec<Sample>| {
        let pixels: Vec<f32> = samples.iter().flat_map(|sample| sample.0.iter().copied()).collect();
        Tensor::from_data(TensorData::new(pixels, [samples.len(), 1, 6, 6]), &for_images)
    };
    let classes = move |samples: Vec<Sample>| {
        let classes: Vec<i64> = samples.iter().map(|sample| sample.1).collect();
        Tensor::from_data(TensorData::new(classes, [samples.len()]), &for_classes)
    };
    let (is_first, is_last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
    Samples {
        n: N_SAMPLES,
        inputs: is_first.then(|| Feed::new(all(), images)),
        targets: is_last.then(|| Feed::new(all(), classes)),
    }
}

/// A run into the folder `out`, on two ranks.
fn fit(spec: DeviceSpec, task: &Task<Tensor<1, Int>>, training: &TrainerConfig) {
    let outcomes = launch(&Launch::ranks(2), |world| -> Result<Outcome, TrainError> {
        let device = device(spec, world.rank());
        let config = convolutions();
        let degrees = MeshConfig { layer_ranks: Degree::Exactly(2), data_ranks: Degree::Auto };
        let mesh = Mesh::new(&world, &degrees, config.layers)?;
        let (grid, partition) = (config.grid()?, Partition::even(config.layers, 2)?);
        let schedule = Schedule::layer_parallel(SolveConfig::new(2));
        let own = config.init(partition.layers(mesh.layer_rank()), 2, 0, &device)?;
        let model = LayerParallel::new(own, &grid, &partition, &schedule, mesh.layer())?;
        let what = serde_json::json!({ "layers": config.layers });
        let mut trainer = Trainer::new(&mesh, model, &schedule, task.clone(), what, training.clone())?;
        trainer.fit(&samples(&mesh, &device), None)
    });
    outcomes.unwrap();
}

/// All steps into `out`, from its checkpoint if it has one.
fn training(out: &Path, optimizer: OptimizerConfig) -> TrainerConfig {
    let checkpoints = CheckpointConfig { every: None, keep: 1, resume: Resume::Auto };
    let (batch, out) = (BATCH, Some(out.to_owned()));
    TrainerConfig { batch, optimizer, out, checkpoints, show: Show::Nothing, ..TrainerConfig::new(2, 0.02) }
}

/// As `training`, with no time for more than one step.
fn one_step(training: TrainerConfig) -> TrainerConfig {
    TrainerConfig { time_limit: Some(Duration::from_millis(1)), ..training }
}

/// Parameters, moments and counters of the latest checkpoint of a run.
fn saved(out: &Path) -> Vec<Part> {
    let checkpoint = find(out.join("checkpoints")).unwrap().unwrap();
    let parts: Vec<Part> = checkpoint.part_names().map(|name| checkpoint.read_part(name).unwrap()).collect();
    assert!(parts.iter().any(|part| !part.moments.is_empty()), "something is kept by the optimizer");
    parts
}

fn losses(out: &Path) -> Vec<f64> {
    let of = |record| if let Record::Step(step) = record { step.loss } else { None };
    read(out.join("metrics.jsonl")).unwrap().into_iter().filter_map(of).collect()
}

/// What a device has right after it has loaded the latest checkpoint of `from`: it goes on in `to` by a step that has no finite loss,
/// whose update is left out, and saves.
fn loaded_and_saved(spec: DeviceSpec, from: &Path, to: &Path, optimizer: OptimizerConfig) -> Vec<Part> {
    let checkpoints = CheckpointConfig { every: None, keep: 1, resume: Resume::From(from.join("checkpoints")) };
    let training = TrainerConfig { checkpoints, on_nan: OnNan::Skip, ..one_step(training(to, optimizer)) };
    let lost = |logits: Tensor<2>, target: &Tensor<1, Int>| cross_entropy(logits, target.clone()) * f32::NAN;
    fit(spec, &Task { loss: Arc::new(lost), ..Task::classification() }, &training);
    saved(to)
}

fn there_and_back(spec: DeviceSpec, optimizer: OptimizerConfig) {
    let folder = tempfile::tempdir().unwrap();
    let [alone, mixed] = ["alone", "mixed"].map(|name| folder.path().join(name));
    fit(flex(), &Task::classification(), &training(&alone, optimizer));
    for step in 1..=STEPS {
        let [here, there] = if step % 2 == 1 { [flex(), spec] } else { [spec, flex()] };
        fit(here, &Task::classification(), &one_step(training(&mixed, optimizer)));
        let copy = folder.path().join(format!("copy-{step}"));
        create_dir(&copy).unwrap();
        let what = format!("{optimizer:?}, step {step}, from {here} to {there}");
        if step < STEPS {
            assert!(loaded_and_saved(there, &mixed, &copy, optimizer) == saved(&mixed), "{what}");
        }
    }
    let distance = between_losses(&losses(&mixed), &losses(&alone));
    println!("losses {distance:7.1e}: {optimizer:?}");
    assert_eq!(losses(&alone).len(), STEPS);
    assert!(distance <= TOLERANCE, "{optimizer:?}: losses {:?}, {:?}", losses(&mixed), losses(&alone));
}

#[test]
fn a_run_goes_on_on_the_other_device_and_back() {
    let Some(spec) = given() else { return };
    for optimizer in [OptimizerConfig::Sgd { momentum: 0.9 }, OptimizerConfig::Adam] {
        there_and_back(spec, optimizer);
    }
}
