//! Trains an encoder-decoder to translate sentences, layer by layer on one rank and layer-parallel on several, compares the two,
//! and translates.

#[path = "translation/data.rs"]
mod data;
#[path = "translation/phase.rs"]
mod phase;
#[path = "common/report.rs"]
mod report;
#[path = "common/run.rs"]
mod run;
#[path = "translation/translate.rs"]
mod translate;

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

/// Defaults that differ from the library's: a network that learns the generated pairs within a minute or two, and the
/// schedule that [`WHY`] defends.
const DEFAULTS: &[(&str, &str)] = &[
    ("layers", "4"),
    ("d-model", "48"),
    ("heads", "4"),
    ("final-time", "4"),
    ("depth-init", "piecewise"),
    ("coarse-operator", "first-layer"),
    ("schedule", "mixed"),
    ("bwd-cfactor", "2"),
    ("bwd-max-iters", "2"),
    ("epochs", "8"),
    ("batch", "64"),
    ("optimizer", "adam"),
    ("learning-rate", "3e-3"),
    ("warmup", "50"),
    ("decay", "cosine"),
    ("clip", "1"),
];

/// Why the solves are as they are by default; gradient errors are medians over runs with these pairs.
const WHY: &str = "the default: one iteration is 30 % off the exact gradient once layers have learnt to differ, two 5 %; \
                   of so few layers the states are solved exactly at little cost";

/// Trains an encoder-decoder to translate with the given schedule on a mesh of layer ranks x data ranks. Without --out it
/// first trains layer by layer on one rank, from the same seed, and ends with a table of accuracy (whole translations that are
/// right), time, memory and gradient error of both.
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
    /// Sentences, one a line, plain or gzip. [default: generated numbers in words]
    #[arg(long, value_name = "FILE", requires = "target")]
    source: Option<PathBuf>,
    /// Their translations, line by line. [default: the numbers in digits]
    #[arg(long, value_name = "FILE", requires = "source")]
    target: Option<PathBuf>,
    /// Sentences to be judged by. [default: every tenth of --source]
    #[arg(long, value_name = "FILE", requires_all = ["source", "test_target"])]
    test_source: Option<PathBuf>,
    /// Their translations.
    #[arg(long, value_name = "FILE", requires = "test_source")]
    test_target: Option<PathBuf>,
    /// Training pairs: as many are generated, or taken from the start of the files. [default: 6000, or all of the files]
    #[arg(long)]
    train_samples: Option<usize>,
    /// Test pairs, likewise. [default: 600, or all of the files]
    #[arg(long)]
    test_samples: Option<usize>,
    /// Leave the sequential run on one rank out; so does --out.
    #[arg(long)]
    no_baseline: bool,
    /// Print partition, schedule, memory and messages per step, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Write the trained network to one safetensors file with PyTorch's names and layouts.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Start from the parameters in such a file.
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Train nothing: translate this with the network of --import or --resume. The data is that of its training, for the
    /// words. May be given more than once.
    #[arg(long, value_name = "TEXT")]
    translate: Vec<String>,
}

impl Options {
    /// Everything that can be known to be wrong once the data is read.
    fn validate(&self, data: &Data) -> anyhow::Result<()> {
        let config = data.config(self);
        config.validate()?;
        let schedule = self.schedule.schedule();
        schedule.forward.options("forward")?;
        schedule.backward.options("backward")?;
        self.training.config().validate()?;
        run::check_export(self.export.as_deref())?;
        let is_trained = self.import.is_some() || self.training.resume != "no";
        ensure!(
            is_trained || self.translate.is_empty(),
            "--translate needs a trained network: give --import or --resume"
        );
        if !self.translate.is_empty() {
            data.numbered(&self.translate)?;
            translate::checkpoint(self)?;
        }
        self.launch.check(config.grid()?.n_steps())?;
        Ok(())
    }

    /// Whether the solves are those of [`DEFAULTS`].
    fn has_default_schedule(&self) -> bool {
        let backward = SolveConfig { max_iters: 2, ..SolveConfig::new(2) };
        self.schedule.schedule() == Schedule::new(ScheduleKind::Mixed, SolveConfig::sequential(), backward)
    }

    fn has_baseline(&self) -> bool {
        !self.no_baseline && self.training.out.is_none()
    }
}

fn main() -> ExitCode {
    run::start(DEFAULTS, |options: &Options| options.training.trace.is_some(), run)
}

fn run(options: &Options, table: &str) -> anyhow::Result<()> {
    // Every process reads the text: words get their numbers by the whole training set.
    let data = Data::load(options)?;
    options.validate(&data)?;
    launch(&options.launch.launch(), |world| {
        compare(options, table, &world, &data).map_err(|error| describe(error.as_ref()))
    })?;
    Ok(())
}

/// Both runs and the table.
fn compare(options: &Options, table: &str, world: &Communicator, data: &Data) -> anyhow::Result<()> {
    let mesh = Mesh::new(world, &options.launch.mesh(), data.config(options).grid()?.n_steps())?;
    if !options.translate.is_empty() {
        return translate::given(options, &mesh, data);
    }
    if world.rank() == 0 && (options.training.out.is_some() || options.config.config.is_some() || options.dry_run) {
        println!("{table}");
    }
    if options.dry_run {
        return phase::dry_run(options, &mesh, data);
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut end = End::Finished;
    if options.has_baseline() {
        let (baseline, how) = baseline(options, world, data).context("sequential run")?;
        end = how;
        rows.extend(baseline.and_then(|trained| trained.row));
    }
    if end == End::Finished {
        let schedule = options.schedule.schedule();
        let (name, shape) = (name_of(options), mesh.shape());
        let name = format!("{name}, {} x {} ranks", shape.layer_ranks, shape.data_ranks);
        let phase = Phase { name, schedule: &schedule, configuration: Some(table.to_owned()), is_baseline: false };
        rows.extend(train(options, &phase, &mesh, data)?.row);
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
    run::alone(
        world,
        data.config(options).grid()?.n_steps(),
        |mesh| train(options, &phase, mesh, data),
        |trained| trained.end,
    )
}

fn name_of(options: &Options) -> String {
    options.schedule.schedule.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}
