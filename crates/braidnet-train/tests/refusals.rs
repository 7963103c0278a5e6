//! Runs that end, or do not begin, and what they say: of NaNs, and of checkpoints that are refused.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use braidnet_checkpoint::find;
use braidnet_comm::{Launch, Mesh, launch};
use braidnet_data::sampler::epoch_order;
use braidnet_train::trainer::{CheckpointConfig, Resume};
use braidnet_train::{OptimizerConfig, Schedule, SolveConfig, Task, TrainerConfig};
use burn::tensor::{Int, Tensor};

use common::compare::parameters;
use common::run::{SAMPLES, fit, fit_for, mesh, trainer, training};
use common::{Set, pipeline};

/// With a checkpoint after every step.
fn saving(out: &Path, resume: Resume) -> TrainerConfig {
    let checkpoints = CheckpointConfig { every: Some(1), keep: 3, resume };
    TrainerConfig { checkpoints, ..training(out) }
}

/// What a run on `n` ranks, all of them layer ranks or all data ranks, ends with.
fn message(n: usize, layer_ranks: usize, run: impl Fn(&Mesh) -> Result<(), String> + Sync) -> String {
    launch(&Launch::ranks(n), |world| run(&mesh(&world, layer_ranks)?)).unwrap_err().to_string()
}

fn schedules() -> [Schedule; 3] {
    [Schedule::sequential(), Schedule::layer_parallel(SolveConfig::new(3)), pipeline()]
}

#[test]
fn a_nan_ends_the_run_with_its_place_and_leaves_the_checkpoints() {
    let bad = epoch_order(SAMPLES, 0, 0)[7];
    for (n, layer_ranks) in [(1, 1), (2, 2), (3, 3), (2, 1), (4, 2)] {
        for schedule in schedules() {
            let folder = tempfile::tempdir().unwrap();
            let set = Set::new(SAMPLES).with_nan(bad);
            let config = saving(folder.path(), Resume::No);
            let message = message(n, layer_ranks, |mesh| {
                fit(mesh, &schedule, &config, &set).map(|_| ()).map_err(|e| e.to_string())
            });
            for part in ["step 2, epoch 0", "layer", "not finite", "the checkpoint of step 1 in", "untouched"] {
                assert!(message.contains(part), "{schedule} on {n}: no `{part}` in: {message}");
            }
            // The checkpoint that the message speaks of is there and whole, and the run can go on from it.
            let checkpoint = find(folder.path().join("checkpoints")).unwrap().unwrap();
            assert_eq!(checkpoint.run().step, 1);
            checkpoint.verify().unwrap();
            let good = saving(folder.path(), Resume::Auto);
            let ran = fit(&Mesh::alone(), &schedule, &good, &Set::new(SAMPLES)).unwrap();
            assert_eq!(ran.outcome.step, 6);
        }
    }
}

#[test]
fn a_layer_that_makes_a_nan_is_named() {
    for ranks in 1..=3 {
        let message = message(ranks, ranks, |mesh| {
            let config = TrainerConfig { batch: 5, ..TrainerConfig::new(1, 0.1) };
            let mut trainer = trainer(mesh, &Schedule::sequential(), config).map_err(|e| e.to_string())?;
            let mut shapes = Vec::new();
            trainer.model().network().visit_parameters(|p| shapes.push((p.name, p.shape)));
            let values = parameters(trainer.model().network());
            let source = |name: &str| {
                let (_, shape) = shapes.iter().find(|(n, _)| n == name)?;
                // Layouts do not matter to a network that is spoilt anyway.
                let factor = if name == "layers.00005.conv2.bias" { f32::INFINITY } else { 1.0 };
                Some((shape.clone(), values[name].iter().map(|v| v * factor).collect()))
            };
            let spoilt = trainer.model().network().clone().load(source).map_err(|e| e.to_string())?;
            trainer.model_mut().update(|_| spoilt);
            trainer.fit(&Set::new(SAMPLES).on(mesh), None).map(|_| ()).map_err(|e| e.to_string())
        });
        assert!(message.contains("step 1, epoch 0: the output of layer 5 is not finite"), "{message}");
    }
}

/// Cross entropy, plus a zero whose derivative is NaN in the `nth` micro-batch.
fn broken(nth: usize) -> Task<Tensor<1, Int>> {
    let plain = Task::classification();
    let (loss, calls) = (plain.loss.clone(), AtomicUsize::new(0));
    let loss = move |x: Tensor<2>, target: &_| match calls.fetch_add(1, Ordering::Relaxed) {
        call if call == nth => loss(x.clone(), target) + (x.sum() * 0.0).sqrt(),
        _ => loss(x, target),
    };
    Task { loss: Arc::new(loss), ..plain }
}

#[test]
fn a_nan_in_the_adjoint_of_any_micro_batch_ends_the_run_before_the_update() {
    for ranks in [1, 2, 3] {
        for schedule in schedules() {
            // The first and the second of step 2; steps have two.
            for nth in [2, 3] {
                let folder = tempfile::tempdir().unwrap();
                let config = TrainerConfig { micro_batches: 2, ..saving(folder.path(), Resume::No) };
                let message = message(ranks, ranks, |mesh| {
                    let ran = fit_for(mesh, &schedule, &config, &Set::new(SAMPLES), broken(nth));
                    ran.map(|_| ()).map_err(|e| e.to_string())
                });
                let names = message.contains("step 2, epoch 0: the adjoint of layer");
                assert!(names, "{schedule} on {ranks}, micro-batch {nth}: {message}");
                assert_eq!(find(folder.path().join("checkpoints")).unwrap().unwrap().run().step, 1);
            }
        }
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let alone = Mesh::alone();
    let schedule = Schedule::sequential();
    let set = Set::new(SAMPLES);
    let before = saving(folder.path(), Resume::No);
    fit(&alone, &schedule, &before, &set).unwrap();
    let refused = |config: &TrainerConfig, set: &Set| fit(&alone, &schedule, config, set).err().unwrap().to_string();
    let resumed = saving(folder.path(), Resume::Auto);
    let cases = [
        (TrainerConfig { seed: 7, ..resumed.clone() }, set.clone(), ["seed", "is 0", "is 7"]),
        (resumed.clone(), Set::new(11), ["training samples", "is 12", "is 11"]),
        (TrainerConfig { optimizer: OptimizerConfig::Adam, ..resumed.clone() }, set.clone(), ["optim", "sgd", "adam"]),
        (before.clone(), set.clone(), ["has checkpoints already", "checkpoints", "resume"]),
    ];
    for (config, set, parts) in cases {
        let message = refused(&config, &set);
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in: {message}");
    }
    let other = tempfile::tempdir().unwrap();
    let from = |path: &Path| saving(other.path(), Resume::From(path.to_owned()));
    for path in [other.path().to_owned(), other.path().join("nowhere")] {
        let message = refused(&from(&path), &set);
        assert!(message.contains("has no checkpoint") && message.contains(path.to_str().unwrap()), "{message}");
    }
    // Nothing of this has changed the run: it has nothing left to do.
    let ran = fit(&alone, &schedule, &resumed, &set).unwrap();
    assert_eq!((ran.outcome.step, ran.outcome.steps.len()), (6, 0));
}

#[test]
fn a_checkpoint_of_another_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let alone = Mesh::alone();
    let config = saving(folder.path(), Resume::No);
    fit(&alone, &Schedule::sequential(), &config, &Set::new(SAMPLES)).unwrap();
    let network = common::config(common::LAYERS + 1);
    let model = common::model(&network, &Schedule::sequential(), alone.layer()).unwrap();
    let description = serde_json::json!({ "layers": network.layers, "channels": network.channels });
    let (task, resumed) = (Task::classification(), saving(folder.path(), Resume::Auto));
    let mut other =
        braidnet_train::Trainer::new(&alone, model, &Schedule::sequential(), task, description, resumed).unwrap();
    let message = other.fit(&Set::new(SAMPLES).on(&alone), None).err().unwrap().to_string();
    for part in ["another network", "/layers", "10", "11"] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[test]
fn a_damaged_file_is_named_and_ends_all_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let config = saving(folder.path(), Resume::No);
    fit(&Mesh::alone(), &Schedule::sequential(), &config, &Set::new(SAMPLES)).unwrap();
    let resumed = saving(folder.path(), Resume::Auto);
    let files = ["layers.00007.safetensors", "layers.00000.optimizer.safetensors", "close.safetensors", "index.json"];
    for name in files {
        let file = folder.path().join("checkpoints/step-00000006").join(name);
        let good = std::fs::read(&file).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bad).unwrap();
        for ranks in 1..=3 {
            let message = message(ranks, ranks, |mesh| {
                let ran = fit(mesh, &Schedule::sequential(), &resumed, &Set::new(SAMPLES));
                ran.map(|_| ()).map_err(|e| e.to_string())
            });
            // And the one before it offered instead.
            assert!(message.contains(name) && message.contains("step-00000005"), "{name}: {message}");
        }
        std::fs::write(&file, good).unwrap();
    }
    assert_eq!(fit(&Mesh::alone(), &Schedule::sequential(), &resumed, &Set::new(SAMPLES)).unwrap().outcome.step, 6);
}

/// Before any message.
#[test]
fn newtons_method_is_refused_where_layers_offer_no_diagonals() {
    for schedule in [
        Schedule::layer_parallel(SolveConfig::newton(3)),
        Schedule { backward: SolveConfig::newton(2), ..Schedule::sequential() },
    ] {
        let message = trainer(&Mesh::alone(), &schedule, TrainerConfig::new(1, 0.1)).err().unwrap().to_string();
        assert!(message.contains("diagonals") && message.contains("use multigrid"), "{schedule}: {message}");
    }
}
