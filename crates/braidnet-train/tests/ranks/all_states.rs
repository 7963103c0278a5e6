//! Outputs of all states of a sequence: the loss reads them on the last rank, every rank's adjoint has sources.
#![allow(clippy::unwrap_used)]

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_grid::Partition;
use braidnet_mgrit::{Activations, Relaxation, Tolerance};
use braidnet_nn::gru::{GruConfig, GruNet, GruOutputs, Sequences};
use braidnet_nn::{Network, Parameter};
use braidnet_train::{LayerParallel, Schedule, SolveConfig, TrainError, cross_entropy};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::common::compare::{Checked, ensure, text};
use crate::common::pipeline;

pub const TESTS: &[RankTest] = &[
    (
        "gradients_of_a_loss_of_all_states_are_those_of_autograd",
        gradients_of_a_loss_of_all_states_are_those_of_autograd,
    ),
    ("schedules_that_keep_no_states_are_refused", schedules_that_keep_no_states_are_refused),
];

const SAMPLES: usize = 3;
const FEATURES: usize = 4;
const CLASSES: usize = 5;

fn config(length: usize, cells: usize) -> GruConfig {
    GruConfig {
        outputs: GruOutputs::All,
        coarse_parts: 2,
        final_time: 0.7 * length as f64,
        ..GruConfig::new(length, FEATURES, 6, cells, CLASSES)
    }
}

fn input(length: usize) -> Tensor<3> {
    let values: Vec<f32> = (0..SAMPLES * length * FEATURES).map(|i| (i as f32 * 0.61).sin()).collect();
    Tensor::from_data(TensorData::new(values, [SAMPLES, length, FEATURES]), &Device::flex())
}

fn targets(length: usize) -> Tensor<1, Int> {
    let classes: Vec<i64> = (0..SAMPLES * length).map(|i| (i * i % CLASSES) as i64).collect();
    let n = classes.len();
    Tensor::from_data(TensorData::new(classes, [n]), &Device::flex())
}

fn model(config: &GruConfig, schedule: &Schedule, comm: &Communicator) -> Result<LayerParallel<GruNet>, TrainError> {
    let partition = Partition::even(config.length, comm.size())?;
    let network = config.init(partition.layers(comm.rank()), 3, &Device::flex())?;
    LayerParallel::new(network, &config.grid()?, &partition, schedule, comm)
}

/// Loss and gradients by name, of the formulas in burn's operations under its autograd.
fn plain(config: &GruConfig) -> (f64, Vec<(String, Vec<f64>)>) {
    let device = Device::flex();
    let whole = config.init(0..config.length, 3, &device).unwrap();
    let mut parameters: Vec<(Parameter, Tensor<2>)> = Vec::new();
    whole.visit_parameters(|p| {
        let [rows, columns] = match p.shape[..] {
            // Stored as the transpose.
            [rows, columns] => [columns, rows],
            _ => [1, p.shape[0]],
        };
        let leaf = p.values.clone().reshape([rows, columns]).autodiff().require_grad();
        parameters.push((p, leaf));
    });
    let get = |name: &str| parameters.iter().find(|(p, _)| p.name == name).map(|(_, leaf)| leaf.clone()).unwrap();
    let (hidden, dt) = (config.hidden, config.final_time / config.length as f64);
    let x = input(config.length).autodiff();
    let zero = || Tensor::<2>::zeros([SAMPLES, hidden], &device).autodiff();
    let mut h: Vec<Tensor<2>> = (0..config.cells).map(|_| zero()).collect();
    let mut tops = Vec::new();
    for step in 0..config.length {
        let mut below = x.clone().narrow(1, step, 1).reshape([SAMPLES, FEATURES]);
        for (k, h) in h.iter_mut().enumerate() {
            let part = |name: &str| get(&format!("shared.cells.{k}.{name}"));
            let a = below.matmul(part("x.weight")) + part("x.bias");
            let b = h.clone().matmul(part("h.weight")) + part("h.bias");
            let block = |of: &Tensor<2>, n: usize| of.clone().narrow(1, n * hidden, hidden);
            let (r, z) = (sigmoid(block(&a, 0) + block(&b, 0)), sigmoid(block(&a, 1) + block(&b, 1)));
            let n = (block(&a, 2) + r * block(&b, 2)).tanh();
            let w = (z * -1.0 + 1.0) * dt;
            *h = (h.clone() + w.clone() * n) / (w + 1.0);
            below = h.clone();
        }
        tops.push(below);
    }
    let all = Tensor::stack::<3>(tops, 1).reshape([SAMPLES * config.length, hidden]);
    let loss = cross_entropy(all.matmul(get("close.head.weight")) + get("close.head.bias"), targets(config.length));
    let tape = loss.backward();
    let gradient = |(p, leaf): &(Parameter, Tensor<2>)| {
        let values = leaf.grad(&tape).unwrap().to_data().iter::<f64>().collect();
        (p.name.clone(), values)
    };
    (loss.inner().into_scalar::<f64>(), parameters.iter().map(gradient).collect())
}

/// As far as MGRIT comes.
fn converged(levels: usize, cfactor: usize) -> Schedule {
    Schedule::layer_parallel(SolveConfig {
        max_levels: levels,
        max_iters: 60,
        min_coarse: 1,
        relaxation: Relaxation::Fcf(1),
        tolerance: Some(Tolerance::Stagnation(0.5)),
        ..SolveConfig::new(cfactor)
    })
}

fn gradients_of_a_loss_of_all_states_are_those_of_autograd(world: &Communicator) -> Checked {
    let newton = Schedule::layer_parallel(SolveConfig {
        tolerance: Some(Tolerance::Stagnation(0.5)),
        ..SolveConfig::newton(60)
    });
    let schedules = [Schedule::sequential(), converged(2, 3), converged(3, 2), newton];
    for (length, cells) in [(1, 1), (2, 1), (4, 2), (11, 1), (13, 2)] {
        let config = config(length, cells);
        let (expected_loss, expected) = plain(&config);
        for ranks in 1..=world.size().min(length) {
            let Some(comm) = world.first_ranks(ranks).map_err(text)? else { continue };
            for schedule in &schedules {
                let what = format!("length {length}, {cells} cells, {ranks} ranks, {schedule}");
                let mut model = model(&config, schedule, &comm).map_err(text)?;
                let batch: Sequences = input(length).into();
                let forward = model.forward(SAMPLES, Some(&batch)).map_err(text)?;
                let loss = forward.loss(|logits| cross_entropy(logits, targets(length))).map_err(text)?;
                let backward = loss.backward().map_err(text)?;
                if let Some(loss) = backward.loss {
                    ensure((loss / expected_loss - 1.0).abs() < 1e-5, || format!("{what}: loss {loss}"))?;
                }
                let mut off: f64 = 0.0;
                model.network().visit_parameters(|p| {
                    let own = backward.gradients.iter().find(|g| g.id == p.id);
                    let own: Vec<f64> = own.map(|g| g.values.to_data().iter::<f64>().collect()).unwrap_or_default();
                    let its = &expected.iter().find(|(name, _)| *name == p.name).unwrap().1;
                    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
                    let difference: Vec<f64> = own.iter().zip(its).map(|(a, b)| a - b).collect();
                    let error = if own.len() == its.len() { norm(&difference) / norm(its) } else { f64::INFINITY };
                    off = off.max(error);
                });
                ensure(off < 1e-4, || format!("{what}: a gradient is off by {off:e}"))?;
            }
        }
    }
    Ok(())
}

fn schedules_that_keep_no_states_are_refused(world: &Communicator) -> Checked {
    let recompute = Schedule { activations: Activations::Recompute, ..Schedule::sequential() };
    for (schedule, words) in [(pipeline(), "pipeline"), (recompute, "store the activations")] {
        let length = 4 * world.size();
        let message = model(&config(length, 1), &schedule, world).err().map(text).unwrap_or_default();
        ensure(message.contains(words), || format!("{schedule}: {message}"))?;
    }
    Ok(())
}
