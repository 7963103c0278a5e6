//! One file, one schedule: the errors of loss, output and gradients.

use std::fmt;
use std::ops::Range;

use anyhow::Context;
use braidnet::nn::absorb_statistics;
use braidnet::prelude::*;

use super::errors::{gradient_error, is_worse, relative_error};
use super::family::{self, Batch, Family};
use super::file::File;

/// Largest relative error of the loss.
const LOSS_TOLERANCE: f64 = 1e-5;
/// Largest relative error of the output and of any gradient.
const GRADIENT_TOLERANCE: f64 = 1e-4;

/// Errors of one schedule.
pub struct Outcome {
    loss: f64,
    output: f64,
    gradient: f64,
    worst: String,
    iterations: [usize; 2],
}

impl Outcome {
    /// A comparison that a NaN does not pass.
    pub fn passes(&self) -> bool {
        self.loss <= LOSS_TOLERANCE && self.output <= GRADIENT_TOLERANCE && self.gradient <= GRADIENT_TOLERANCE
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loss, output, gradient, worst, iterations: [forward, backward] } = self;
        write!(
            f,
            "{forward:>3}/{backward:<3} iterations  loss {loss:8.1e}  output {output:8.1e}  \
             worst gradient {gradient:8.1e} ({worst})"
        )
    }
}

/// Schedules to compare, with their names.
pub fn schedules() -> Vec<(String, Schedule)> {
    let mut all = vec![("sequential".to_owned(), Schedule::sequential())];
    for (levels, cfactor) in [(2, 2), (2, 4), (3, 2), (3, 4)] {
        let solve = SolveConfig {
            max_levels: levels,
            max_iters: 100,
            min_coarse: 1,
            relaxation: Relaxation::Fcf(1),
            tolerance: Some(Tolerance::Stagnation(0.5)),
            ..SolveConfig::new(cfactor)
        };
        all.push((format!("layer-parallel {levels} levels cfactor {cfactor}"), Schedule::layer_parallel(solve)));
    }
    all
}

/// The errors of one schedule on the ranks of `comm`; on its last rank, `None` elsewhere.
pub fn compare(
    file: &File,
    family: &Family,
    schedule: &Schedule,
    (comm, device): (&Communicator, &Device),
) -> anyhow::Result<Option<Outcome>> {
    match family {
        Family::OdeNet2d(config) => {
            let init = |layers| Ok(config.init(layers, 1, 0, device)?);
            let batch = family::images::<4>(file, &config.image, config.classes, device)?;
            compare_network((file, schedule, comm), &config.grid()?, init, batch, None)
        }
        Family::OdeNet3d(config) => {
            let init = |layers| Ok(config.init(layers, 1, 0, device)?);
            let batch = family::images::<5>(file, &config.voxels, config.classes, device)?;
            compare_network((file, schedule, comm), &config.grid()?, init, batch, None)
        }
        Family::Blocks(config) => {
            let init = |layers| Ok(config.init(layers, 1, 0, device)?);
            let batch = family::images::<4>(file, &config.image, config.classes, device)?;
            compare_network((file, schedule, comm), &config.grid()?, init, batch, None)
        }
        Family::Transformer(config) => {
            let init = |layers| Ok(config.init(layers, 1, 0, device)?);
            let batch = family::sequences(file, config, device)?;
            compare_network((file, schedule, comm), &config.grid()?, init, batch, config.pad)
        }
        Family::EncoderDecoder(config) => {
            let init = |layers| Ok(config.init(layers, 1, 0, device)?);
            let batch = family::pairs(file, config, device)?;
            compare_network((file, schedule, comm), &config.grid()?, init, batch, config.pad)
        }
        Family::Gru(config) => {
            let init = |layers| Ok(config.init(layers, 0, device)?);
            let batch = family::features(file, config, device)?;
            compare_network((file, schedule, comm), &config.grid()?, init, batch, None)
        }
    }
}

/// As [`compare`], for a network that `init` makes of a range of layers.
fn compare_network<N: Network>(
    (file, schedule, comm): (&File, &Schedule, &Communicator),
    grid: &TimeGrid,
    init: impl FnOnce(Range<usize>) -> anyhow::Result<N>,
    batch: Batch<N::Input>,
    pad: Option<u32>,
) -> anyhow::Result<Option<Outcome>> {
    let partition = Partition::even(grid.n_steps(), comm.size())?;
    let network = init(partition.layers(comm.rank()))?;
    let tied = network.tied();
    let network = network.load(|name| {
        let known = file.name_of(name, &tied);
        if let Some((initial, after)) =
            initial_statistic(name).zip(file.tensor(&format!("buffer_after.{known}"), None).ok())
        {
            return Some((after.shape.clone(), vec![initial; after.values.len()]));
        }
        let values = file.tensor(&format!("param.{known}"), None).ok()?;
        Some((values.shape.clone(), values.values.iter().map(|v| *v as f32).collect()))
    });
    let network = network.with_context(|| file.name.clone())?;
    let mut model = LayerParallel::new(network, grid, &partition, schedule, comm)?;

    let Batch { size, input, target } = batch;
    let loss = model.forward(size, Some(&input))?.loss(|logits| family::loss(pad)(logits, target))?;
    let output: Option<Vec<f64>> = loss.output().map(|o| o.to_data().iter::<f64>().collect());
    let backward = loss.backward()?;
    let (error, name) = worst_gradient(file, model.network(), &backward)?;
    let last = comm.size() - 1;
    let errors = comm.gather(last, error, &())?;
    let names = comm.gather(last, name, &())?;
    let (Some(errors), Some(names), Some(output), Some(loss)) = (errors, names, output, backward.loss) else {
        return Ok(None);
    };
    let all = errors.into_iter().zip(names);
    let worst = all.reduce(|a, b| if is_worse(b.0, a.0) { b } else { a });
    let (gradient, worst) = worst.unwrap_or((f64::NAN, String::new()));
    Ok(Some(Outcome {
        loss: relative_error(&[loss], &file.tensor("expect.loss", None)?.values),
        output: relative_error(&output, &file.tensor("expect.output", None)?.values),
        gradient,
        worst,
        iterations: [backward.forward.iterations, backward.backward.iterations],
    }))
}

/// What a running statistic begins with.
fn initial_statistic(name: &str) -> Option<f32> {
    let is = |end| name.ends_with(end);
    is("running_mean").then_some(0.0).or(is("running_var").then_some(1.0))
}

/// Largest relative error of this rank's gradients and running statistics, and whose it is; every parameter must have a gradient.
fn worst_gradient<N: Network>(file: &File, network: &N, backward: &Backward) -> anyhow::Result<(f64, String)> {
    let mut parameters = Vec::new();
    absorb_statistics(network.clone(), &backward.gradients).visit_parameters(|p| parameters.push(p));
    let tied = network.tied();
    let mut worst = (0.0, "none".to_owned());
    let all = file.gradient_norm();
    for parameter in parameters {
        let name = file.name_of(&parameter.name, &tied);
        let gradient = backward.gradients.iter().find(|g| g.id == parameter.id);
        let gradient = gradient.with_context(|| format!("{}: no gradient of {name} was formed", file.name))?;
        let (key, values) = match parameter.is_statistic {
            true => (format!("buffer_after.{name}"), parameter.values.clone()),
            false => (format!("grad.{name}"), parameter.to_torch_layout(gradient.values.clone())),
        };
        let expected = file.tensor(&key, Some(&parameter.shape))?;
        let values: Vec<f64> = values.to_data().iter::<f64>().collect();
        let error = gradient_error(&values, &expected.values, all);
        if is_worse(error, worst.0) {
            worst = (error, name);
        }
    }
    Ok(worst)
}
