//! One training run.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use braidnet::prelude::*;
use braidnet::train::{memory, spread_within_runs};

use crate::Options;
use crate::report::{Progress, Row};

/// What is run.
pub struct Phase<'a> {
    pub name: &'a str,
    pub schedule: &'a Schedule,
}

/// What a run measures on its way.
#[derive(Default)]
struct Measured {
    steps: Vec<Duration>,
    errors: Vec<f64>,
}

/// A batch on one rank.
struct Batch {
    size: usize,
    input: Option<Tensor<4>>,
    target: Option<Tensor<1, Int>>,
}

/// Trains on all ranks of `comm`; the row for the table on its first rank.
pub fn train<'a>(
    options: &Options,
    phase: &Phase<'_>,
    comm: &Communicator,
    split: &dyn Fn() -> anyhow::Result<&'a Split>,
) -> anyhow::Result<Option<Row>> {
    memory::reset_peak();
    let (first, last) = (comm.rank() == 0, comm.rank() + 1 == comm.size());
    let data = if first || last { Some(split()?) } else { None };
    // Ranks between the first and the last read no data, but must know its sizes.
    let sizes = data.map(|d| vec![d.train.len(), d.test.len(), d.train.rows(), d.train.cols(), d.train.classes()]);
    let sizes = comm.broadcast(0, sizes.map(to_u64), &())?;
    let [n_train, n_test, rows, cols, classes] = sizes.iter().map(|n| *n as usize).collect::<Vec<_>>()[..] else {
        anyhow::bail!("rank 0 sent {} sizes of the data, expected 5", sizes.len());
    };
    ensure!(n_train > 0 && n_test > 0, "{n_train} training and {n_test} test images: at least 1 of each is needed");

    let config = options.network.config([1, rows, cols], classes);
    let mut model = build(options, &config, phase, comm)?;
    if first {
        announce(options, &config, phase);
    }
    let spread = spread_within_runs(&model)?;
    let measured = fit(options, &mut model, data.map(|d| &d.train), n_train)?;
    let accuracy = test(options, &mut model, data.map(|d| &d.test), n_test)?;
    let spread_after = spread_within_runs(&model)?;
    if first && let (Some(before), Some(after)) = (spread, spread_after) {
        println!("spread of parameters within coarse steps: {before:.3} before, {after:.3} after training");
    }
    let exact = phase.schedule.forward.max_levels == 1 && phase.schedule.backward.max_levels == 1;
    Ok(first.then(|| Row {
        name: phase.name.to_owned(),
        accuracy,
        step: deciles(measured.steps),
        memory: memory::peak(),
        gradient_error: summary(&measured.errors).filter(|_| !exact),
    }))
}

fn to_u64(sizes: Vec<usize>) -> Vec<u64> {
    sizes.into_iter().map(|n| n as u64).collect()
}

fn build(
    options: &Options,
    config: &OdeNet2dConfig,
    phase: &Phase<'_>,
    comm: &Communicator,
) -> anyhow::Result<LayerParallel<OdeNet2d>> {
    let partition = Partition::even(config.layers, comm.size())?;
    let grid = config.grid()?;
    // Runs of the schedule that is compared, also in the sequential run: both start from the same parameters.
    let run = longest_run(&grid, &options.schedule.schedule())?;
    let network = config.init(partition.layers(comm.rank()), run, options.seed, &options.device.device())?;
    Ok(LayerParallel::new(network, &grid, &partition, phase.schedule, comm)?)
}

/// Length in layers of the longest coarse step of either solve.
fn longest_run(grid: &TimeGrid, schedule: &Schedule) -> anyhow::Result<usize> {
    let solves = [schedule.forward.options("forward")?, schedule.backward.options("backward")?];
    let mut longest = 1;
    for solve in solves {
        longest = longest.max(braidnet::grid::Hierarchy::new(grid, &solve.coarsening)?.longest_run());
    }
    Ok(longest)
}

fn announce(options: &Options, config: &OdeNet2dConfig, phase: &Phase<'_>) {
    let source = options.data.as_ref().map_or("generated digits".to_owned(), |d| d.display().to_string());
    println!("{}: {} layers of {} channels on {source}", phase.name, config.layers, config.channels);
    println!("  schedule: {}", phase.schedule);
    println!("  initial parameters: {}, coarse operator: {:?}", config.depth_init, config.coarse);
    println!("  batch {}, {:?}, learning rate {}", options.batch, options.optimizer, options.learning_rate);
}

/// All epochs.
fn fit(
    options: &Options,
    model: &mut LayerParallel<OdeNet2d>,
    data: Option<&ImageSet>,
    n: usize,
) -> anyhow::Result<Measured> {
    let mut optimizer = Optimizer::new(options.optimizer(), options.learning_rate)?;
    let n_steps = options.epochs * n.div_ceil(options.batch);
    let mut progress = Progress::new(model.is_last(), n_steps);
    let mut measured = Measured::default();
    let mut step = 0;
    for epoch in 0..options.epochs {
        let order = sampler::epoch_order(n, options.seed, epoch as u64);
        for indices in sampler::batches(&order, options.batch)? {
            let batch = batch(options, model, data, indices);
            let probe = step % options.gradient_error_every == 0 || step + 1 == n_steps;
            let loss = train_step(model, &mut optimizer, &batch, probe, &mut measured)
                .with_context(|| format!("epoch {epoch}, step {step}"))?;
            progress.step(loss.unwrap_or(f64::NAN));
            step += 1;
        }
    }
    progress.finish();
    Ok(measured)
}

fn train_step(
    model: &mut LayerParallel<OdeNet2d>,
    optimizer: &mut Optimizer,
    batch: &Batch,
    probe: bool,
    measured: &mut Measured,
) -> anyhow::Result<Option<f64>> {
    let loss_of = |logits| match &batch.target {
        Some(target) => cross_entropy(logits, target.clone()),
        // Never on the last rank, which has the targets, and the loss is formed nowhere else.
        None => logits.sum() * f64::NAN,
    };
    let start = Instant::now();
    let forward = model.forward(batch.size, batch.input.as_ref())?;
    let backward = forward.loss(loss_of)?.backward()?;
    if probe {
        let input = batch.input.as_ref();
        let error = model.gradient_error(batch.size, input, loss_of, &backward.gradients)?;
        measured.errors.push(error.relative);
        optimizer.step(model, backward.gradients);
    } else {
        optimizer.step(model, backward.gradients);
        measured.steps.push(start.elapsed());
    }
    Ok(backward.loss)
}

/// The part of a batch that this rank needs.
fn batch(options: &Options, model: &LayerParallel<OdeNet2d>, data: Option<&ImageSet>, indices: &[usize]) -> Batch {
    let (size, device) = (indices.len(), options.device.device());
    let input = data.filter(|_| model.is_first()).map(|data| {
        let mut pixels = Vec::new();
        data.normalised_into(indices, &mut pixels);
        Tensor::from_data(TensorData::new(pixels, [size, 1, data.rows(), data.cols()]), &device)
    });
    let target = data
        .filter(|_| model.is_last())
        .map(|data| Tensor::from_data(TensorData::new(data.labels(indices), [size]), &device));
    Batch { size, input, target }
}

/// Correct part of the test images, by the exact forward pass; the same on all ranks.
fn test(
    options: &Options,
    model: &mut LayerParallel<OdeNet2d>,
    data: Option<&ImageSet>,
    n: usize,
) -> anyhow::Result<f64> {
    let order: Vec<usize> = (0..n).collect();
    let mut hits = [0u64];
    for indices in sampler::batches(&order, options.batch.max(200))? {
        let batch = batch(options, model, data, indices);
        let logits = model.evaluate_exact(batch.size, batch.input.as_ref())?;
        if let (Some(logits), Some(target)) = (logits, batch.target) {
            hits[0] += correct(logits, target) as u64;
        }
    }
    model.comm().all_reduce(&mut hits, ReduceOp::Sum)?;
    Ok(hits[0] as f64 / n as f64)
}

/// First decile, median and last decile.
fn deciles(mut steps: Vec<Duration>) -> [Duration; 3] {
    steps.sort();
    let at = |part: f64| steps.get((part * steps.len() as f64) as usize).copied().unwrap_or_default();
    [at(0.1), at(0.5), at(0.9)]
}

/// First, median and last.
fn summary(errors: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = errors.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some([*errors.first()?, sorted[sorted.len() / 2], *errors.last()?])
}
