//! Trains an ODENet on voxels that tells what kind of thing a shape is, first layer by layer on one rank, then layer-parallel on
//! several, and compares the two. Coarse levels of the solves can work on coarser grids, which makes their steps cheap.
//!
//! The published setting of this task is ModelNet10 with 31^3 voxels, 128 layers of 4 channels, three levels and coarsening factor
//! 4, with and without coarser grids. It is
//!
//! ```sh
//! modelnet --data DIR --cache DIR --side 31 --layers 128 --batch 10 --epochs 3 --optimizer sgd --learning-rate 1e-2 \
//!     --fwd-levels 3 --bwd-levels 3 --fwd-max-iters 2 --bwd-max-iters 1 --fwd-relax fcf --bwd-relax fcf
//! ```
//!
//! (`--side 64` for the larger grids) and, for its coarser grids,
//!
//! | | |
//! |---|---|
//! | `--coarsen-space 0` | from level 0 to 1: levels 1 and 2 have 15^3 voxels |
//! | `--coarsen-space 0,1` | at both steps down: level 1 has 15^3 voxels, level 2 has 7^3 |
//! | `--coarsen-space 1` | only from level 1 to 2: level 2 has 15^3 voxels |
//!
//! Without options the network and its grids are smaller, such that both runs take a minute or two on two cores.

#[path = "common/coarse_space.rs"]
mod coarse_space;
#[path = "modelnet/data.rs"]
mod data;
#[path = "common/epochs.rs"]
mod epochs;
#[path = "common/fit.rs"]
mod fit;
#[path = "modelnet/grids.rs"]
mod grids;
#[path = "common/phase.rs"]
mod phase;
#[path = "common/report.rs"]
mod report;
#[path = "common/run.rs"]
mod run;
#[path = "modelnet/training.rs"]
mod training;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use braidnet::config::ConfigArgs;
use braidnet::data::voxels::{Fill, SIDES};
use braidnet::describe;
use braidnet::prelude::*;
use clap::{Parser, ValueEnum};

use data::Data;
use phase::{Phase, name_of, print_tables, run_both};
use training::train;

/// What differs from the defaults that programs share.
const DEFAULTS: &[(&str, &str)] = &[
    // Where space is empty all voxels have the same state, and a small error of it flips all their ReLUs at once: with states of one
    // iteration gradients are wrong by half in some steps.
    ("schedule", "mixed"),
    ("fwd-max-iters", "2"),
    // For coarser grids, which cannot show all of a state.
    ("fwd-guess", "carried"),
    ("bwd-guess", "carried"),
    ("epochs", "4"),
    ("batch", "20"),
    ("optimizer", "adam"),
    ("learning-rate", "3e-3"),
];

/// Voxels of a shape by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FillName {
    /// Those that the surface touches.
    Surface,
    /// Those that the surface touches, and those it encloses.
    Solid,
}

/// Trains an ODENet on voxels with the given schedule on a mesh of layer ranks x data ranks. Without --out it first trains
/// layer by layer on one rank, from the same seed. At the end come the accuracies on the test set after every epoch, by the
/// exact forward pass and by the schedule's, and a table of time, memory and gradient error.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    launch: LaunchArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    network: VoxelArgs,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    training: TrainingArgs,
    /// Folder of ModelNet10, or of another set of meshes (.off) in folders CLASS/train and CLASS/test. [default: generated
    /// furniture]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder that keeps the voxels of the meshes, so that they are made once; made where there is none.
    #[arg(long, value_name = "DIR", requires = "data")]
    cache: Option<PathBuf>,
    /// Voxels along every axis, 8 to 128.
    #[arg(long, default_value_t = 15)]
    side: usize,
    /// Which voxels of a mesh are filled; generated furniture is solid. [default: solid]
    #[arg(long, value_enum, requires = "data")]
    fill: Option<FillName>,
    /// Training samples of each class: as many are generated, or taken from the start of the folder's. [default: 200, or all of
    /// the folder's]
    #[arg(long)]
    train_per_class: Option<usize>,
    /// Test samples of each class, likewise. [default: 40, or all of the folder's]
    #[arg(long)]
    test_per_class: Option<usize>,
    /// Leave out up to so many meshes that are broken, and say which. [default: the first one ends the run]
    #[arg(long, value_name = "N", requires = "data")]
    skip_broken: Option<usize>,
    /// Leave the sequential run on one rank out; so does --out.
    #[arg(long)]
    no_baseline: bool,
    /// Print partition, schedule, memory and messages per step, and stop; lists the folder, but reads no mesh.
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
        let (least, most) = (SIDES.start(), SIDES.end());
        ensure!(SIDES.contains(&self.side), "--side is {}: use {least} to {most}", self.side);
        ensure!(self.train_per_class != Some(0), "--train-per-class is 0: use at least 1");
        ensure!(self.test_per_class != Some(0), "--test-per-class is 0: use at least 1");
        let config = self.network(1);
        config.validate()?;
        let schedule = self.schedule.schedule();
        schedule.forward.options("forward")?;
        schedule.backward.options("backward")?;
        self.training.config().validate()?;
        run::check_export(self.export.as_deref())?;
        self.launch.check(self.solved_layers()?)?;
        self.check_levels()
    }

    /// That grids can be halved so often, asked of a network whose closing layer is small.
    fn check_levels(&self) -> anyhow::Result<()> {
        let (config, schedule) = (OdeNet3dConfig { hidden: 1, ..self.network(1) }, self.schedule.schedule());
        let grid = config.grid()?;
        let network = config.init(0..grid.n_steps(), 1, self.training.seed, &Device::flex())?;
        coarse_space::check(&network, &schedule, &grid)
    }

    /// The layers that the solver counts.
    fn solved_layers(&self) -> anyhow::Result<usize> {
        Ok(self.network(1).grid()?.n_steps())
    }

    /// The network for so many classes.
    fn network(&self, classes: usize) -> OdeNet3dConfig {
        self.network.config(self.side, classes)
    }

    fn fill(&self) -> Fill {
        match self.fill.unwrap_or(FillName::Solid) {
            FillName::Surface => Fill::Surface,
            FillName::Solid => Fill::Solid,
        }
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
    if !braidnet::comm::under_mpi() {
        // Threads share one copy; bad files are found before any rank starts.
        data.load()?;
    }
    launch(&options.launch.launch(), |world| {
        compare(options, table, &world, &data).map_err(|error| describe(error.as_ref()))
    })?;
    Ok(())
}

/// Both runs and the tables.
fn compare(options: &Options, table: &str, world: &Communicator, data: &Data) -> anyhow::Result<()> {
    let is_first = world.rank() == 0;
    let mesh = Mesh::new(world, &options.launch.mesh(), options.solved_layers()?)?;
    if is_first && (options.training.out.is_some() || options.config.config.is_some() || options.dry_run) {
        println!("{table}");
    }
    if is_first {
        training::warn(options)?;
    }
    let sizes = data.sizes(world)?;
    if options.dry_run {
        return training::dry_run(options, &mesh, &sizes);
    }
    let schedule = options.schedule.schedule();
    let kind = name_of(options.schedule.schedule);
    let asked = Phase::asked(&kind, &schedule, &mesh, table);
    let baseline = options.has_baseline().then(|| options.solved_layers()).transpose()?;
    let runs = run_both(world, &mesh, baseline, &asked, |phase, mesh| train(options, phase, mesh, (data, &sizes)))?;
    if is_first {
        print_tables(&["test"], runs, || ());
    }
    Ok(())
}
