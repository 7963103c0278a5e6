//! Trains a transformer to guess the next character of a text, layer by layer on one rank and layer-parallel on several, and
//! writes some text of its own.

#[path = "shakespeare/phase.rs"]
mod phase;
#[path = "common/report.rs"]
mod report;
#[path = "common/run.rs"]
mod run;
#[path = "shakespeare/sample.rs"]
mod sample;
#[path = "shakespeare/text.rs"]
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use braidnet::config::ConfigArgs;
use braidnet::describe;
use braidnet::prelude::*;
use clap::Parser;

use phase::{Phase, Trained, train};
use report::{Row, print_table};
use sample::SampleArgs;
use text::Text;

/// Defaults of shared options. Layers that start equal within coarse steps, the exact forward solve, a step of 1/4 and the
/// adaptive control, which goes up early as one iteration leaves an error of about rho, are what keeps the gradients of a
/// transformer close to the exact ones: `docs/training.md` has numbers.
const DEFAULTS: &[(&str, &str)] = &[
    ("layers", "16"),
    ("d-model", "48"),
    ("heads", "4"),
    ("final-time", "4"),
    ("depth-init", "piecewise"),
    ("schedule", "mixed"),
    ("control", "adaptive"),
    ("control-every", "20"),
    ("rho-up", "0.5"),
    ("rho-down", "0.25"),
    ("optimizer", "adam"),
    ("learning-rate", "0.003"),
    ("warmup", "20"),
    ("batch", "16"),
    ("epochs", "2"),
];

/// Trains a decoder on the characters of a text with the given schedule on a mesh of layer ranks x data ranks, and samples from
/// it. Without --out it first trains layer by layer on one rank, from the same seed, and ends with a table of accuracy, time,
/// memory and gradient error of both. With --no-training it only samples, from a checkpoint or a file of parameters.
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
    #[command(flatten)]
    sampling: SampleArgs,
    /// Text to learn, plain or gzip. [default: generated sentences]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Characters of the generated text. [default: 300000]
    #[arg(long, value_name = "N", conflicts_with = "data")]
    characters: Option<usize>,
    /// Characters that the network sees at once: a sample is a window of so many.
    #[arg(long, default_value_t = 64)]
    length: usize,
    /// Part of the text, at its end, that the network is judged by.
    #[arg(long, default_value_t = 0.1, allow_negative_numbers = true)]
    validation: f64,
    /// Windows of that part that are used, evenly spread. [default: all]
    #[arg(long, value_name = "N")]
    validation_samples: Option<usize>,
    /// Leave the sequential run on one rank out; so do --out and --resume.
    #[arg(long)]
    no_baseline: bool,
    /// Train nothing: sample from the checkpoint of --resume, whose network and characters count, or from the file of --import.
    #[arg(long)]
    no_training: bool,
    /// Print partition, schedule, memory and messages per step, and stop; of the text only the characters count.
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
    /// Everything that can be known to be wrong before any text is read.
    fn validate(&self) -> anyhow::Result<()> {
        ensure!(self.length > 0, "--length is 0: use at least 1");
        ensure!(
            self.validation > 0.0 && self.validation < 1.0,
            "--validation is {}: use more than 0 and less than 1",
            self.validation
        );
        ensure!(self.validation_samples != Some(0), "--validation-samples is 0: use at least 1");
        self.sampling.validate()?;
        // The text decides on the vocabulary.
        self.network(1).validate()?;
        let schedule = self.schedule.schedule();
        schedule.forward.options("forward")?;
        schedule.backward.options("backward")?;
        self.training.config().validate()?;
        if let Some(file) = &self.import {
            ensure!(file.is_file(), "--import: {} is no file", file.display());
        }
        run::check_export(self.export.as_deref())?;
        Ok(())
    }

    /// The network for a text of so many different characters.
    fn network(&self, vocabulary: usize) -> TransformerConfig {
        let base = TransformerConfig::decoder(self.network.layers, self.network.d_model, vocabulary);
        self.network.config(TransformerConfig { max_length: self.length, ..base })
    }

    fn has_baseline(&self) -> bool {
        !self.no_baseline && self.training.out.is_none() && self.training.resume == "no"
    }
}

fn main() -> ExitCode {
    run::start(DEFAULTS, |options: &Options| options.training.trace.is_some(), run)
}

fn run(options: &Options, table: &str) -> anyhow::Result<()> {
    options.validate()?;
    if options.no_training {
        return phase::sample_only(options);
    }
    // Every process reads it: all ranks must know the characters, and bad files are found before any rank starts.
    let text = Text::read(options)?;
    options.launch.check(text.network.grid()?.n_steps())?;
    options.sampling.prompt(&text.split.characters)?;
    launch(&options.launch.launch(), |world| {
        compare(options, table, &world, &text).map_err(|error| describe(error.as_ref()))
    })?;
    Ok(())
}

/// Both runs and the table.
fn compare(options: &Options, table: &str, world: &Communicator, text: &Text) -> anyhow::Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    let mesh = Mesh::new(world, &options.launch.mesh(), text.network.grid()?.n_steps())?;
    if world.rank() == 0 && (options.training.out.is_some() || options.config.config.is_some() || options.dry_run) {
        println!("{table}");
    }
    if options.dry_run {
        return phase::dry_run(options, &mesh, text);
    }
    let mut end = End::Finished;
    if options.has_baseline() {
        let (baseline, how) = baseline(options, world, text).context("sequential run")?;
        end = how;
        rows.extend(baseline.and_then(|trained| trained.row));
    }
    if end == End::Finished {
        let phase = Phase::asked_for(options, &mesh, table);
        rows.extend(train(options, &phase, &mesh, text)?.row);
    }
    if world.rank() == 0 {
        print_table(&rows);
        println!("{}", rows.last().map_or("", |row| row.end.as_str()));
    }
    Ok(())
}

/// The sequential run, on rank 0; the others wait for it.
fn baseline(options: &Options, world: &Communicator, text: &Text) -> anyhow::Result<(Option<Trained>, End)> {
    let phase = Phase::baseline();
    run::alone(world, text.network.grid()?.n_steps(), |mesh| train(options, &phase, mesh, text), |trained| trained.end)
}
