//! Trains an ODENet on images of digits, layer by layer on one rank and layer-parallel on several, and compares the two.

#[path = "mnist/data.rs"]
mod data;
#[path = "mnist/phase.rs"]
mod phase;
#[path = "common/report.rs"]
mod report;
#[path = "common/run.rs"]
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use braidnet::config::ConfigArgs;
use braidnet::describe;
use braidnet::prelude::*;
use clap::{Parser, ValueEnum};

use data::Data;
use phase::{Phase, Trained, train};
use report::{Row, print_table};

/// Trains an ODENet on handwritten digits with the given schedule on a mesh of layer ranks x data ranks. Without --out it
/// first trains layer by layer on one rank, from the same seed, and ends with a table of accuracy, time, memory and gradient
/// error of both.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    launch: LaunchArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    training: TrainingArgs,
    /// Folder with the four MNIST files, plain or gzip. [default: generated digits]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Training images: as many are generated, or taken from the start of the folder's. [default: 5000, or all of the folder's]
    #[arg(long)]
    train_samples: Option<usize>,
    /// Test images, likewise. [default: 1000, or all of the folder's]
    #[arg(long)]
    test_samples: Option<usize>,
    /// Leave the sequential run on one rank out; so does --out.
    #[arg(long)]
    no_baseline: bool,
    /// Print partition, schedule, memory and messages per step, and stop; reads no data.
    #[arg(long)]
    dry_run: bool,
    /// Write the trained network to one safetensors file with PyTorch's names and layouts.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Start from the parameters in such a file.
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
}

impl Options {
    /// Everything that can be known to be wrong before any data is read.
    fn validate(&self) -> anyhow::Result<()> {
        ensure!(self.train_samples != Some(0), "--train-samples is 0: use at least 1");
        ensure!(self.test_samples != Some(0), "--test-samples is 0: use at least 1");
        let config = self.network.config([1, 28, 28], 10);
        config.validate()?;
        let schedule = self.schedule.schedule();
        schedule.forward.options("forward")?;
        schedule.backward.options("backward")?;
        self.training.config().validate()?;
        run::check_export(self.export.as_deref())?;
        self.launch.check(self.solved_layers()?)?;
        Ok(())
    }

    /// The layers that the solver counts; they do not depend on the images.
    fn solved_layers(&self) -> anyhow::Result<usize> {
        Ok(self.network.config([1, 28, 28], 10).grid()?.n_steps())
    }

    fn has_baseline(&self) -> bool {
        !self.no_baseline && self.training.out.is_none()
    }
}

fn main() -> ExitCode {
    run::start(&[], |options: &Options| options.training.trace.is_some(), run)
}

fn run(options: &Options, table: &str) -> anyhow::Result<()> {
    options.validate()?;
    let data = Data::new(options);
    if !options.dry_run && (options.data.is_none() || !braidnet::comm::under_mpi()) {
        // Threads share one copy; bad files are found before any rank starts.
        data.load_all()?;
    }
    launch(&options.launch.launch(), |world| {
        compare(options, table, &world, &data).map_err(|error| describe(error.as_ref()))
    })?;
    Ok(())
}

/// Both runs and the table.
fn compare(options: &Options, table: &str, world: &Communicator, data: &Data) -> anyhow::Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    let mesh = Mesh::new(world, &options.launch.mesh(), options.solved_layers()?)?;
    if world.rank() == 0 && (options.training.out.is_some() || options.config.config.is_some() || options.dry_run) {
        println!("{table}");
    }
    if options.dry_run {
        return phase::dry_run(options, &mesh);
    }
    let mut end = End::Finished;
    if options.has_baseline() {
        let (baseline, how) = baseline(options, world, data).context("sequential run")?;
        end = how;
        rows.extend(baseline.and_then(|trained| trained.row));
    }
    if end == End::Finished {
        rows.extend(trained(options, table, &mesh, data)?);
    }
    if world.rank() == 0 {
        print_table(&rows);
        println!("{}", rows.last().map_or("", |row| row.end.as_str()));
    }
    Ok(())
}

/// The sequential run, on rank 0; the others wait for it.
fn baseline(options: &Options, world: &Communicator, data: &Data) -> anyhow::Result<(Option<Trained>, End)> {
    let (name, schedule) = ("sequential, 1 rank".to_owned(), Schedule::sequential());
    let phase = Phase { name, schedule: &schedule, configuration: None, is_baseline: true };
    run::alone(world, options.solved_layers()?, |mesh| train(options, &phase, mesh, data), |trained| trained.end)
}

/// The run that was asked for.
fn trained(options: &Options, table: &str, mesh: &Mesh, data: &Data) -> anyhow::Result<Option<Row>> {
    let schedule = options.schedule.schedule();
    let shape = mesh.shape();
    let name = format!("{}, {} x {} ranks", name_of(options), shape.layer_ranks, shape.data_ranks);
    let phase = Phase { name, schedule: &schedule, configuration: Some(table.to_owned()), is_baseline: false };
    Ok(train(options, &phase, mesh, data)?.row)
}

fn name_of(options: &Options) -> String {
    options.schedule.schedule.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}
