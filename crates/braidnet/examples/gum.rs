//! Trains a transformer that tags every word of a sentence, layer by layer on one rank and layer-parallel on several, and
//! compares the two.
//!
//! The published setting of this task is UD English GUM with 64 layers (32 and 128 as well), 2 forward and 1 backward
//! iterations:
//!
//! ```sh
//! gum --data DIR --schedule layer-parallel --layers 64 --final-time 64 --d-model 128 --activation elu \
//!     --depth-init independent --fwd-cfactor 8 --bwd-cfactor 8 --batch 8 --optimizer sgd --learning-rate 0.01
//! ```
//!
//! Loss and accuracy are over all tokens but the padding: the root, which begins every sentence, counts as it does there.

#[path = "gum/data.rs"]
mod data;
#[path = "common/epochs.rs"]
mod epochs;
#[path = "common/phase.rs"]
mod phase;
#[path = "common/report.rs"]
mod report;
#[path = "common/run.rs"]
mod run;
#[path = "gum/training.rs"]
mod training;
#[path = "gum/word_alone.rs"]
mod word_alone;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use braidnet::config::ConfigArgs;
use braidnet::describe;
use braidnet::prelude::*;
use clap::Parser;

use data::{Data, Sizes, encoder};
use phase::{Phase, name_of, print_tables, run_both};
use training::train;

/// What differs from the defaults that programs share.
const DEFAULTS: &[(&str, &str)] = &[
    ("layers", "8"),
    ("d-model", "32"),
    ("final-time", "2"),
    ("depth-init", "piecewise"),
    ("coarse-operator", "first-layer"),
    ("schedule", "mixed"),
    ("fwd-cfactor", "2"),
    ("bwd-cfactor", "2"),
    ("fwd-max-iters", "2"),
    ("epochs", "10"),
    ("batch", "16"),
    ("optimizer", "adam"),
    ("learning-rate", "3e-3"),
];

/// Trains an encoder to tag the words of a treebank with the given schedule on a mesh of layer ranks x data ranks. Without
/// --out it first trains layer by layer on one rank, from the same seed. The trainer's test accuracy after each epoch is that
/// of the dev set; at the end come the accuracies of dev and test set after every epoch, and a table of time, memory and
/// gradient error.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    launch: LaunchArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    network: TransformerArgs,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    training: TrainingArgs,
    /// Folder of a treebank: files that end in -train.conllu, -dev.conllu and -test.conllu, plain or gzip. [default: a
    /// generated language]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Training sentences: as many are generated, or taken from the start of the folder's. [default: 3000, or all of the folder's]
    #[arg(long)]
    train_sentences: Option<usize>,
    /// Sentences of the dev set and of the test set, likewise. [default: 300, or all of the folder's]
    #[arg(long)]
    test_sentences: Option<usize>,
    /// Leave the sequential run on one rank out; so does --out.
    #[arg(long)]
    no_baseline: bool,
    /// Print partition, schedule, memory and messages per step, and stop; reads the sentences, whose words decide on sizes.
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
        ensure!(self.train_sentences != Some(0), "--train-sentences is 0: use at least 1");
        ensure!(self.test_sentences != Some(0), "--test-sentences is 0: use at least 1");
        let schedule = self.schedule.schedule();
        schedule.forward.options("forward")?;
        schedule.backward.options("backward")?;
        self.training.config().validate()?;
        run::check_export(self.export.as_deref())?;
        self.launch.check(self.solved_layers()?)?;
        Ok(())
    }

    /// The layers that the solver counts.
    fn solved_layers(&self) -> anyhow::Result<usize> {
        // They do not depend on the data.
        let config = encoder(self, &Sizes { n: [1; 3], forms: 1, tags: 1, longest: 1 });
        config.validate()?;
        Ok(config.grid()?.n_steps())
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
    let mesh = Mesh::new(world, &options.launch.mesh(), options.solved_layers()?)?;
    let is_first = world.rank() == 0;
    if is_first && (options.training.out.is_some() || options.config.config.is_some() || options.dry_run) {
        println!("{table}");
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
        let [dev, test] = data.word_alone()?.map(|part| 100.0 * part);
        print_tables(&["dev", "test"], runs, || {
            println!("the most frequent tag of each word: dev {dev:.2} %, test {test:.2} %");
        });
    }
    Ok(())
}
