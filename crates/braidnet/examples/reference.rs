//! Compares networks with PyTorch: loss, output and every gradient, for every schedule and rank count.

#[path = "reference/family.rs"]
mod family;
#[path = "reference/file.rs"]
mod file;

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use braidnet::comm::mpi_world_size;
use braidnet::describe;
use braidnet::monitor::logging;
use braidnet::nn::absorb_statistics;
use braidnet::prelude::*;
use clap::Parser;

use family::{Batch, Family};
use file::File;

/// Largest relative error of the loss.
const LOSS_TOLERANCE: f64 = 1e-5;
/// Largest relative error of the output and of any gradient.
const GRADIENT_TOLERANCE: f64 = 1e-4;
/// Norm, relative to that of all gradients, below which a gradient in double precision is zero.
const ROUND_OFF: f64 = 1e-12;
/// Exit code where a file's family is not built yet and nothing else is wrong.
const NOT_BUILT: u8 = 2;

/// Builds the network that each file's metadata describes, loads its parameters and compares loss, output and gradients.
#[derive(Debug, Parser)]
struct Options {
    /// safetensors files written by PyTorch.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Rank counts, one after the other; under mpirun at most the ranks started, and all of them by default.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    ranks: Vec<usize>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Errors of one schedule.
struct Outcome {
    loss: f64,
    output: f64,
    gradient: f64,
    worst: String,
    iterations: [usize; 2],
}

impl Outcome {
    /// A comparison that a NaN does not pass.
    fn passes(&self) -> bool {
        self.loss <= LOSS_TOLERANCE && self.output <= GRADIENT_TOLERANCE && self.gradient <= GRADIENT_TOLERANCE
    }
}

fn main() -> ExitCode {
    compare_all().unwrap_or_else(|error| {
        eprintln!("error: {}", describe(error.as_ref()));
        ExitCode::FAILURE
    })
}

fn compare_all() -> anyhow::Result<ExitCode> {
    let mut options = Options::parse();
    logging::init(None)?;
    if let Some(size) = mpi_world_size() {
        let given = std::env::args().any(|a| a.starts_with("--ranks"));
        options.ranks = if given { options.ranks } else { vec![size] };
    }
    let files = options.files.iter().map(|path| File::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let is_built = |file: &File| Family::BUILT.contains(&file.case.family.as_str());
    let (built, not_built): (Vec<File>, Vec<File>) = files.into_iter().partition(is_built);
    for File { name, case, .. } in &not_built {
        eprintln!("{name}: the family {:?} is not built yet ({} are)", case.family, Family::BUILT.join(", "));
    }
    for file in &built {
        Family::of(file)?;
    }
    let most = options.ranks.iter().copied().max().unwrap_or(1);
    ensure!(!options.ranks.contains(&0), "0 ranks: every rank count must be at least 1");
    let failures = launch(&Launch::ranks(mpi_world_size().or(Some(most))), |world| {
        run(&world, &built, &options).map_err(|error| describe(error.as_ref()))
    })?;
    Ok(match (failures.into_iter().max().unwrap_or(0), not_built.is_empty()) {
        (1.., _) => ExitCode::FAILURE,
        (0, false) => ExitCode::from(NOT_BUILT),
        (0, true) => ExitCode::SUCCESS,
    })
}

/// Schedules to compare, with their names.
fn schedules() -> Vec<(String, Schedule)> {
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

/// Returns the number of failures, the same on all ranks that took part.
fn run(world: &Communicator, files: &[File], options: &Options) -> anyhow::Result<usize> {
    let mut failures = 0;
    // Of all ranks, only to know which share a machine.
    let all = MeshConfig { layer_ranks: Degree::Auto, data_ranks: Degree::Exactly(1) };
    let device = options.device.device(&Mesh::new(world, &all, world.size())?)?;
    for file in files {
        let family = Family::of(file)?;
        for &n in &options.ranks {
            let Some(comm) = world.first_ranks(n)? else { continue };
            for (name, schedule) in schedules() {
                let Some(outcome) = compare(file, &family, &schedule, (&comm, &device))? else { continue };
                let Outcome { loss, output, gradient, worst, iterations: [forward, backward] } = &outcome;
                let verdict = if outcome.passes() { "ok" } else { "FAILS" };
                failures += usize::from(!outcome.passes());
                println!(
                    "{:<16} {n} {:<5} {name:<36} {forward:>3}/{backward:<3} iterations  loss {loss:8.1e}  \
                     output {output:8.1e}  worst gradient {gradient:8.1e} ({worst})  {verdict}",
                    file.name,
                    if n == 1 { "rank" } else { "ranks" },
                );
            }
        }
    }
    let total = world.all_gather(failures, &())?.into_iter().sum();
    if world.rank() == 0 && !files.is_empty() {
        println!("{} files, {total} comparisons fail", files.len());
    }
    Ok(total)
}

/// The errors of one schedule on the ranks of `comm`; on its last rank, `None` elsewhere.
fn compare(
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

/// Whether `error` is larger than `than`; a NaN is the worst of all.
fn is_worse(error: f64, than: f64) -> bool {
    error.is_nan() || error > than
}

/// Relative error of a gradient. One that is zero but for the file's round-off (that of the bias of keys is: attention does
/// not depend on it) has nothing to be relative to but the norm of `all` gradients.
fn gradient_error(a: &[f64], b: &[f64], all: f64) -> f64 {
    if norm(b) > ROUND_OFF * all || a.len() != b.len() {
        return relative_error(a, b);
    }
    norm(a) / all
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// `||a - b|| / ||b||`, or `||a||` where `b` is zero; infinite for different lengths.
fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let difference = norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>());
    let size = norm(b);
    if size == 0.0 { difference } else { difference / size }
}
