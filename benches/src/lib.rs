//! What the benches share: networks, batches and training steps of the sizes that are compared.
//!
//! `cargo bench -p benches` runs all of them on threads; under `mpirun -n 2`, with `--features mpi`, the bench `step`
//! measures processes instead. Compare ratios of one run: absolute times depend on the machine and on what else it does.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use braidnet::prelude::*;

mod variants;

pub use variants::{Variant, measure_errors, measure_errors_of, print, time_in_turns};

/// Samples of every batch.
pub const BATCH: usize = 50;

/// Inputs of a batch and the classes of its rows.
pub struct Batch<I> {
    /// Samples.
    pub size: usize,
    /// Inputs.
    pub input: I,
    /// Classes.
    pub target: Tensor<1, Int>,
}

/// A batch of noise and its targets.
pub fn batch(device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let pixels: Vec<f32> = (0..BATCH * 784).map(|i| (i as f32 * 0.37).sin()).collect();
    let labels: Vec<i64> = (0..BATCH).map(|i| (i % 10) as i64).collect();
    let input = Tensor::from_data(TensorData::new(pixels, [BATCH, 1, 28, 28]), device);
    (input, Tensor::from_data(TensorData::new(labels, [BATCH]), device))
}

/// An ODENet on images of 28x28, spread over the ranks of `comm`.
///
/// # Errors
/// More ranks than layers, or an invalid schedule.
pub fn model(
    layers: usize,
    channels: usize,
    schedule: &Schedule,
    comm: &Communicator,
) -> Result<LayerParallel<OdeNet2d>, TrainError> {
    let config = OdeNet2dConfig::new(layers, channels);
    let partition = Partition::even(layers, comm.size())?;
    let network = config.init(partition.layers(comm.rank()), schedule.backward.cfactor, 0, &Device::flex())?;
    LayerParallel::new(network, &config.grid()?, &partition, schedule, comm)
}

/// Wall times of `n` training steps (forward, loss, adjoint, gradients, SGD update) on the ranks of `comm`, after two that
/// do not count. A barrier before each step keeps ranks from running ahead.
///
/// # Errors
/// A failed step.
pub fn time_steps<N: Network>(
    model: &mut LayerParallel<N>,
    batch: &Batch<N::Input>,
    comm: &Communicator,
    n: usize,
) -> Result<Vec<Duration>, TrainError> {
    let mut optimizer = Optimizer::new(OptimizerConfig::Sgd { momentum: 0.9 }, 1e-4)?;
    let mut times = Vec::with_capacity(n);
    for step in 0..n + 2 {
        comm.barrier()?;
        let start = Instant::now();
        let target = batch.target.clone();
        let loss = model.forward(batch.size, Some(&batch.input))?.loss(|logits| cross_entropy(logits, target))?;
        let gradients = loss.backward()?.gradients;
        optimizer.step(model, gradients);
        comm.barrier()?;
        if step >= 2 {
            times.push(start.elapsed());
        }
    }
    Ok(times)
}

/// Trains layer by layer, a step per batch; the last loss, on every rank.
///
/// # Errors
/// A failed step.
pub fn train<N: Network>(
    model: &mut LayerParallel<N>,
    batches: impl IntoIterator<Item = Batch<N::Input>>,
    (optimizer, rate): (OptimizerConfig, f64),
) -> Result<f64, TrainError> {
    let mut optimizer = Optimizer::new(optimizer, rate)?;
    let mut last = f64::NAN;
    for Batch { size, input, target } in batches {
        let backward = model.forward(size, Some(&input))?.loss(|logits| cross_entropy(logits, target))?.backward()?;
        last = backward.loss.unwrap_or(f64::NAN);
        optimizer.step(model, backward.gradients);
    }
    // Known on the last rank only.
    Ok(model.comm().all_gather(last, &())?.last().copied().unwrap_or(f64::NAN))
}

/// Parameters by name, in PyTorch's layouts.
type Parameters = HashMap<String, (Vec<usize>, Vec<f32>)>;

fn parameters<N: Network>(network: &N) -> Parameters {
    let mut all = Parameters::new();
    network.visit_parameters(|p| {
        let values = p.to_torch_layout(p.values.clone()).to_data().iter::<f32>().collect();
        all.insert(p.name, (p.shape, values));
    });
    all
}

fn with_parameters<N: Network>(model: &mut LayerParallel<N>, values: &Parameters) -> Result<(), TrainError> {
    let loaded = model.network().clone().load(|name| values.get(name).cloned());
    let network = loaded?;
    model.update(|_| network);
    Ok(())
}

/// How far a schedule is from exact, for one batch: its gradients of all ODE layers, and its last state's output.
///
/// # Errors
/// A failed solve.
pub fn errors<N: Network>(model: &mut LayerParallel<N>, batch: &Batch<N::Input>) -> Result<[f64; 2], TrainError> {
    let loss = |logits| cross_entropy(logits, batch.target.clone());
    let gradients = model.forward(batch.size, Some(&batch.input))?.loss(loss)?.backward()?.gradients;
    let error = model.gradient_error(batch.size, Some(&batch.input), loss, &gradients)?;
    Ok([error.relative, model.state_error(batch.size, Some(&batch.input))?])
}

/// First decile, median and last decile of `times` in milliseconds.
pub fn deciles(times: &mut [Duration]) -> [f64; 3] {
    times.sort();
    [1, 5, 9].map(|tenths| times.get(tenths * times.len() / 10).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3))
}
