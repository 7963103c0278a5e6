//! Trains an ODENet of several blocks with batch norm on pictures in colour, layer by layer on one rank and layer-parallel on
//! several, and compares the two.
//!
//! The full setting is Tiny ImageNet with four blocks of 64 layers. With the batch, the epochs and the solves of TorchBraid's example it is
//!
//! ```sh
//! tiny_imagenet --data DIR --blocks 64,64,64,64 --channels 8 --batch 100 --epochs 8 --optimizer sgd --learning-rate 1e-2 \
//!     --decay none --fwd-levels 3 --bwd-levels 3 --fwd-cfactor 4 --bwd-cfactor 4 --fwd-max-iters 3 --bwd-max-iters 2
//! ```
//!
//! Without options every block has four layers, such that both runs take a minute or two on two cores. `--blocks 16,16,16,16` takes
//! about four times as long; its time steps are shorter, and its gradient errors smaller.

#[path = "common/balanced.rs"]
mod balanced;
#[path = "common/coarse_space.rs"]
mod coarse_space;
#[path = "tiny_imagenet/data.rs"]
mod data;
#[path = "common/epochs.rs"]
mod epochs;
#[path = "common/fit.rs"]
mod fit;
#[path = "common/phase.rs"]
mod phase;
#[path = "tiny_imagenet/pictures.rs"]
mod pictures;
#[path = "common/report.rs"]
mod report;
#[path = "common/run.rs"]
mod run;
#[path = "tiny_imagenet/training.rs"]
mod training;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use braidnet::config::ConfigArgs;
use braidnet::data::pictures::{CHANNELS, SIDE};
use braidnet::describe;
use braidnet::options::BalanceArgs;
use braidnet::prelude::*;
use clap::Parser;

use data::Data;
use phase::{Phase, name_of, print_tables, run_both};
use training::train;

/// What differs from the defaults that programs share.
const DEFAULTS: &[(&str, &str)] = &[
    ("blocks", "4,4,4,4"),
    // Exact states, for the running statistics and the accuracy, and the shorter way on two ranks.
    ("schedule", "mixed"),
    ("fwd-max-iters", "2"),
    ("epochs", "6"),
    ("batch", "20"),
    ("optimizer", "adam"),
    ("learning-rate", "5e-3"),
    ("decay", "cosine"),
];

/// Trains an ODENet of blocks on pictures with the given schedule on a mesh of layer ranks x data ranks. Without --out it
/// first trains layer by layer on one rank, from the same seed. At the end come the accuracies on the test set after every
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
    network: BlockArgs,
    #[command(flatten)]
    balance: BalanceArgs,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    training: TrainingArgs,
    /// Folder of Tiny ImageNet: it, or `tiny-imagenet-200` in it, has `train` and `val`. [default: generated textures]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Training pictures, as many of every class: rounded up to that. [default: 500, or all of the folder's]
    #[arg(long)]
    train_samples: Option<usize>,
    /// Test pictures, likewise. [default: 200, or all of the folder's]
    #[arg(long)]
    test_samples: Option<usize>,
    /// Classes of generated pictures, 2 to 40; a folder has its own. [default: 10]
    #[arg(long, conflicts_with = "data")]
    classes: Option<usize>,
    /// Train on the pictures as they are, not on random crops and flips.
    #[arg(long)]
    no_augment: bool,
    /// Leave out up to so many pictures of the folder that are broken, and say which. [default: the first one ends the run]
    #[arg(long, value_name = "N", requires = "data")]
    skip_broken: Option<usize>,
    /// Leave the sequential run on one rank out; so does --out.
    #[arg(long)]
    no_baseline: bool,
    /// Print partition, schedule, memory and messages per step, and stop; of a folder it lists the pictures and opens none.
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
        // How many classes a folder has is not known yet.
        let config = self.network(self.classes.unwrap_or(2).max(1));
        config.validate()?;
        let schedule = self.schedule.schedule();
        schedule.forward.options("forward")?;
        schedule.backward.options("backward")?;
        self.training.config().validate()?;
        run::check_export(self.export.as_deref())?;
        self.launch.check(self.solved_layers()?)?;
        match config.space {
            Some(_) => self.check_levels(&config),
            None => Ok(()),
        }
    }

    /// That grids can be halved so often.
    fn check_levels(&self, config: &BlockNetConfig) -> anyhow::Result<()> {
        let (grid, schedule) = (config.grid()?, self.schedule.schedule());
        let network = config.init(0..grid.n_steps(), 1, self.training.seed, &Device::flex())?;
        coarse_space::check(&network, &schedule, &grid)
    }

    /// The network for pictures of so many classes.
    fn network(&self, classes: usize) -> BlockNetConfig {
        self.network.config([CHANNELS, SIDE, SIDE], classes)
    }

    /// The layers that the solver counts, with transitions; they do not depend on the classes.
    fn solved_layers(&self) -> anyhow::Result<usize> {
        Ok(self.network(1).grid()?.n_steps())
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
    if is_first && (options.training.out.is_some() || options.config.config.is_some() || options.dry_run) {
        println!("{table}");
    }
    let mesh = Mesh::new(world, &options.launch.mesh(), options.solved_layers()?)?;
    let sizes = data.sizes(world)?;
    if options.dry_run {
        return training::dry_run(options, &mesh, &sizes);
    }
    if is_first {
        data.report()?;
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
