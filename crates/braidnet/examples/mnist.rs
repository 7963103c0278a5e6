//! Trains an ODENet on images of digits, layer by layer on one rank and layer-parallel on several, and compares the two.

#[path = "mnist/report.rs"]
mod report;
#[path = "mnist/training.rs"]
mod training;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::{Context, bail, ensure};
use braidnet::data::DataError;
use braidnet::prelude::*;
use clap::{Parser, ValueEnum};

use report::{Row, print_table};
use training::{Phase, train};

/// Trains an ODENet on handwritten digits: first layer by layer on one rank, then with the given schedule on all layer
/// ranks, from the same seed; ends with a table of accuracy, time, memory and gradient error.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    #[command(flatten)]
    launch: LaunchArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    schedule: ScheduleArgs,
    /// Folder with the four MNIST files, plain or gzip. [default: generated digits]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Training images: as many are generated, or taken from the start of the folder's. [default: 5000, or all of the folder's]
    #[arg(long)]
    train_samples: Option<usize>,
    /// Test images, likewise. [default: 1000, or all of the folder's]
    #[arg(long)]
    test_samples: Option<usize>,
    /// Samples per step.
    #[arg(long, default_value_t = 50)]
    batch: usize,
    /// Passes over the training images.
    #[arg(long, default_value_t = 2)]
    epochs: usize,
    /// Optimizer.
    #[arg(long, value_enum, default_value_t = OptimizerName::Sgd)]
    optimizer: OptimizerName,
    /// Learning rate.
    #[arg(long, default_value_t = 1e-2)]
    learning_rate: f64,
    /// Seed of parameters, generated images and their order.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Measure the gradient error every so many steps, besides the first and the last.
    #[arg(long, default_value_t = 50)]
    gradient_error_every: usize,
    /// Leave the sequential run on one rank out.
    #[arg(long)]
    no_baseline: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OptimizerName {
    /// Gradient descent with momentum 0.9.
    Sgd,
    /// Adam.
    Adam,
    /// Adam with weight decay 0.01.
    AdamW,
}

impl Options {
    fn optimizer(&self) -> OptimizerConfig {
        match self.optimizer {
            OptimizerName::Sgd => OptimizerConfig::Sgd { momentum: 0.9 },
            OptimizerName::Adam => OptimizerConfig::Adam,
            OptimizerName::AdamW => OptimizerConfig::AdamW { weight_decay: 0.01 },
        }
    }

    /// Everything that can be known to be wrong before any data is read.
    fn validate(&self) -> anyhow::Result<()> {
        ensure!(self.batch > 0, "--batch is 0: use at least 1 sample per step");
        ensure!(self.epochs > 0, "--epochs is 0: use at least 1");
        ensure!(self.gradient_error_every > 0, "--gradient-error-every is 0: use at least 1");
        ensure!(self.train_samples != Some(0), "--train-samples is 0: use at least 1");
        ensure!(self.test_samples != Some(0), "--test-samples is 0: use at least 1");
        let config = self.network.config([1, 28, 28], 10);
        config.validate()?;
        let schedule = self.schedule.schedule();
        schedule.forward.options("forward")?;
        schedule.backward.options("backward")?;
        Optimizer::new(self.optimizer(), self.learning_rate)?;
        if let Some(ranks) = self.launch.launch().ranks.or(braidnet::comm::mpi_world_size()) {
            Partition::even(config.layers, ranks)?;
        }
        Ok(())
    }

    fn load(&self) -> anyhow::Result<Split> {
        let Some(folder) = &self.data else {
            let (n_train, n_test) = (self.train_samples.unwrap_or(5000), self.test_samples.unwrap_or(1000));
            return Ok(DigitsConfig { n_train, n_test, seed: self.seed }.generate());
        };
        let Split { train, test } = mnist::load(folder)?;
        Ok(Split { train: first(train, self.train_samples)?, test: first(test, self.test_samples)? })
    }
}

/// The first `n` images of a set, or all.
fn first(set: ImageSet, n: Option<usize>) -> Result<ImageSet, DataError> {
    match n {
        Some(n) if n < set.len() => {
            let pixels = (0..n).flat_map(|i| set.image(i).iter().copied()).collect();
            let labels = (0..n).map(|i| set.label(i)).collect();
            ImageSet::new(pixels, set.rows(), set.cols(), labels, set.classes())
        }
        _ => Ok(set),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    options.validate()?;
    let data = OnceLock::new();
    if options.data.is_none() || !braidnet::comm::under_mpi() {
        // Threads share one copy; bad files are found before any rank starts.
        let _ = data.set(options.load().map_err(|e| format!("{e:#}")));
    }
    if let Some(Err(error)) = data.get() {
        bail!("{error}");
    }
    launch(&options.launch.launch(), |world| {
        let split = || match data.get_or_init(|| options.load().map_err(|e| format!("{e:#}"))) {
            Ok(split) => Ok(split),
            Err(error) => bail!("{error}"),
        };
        compare(options, &world, &split).map_err(|error| format!("{error:#}"))
    })?;
    Ok(())
}

/// Both runs and the table. `split` reads the data; only ranks with the opening or the closing layer call it.
fn compare<'a>(
    options: &Options,
    world: &Communicator,
    split: &dyn Fn() -> anyhow::Result<&'a Split>,
) -> anyhow::Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    if !options.no_baseline {
        let schedule = Schedule::sequential();
        if let Some(alone) = world.first_ranks(1)? {
            let phase = Phase { name: "sequential, 1 rank", schedule: &schedule };
            rows.extend(train(options, &phase, &alone, split).context("sequential run")?);
        }
        world.barrier()?;
    }
    let schedule = options.schedule.schedule();
    let ranks = world.size();
    let name = format!("{}, {ranks} {}", name_of(options), if ranks == 1 { "rank" } else { "ranks" });
    rows.extend(train(options, &Phase { name: &name, schedule: &schedule }, world, split)?);
    if world.rank() == 0 {
        print_table(&rows);
    }
    Ok(())
}

fn name_of(options: &Options) -> String {
    options.schedule.schedule.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}
