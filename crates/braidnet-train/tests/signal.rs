//! A run that is told to stop by a signal; in a process of its own, which the signal reaches.
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(unix)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use braidnet_comm::{Launch, Mesh, launch};
use braidnet_train::trainer::{CheckpointConfig, End, Resume};
use braidnet_train::{OptimizerConfig, Schedule, Task, TrainerConfig};
use burn::tensor::{Int, Tensor};

use common::Set;
use common::compare::{same_bits, text};
use common::run::{Ran, SAMPLES, fit, fit_for, mesh, training};

/// A task whose `nth` loss raises SIGUSR1.
fn interrupted(nth: usize) -> Task<Tensor<1, Int>> {
    let plain = Task::classification();
    let (loss, calls) = (plain.loss.clone(), AtomicUsize::new(0));
    let loss = move |output, target: &_| {
        if calls.fetch_add(1, Ordering::Relaxed) == nth {
            signal_hook::low_level::raise(signal_hook::consts::SIGUSR1).unwrap();
        }
        loss(output, target)
    };
    Task { loss: Arc::new(loss), ..plain }
}

#[test]
fn a_run_that_gets_a_signal_saves_and_goes_on_later_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole", "cut"].map(|name| TrainerConfig {
        optimizer: OptimizerConfig::Adam,
        checkpoints: CheckpointConfig { every: None, keep: 3, resume: Resume::Auto },
        ..training(&folder.path().join(name))
    });
    let schedule = Schedule::sequential();
    let expected = fit(&Mesh::alone(), &schedule, &whole, &Set::new(SAMPLES)).unwrap();
    let on_two = |task: &(dyn Fn() -> Task<Tensor<1, Int>> + Sync)| -> Vec<Ran> {
        launch(&Launch::ranks(2), |world| {
            let mesh = mesh(&world, 2)?;
            fit_for(&mesh, &schedule, &cut, &Set::new(SAMPLES), task()).map_err(text)
        })
        .unwrap()
    };
    // The second step, in the middle of an epoch.
    for ran in on_two(&|| interrupted(1)) {
        assert_eq!((ran.outcome.end, ran.outcome.step), (End::Stopped, 2));
    }
    let read = |name: &str| std::fs::read_to_string(folder.path().join("cut").join(name)).unwrap();
    assert_eq!(read("state"), "stopped\n");
    assert!(read("metrics.jsonl").contains("signal"));
    for ran in on_two(&Task::classification) {
        assert_eq!((ran.outcome.end, ran.outcome.step), (End::Finished, 6));
        assert_eq!(ran.losses(), expected.losses());
        same_bits("parameters", &ran.parameters, &expected.parameters).unwrap();
    }
    assert_eq!(read("state"), "finished\n");
}
