//! Trains a recurrent network that tells what a person is doing from motion signals. The steps of a sequence are the layers:
//! first one after the other on one rank, then layer-parallel on several, and the two are compared.
//!
//! The published setting of this task is UCI HAR with 100 hidden features, solved layer-parallel both ways with coarse steps of
//! length `m dt`. Here the states are solved step by step and the adjoint by MGRIT, for a trained network's gradients are too
//! sensitive to inexact states; `docs/training.md` has the measurements. The published setting is
//!
//! ```sh
//! uci_har --data DIR --hidden 100 --cells 2 --batch 100 --optimizer adam --learning-rate 1e-3 --epochs 20 \
//!     --schedule layer-parallel --fwd-levels 3 --bwd-levels 3 --fwd-cfactor 4 --bwd-cfactor 4 --fwd-max-iters 2 \
//!     --bwd-max-iters 1 --coarse-relax fcf --coarse-step rediscretised --coarse-parts 1
//! ```
//!
//! Reference: Moon and Cyr, Parallel training of GRU networks with a multi-grid solver for long sequences, ICLR 2022.

#[path = "uci_har/data.rs"]
mod data;
#[path = "common/epochs.rs"]
mod epochs;
#[path = "common/fit.rs"]
mod fit;
#[path = "common/phase.rs"]
mod phase;
#[path = "common/report.rs"]
mod report;
#[path = "common/run.rs"]
mod run;
#[path = "uci_har/training.rs"]
mod training;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use braidnet::config::ConfigArgs;
use braidnet::data::motion;
use braidnet::describe;
use braidnet::options::SolverName;
use braidnet::prelude::*;
use clap::Parser;

use data::Data;
use phase::{Phase, name_of, print_tables, run_both};
use training::train;

/// What differs from the defaults that programs share.
const DEFAULTS: &[(&str, &str)] = &[
    ("hidden", "32"),
    ("schedule", "mixed"),
    ("fwd-cfactor", "8"),
    ("bwd-cfactor", "8"),
    ("fwd-max-iters", "2"),
    ("epochs", "8"),
    ("batch", "100"),
    ("optimizer", "adam"),
    ("learning-rate", "3e-3"),
];

/// Trains a recurrent network on motion signals with the given schedule on a mesh of layer ranks x data ranks. Without --out
/// it first trains step by step on one rank, from the same seed. At the end come the accuracies on the test set after every
/// epoch, by the exact forward pass and by the schedule's, and a table of time, memory and gradient error.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    launch: LaunchArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    network: GruArgs,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    training: TrainingArgs,
    /// Folder of UCI HAR: it, or `UCI HAR Dataset` in it, has `train` and `test`. [default: generated motion]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Training windows: as many are generated, or taken from all over the folder's. [default: 2000, or all of the folder's]
    #[arg(long)]
    train_samples: Option<usize>,
    /// Test windows, likewise. [default: 600, or all of the folder's]
    #[arg(long)]
    test_samples: Option<usize>,
    /// Steps of a generated window; those of the folder have what they have. [default: 128]
    #[arg(long, conflicts_with = "data")]
    steps: Option<usize>,
    /// Leave the sequential run on one rank out; so does --out.
    #[arg(long)]
    no_baseline: bool,
    /// Print partition, schedule, memory and messages per step, and stop; reads the windows, whose length decides on sizes.
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
        ensure!(self.steps != Some(0), "--steps is 0: a sequence needs at least 1");
        let continuity = self.training.continuity.is_some();
        ensure!(!continuity, "--continuity: all steps share their parameters, leave it out");
        // Windows of files are not known yet.
        self.network(self.known_steps().unwrap_or(1)).validate()?;
        let schedule = self.schedule.schedule();
        schedule.forward.options("forward")?;
        schedule.backward.options("backward")?;
        self.training.config().validate()?;
        run::check_export(self.export.as_deref())?;
        self.known_steps().map_or(Ok(()), |steps| self.check_ranks(steps))
    }

    /// Steps of a window, where no file must be read to know.
    fn known_steps(&self) -> Option<usize> {
        self.data.is_none().then(|| self.steps.unwrap_or(128))
    }

    fn check_ranks(&self, steps: usize) -> anyhow::Result<()> {
        let shape = self.launch(steps).check(steps);
        let shape = shape.with_context(|| format!("sequences of {steps} steps, which are the layers"))?;
        let config = self.network(steps);
        if let Some(shape) = shape.filter(|_| config.coarse_input.needs_whole_runs()) {
            let (ranks, run) = (shape.layer_ranks, self.schedule.schedule().coarsest_run(&config.grid()?)?);
            let most = steps.div_ceil(run);
            ensure!(
                ranks <= most,
                "--coarse-input mean needs whole coarse steps of {run} steps on a rank: there are {most}, but {ranks} \
                 layer ranks; use --coarse-input first, or fewer ranks"
            );
        }
        Ok(())
    }

    /// How many ranks: as the options say; without a word, threads no more than `steps`.
    fn launch(&self, steps: usize) -> LaunchArgs {
        let mut launch = self.launch.clone();
        if launch.layer_ranks.is_none() && !braidnet::comm::under_mpi() {
            launch.layer_ranks = Some(Degree::Exactly(steps.clamp(1, 2)));
        }
        launch
    }

    /// The network for windows of `steps` steps.
    fn network(&self, steps: usize) -> GruConfig {
        let GruArgs { hidden, cells, .. } = self.network;
        self.network.config(GruConfig::new(steps, motion::CHANNELS, hidden, cells, motion::CLASSES))
    }

    /// The schedule for windows of `steps` steps: the sequential one where they are too few for a coarse level.
    fn schedule(&self, steps: usize) -> anyhow::Result<Schedule> {
        let schedule = self.schedule.schedule();
        let wants_levels = self.schedule.solver == SolverName::Multigrid && !schedule.is_exact();
        let has_levels = schedule.longest_run(&self.network(steps).grid()?)? > 1;
        let Schedule { activations, .. } = schedule;
        Ok(if wants_levels && !has_levels { Schedule { activations, ..Schedule::sequential() } } else { schedule })
    }

    fn has_baseline(&self) -> bool {
        !self.no_baseline && self.training.out.is_none()
    }
}

fn main() -> ExitCode {
    run::start(DEFAULTS, |options: &Options| options.training.trace.is_some(), run)
}

fn run(options: &Options, table: &str) -> anyhow::Result<()> {
    options.validate()?;
    let data = Data::new(options);
    let mut args = options.launch.clone();
    if !braidnet::comm::under_mpi() {
        // Threads share one copy; bad files are found before any rank starts.
        let steps = data.load()?;
        options.check_ranks(steps)?;
        args = options.launch(steps);
    }
    launch(&args.launch(), |world| compare(options, table, &world, &data).map_err(|error| describe(error.as_ref())))?;
    Ok(())
}

/// Both runs and the tables.
fn compare(options: &Options, table: &str, world: &Communicator, data: &Data) -> anyhow::Result<()> {
    let is_first = world.rank() == 0;
    if is_first && (options.training.out.is_some() || options.config.config.is_some() || options.dry_run) {
        println!("{table}");
    }
    let sizes = data.sizes(world)?;
    let mesh = Mesh::new(world, &options.launch(sizes.steps).mesh(), sizes.steps)?;
    if options.dry_run {
        return training::dry_run(options, &mesh, &sizes);
    }
    let schedule = options.schedule(sizes.steps)?;
    let is_asked = schedule == options.schedule.schedule();
    let kind = if is_asked { name_of(options.schedule.schedule) } else { "sequential".to_owned() };
    let asked = Phase::asked(&kind, &schedule, &mesh, table);
    let baseline = options.has_baseline().then_some(sizes.steps);
    let runs = run_both(world, &mesh, baseline, &asked, |phase, mesh| train(options, phase, mesh, (data, &sizes)))?;
    if is_first {
        print_tables(&["test"], runs, || ());
    }
    Ok(())
}
