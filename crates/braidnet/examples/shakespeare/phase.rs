//! One training run, and what is done without one.

use anyhow::{Context, bail, ensure};
use braidnet::checkpoint::{self, Checkpoint};
use braidnet::data::characters::Characters;
use braidnet::describe;
use braidnet::prelude::*;
use braidnet::train::spread_within_runs;
use clap::ValueEnum;

use crate::Options;
use crate::report::Row;
use crate::run;
use crate::sample::sample;
use crate::text::{Described, Text};

type CharTrainer = Trainer<Transformer, Tensor<1, Int>>;

/// What is run.
pub struct Phase {
    name: String,
    schedule: Schedule,
    /// What the folder of the run keeps as `config.toml`.
    configuration: Option<String>,
    /// The sequential run that the other is compared with: no folder, no timeline, no text.
    is_baseline: bool,
}

impl Phase {
    /// The run that was asked for.
    pub fn asked_for(options: &Options, mesh: &Mesh, table: &str) -> Self {
        let kind = options.schedule.schedule.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
        let shape = mesh.shape();
        Self {
            name: format!("{kind}, {} x {} ranks", shape.layer_ranks, shape.data_ranks),
            schedule: options.schedule.schedule(),
            configuration: Some(table.to_owned()),
            is_baseline: false,
        }
    }

    pub fn baseline() -> Self {
        let (name, schedule) = ("sequential, 1 rank".to_owned(), Schedule::sequential());
        Self { name, schedule, configuration: None, is_baseline: true }
    }
}

/// What came of a run.
pub struct Trained {
    /// The line for the table, on the first rank.
    pub row: Option<Row>,
    pub end: End,
}

/// Trains on all ranks of `mesh`.
pub fn train(options: &Options, phase: &Phase, mesh: &Mesh, text: &Text) -> anyhow::Result<Trained> {
    braidnet::train::memory::reset_peak();
    let shows = mesh.world().rank() == 0;
    let described = Described::new(&text.network, &text.split.characters);
    let mut trainer = trainer(options, &phase.schedule, mesh, &described, config(options, phase))?;
    let [train, validation] = text.windows(mesh, &trainer.model().device());
    if shows {
        announce(options, phase, &described);
        println!("  {} training and {} validation windows of {} characters", train.n, validation.n, options.length);
    }
    let before = spread_within_runs(trainer.model())?;
    let outcome = trainer.fit(&train, Some(&validation))?;
    let accuracy = match (outcome.test, outcome.end) {
        (None, End::Finished) => trainer.evaluate_both(&validation)?.map(|score| score.accuracy),
        // The time may be up.
        (_, _) => [outcome.test, outcome.test_scheduled].map(|score| score.and_then(|score| score.accuracy)),
    };
    let after = spread_within_runs(trainer.model())?;
    if shows && let (Some(before), Some(after)) = (before, after) {
        println!("spread of parameters within coarse steps: {before:.3} before, {after:.3} after training");
    }
    if !phase.is_baseline {
        if let Some(file) = &options.export {
            trainer.export(file)?;
        }
        if outcome.end == End::Finished {
            write_sample(options, &mut trainer, &described)?;
        }
    }
    let out = options.training.out.as_deref();
    let row = shows.then(|| Row::new(&phase.name, accuracy, &phase.schedule, out, &outcome));
    Ok(Trained { row, end: outcome.end })
}

/// Prints what every rank would do in a step.
pub fn dry_run(options: &Options, mesh: &Mesh, text: &Text) -> anyhow::Result<()> {
    let phase = Phase { name: "dry run".to_owned(), ..Phase::asked_for(options, mesh, "") };
    let described = Described::new(&text.network, &text.split.characters);
    let plan = trainer(options, &phase.schedule, mesh, &described, config(options, &phase))?.plan()?;
    if mesh.world().rank() == 0 {
        announce(options, &phase, &described);
        print!("{plan}");
    }
    Ok(())
}

/// Samples from a checkpoint, or from a file of parameters for the network of the options.
pub fn sample_only(options: &Options) -> anyhow::Result<()> {
    ensure!(options.sampling.sample > 0, "--no-training with --sample 0 does nothing: give the number of characters");
    let (checkpoint, described) = match (saved(options)?, &options.import) {
        (Some(_), Some(_)) => bail!("--resume and --import both name parameters: give one of them"),
        (None, None) => bail!("--no-training needs parameters: give --resume or --import"),
        (None, Some(_)) => {
            let text = Text::read(options)?;
            (None, Described::new(&text.network, &text.split.characters))
        }
        (Some(checkpoint), None) => {
            let said = checkpoint.run().network.clone();
            let described: Described = serde_json::from_value(said)
                .with_context(|| format!("{} is not of a character model", checkpoint.folder().display()))?;
            (Some(checkpoint), described)
        }
    };
    options.sampling.prompt(&Characters::new(&described.characters))?;
    let n_steps = described.network.grid()?.n_steps();
    options.launch.check(n_steps)?;
    let on_rank = |world: Communicator| -> anyhow::Result<()> {
        let mesh = Mesh::new(&world, &options.launch.mesh(), n_steps)?;
        let config = TrainerConfig::new(1, options.training.learning_rate);
        let mut trainer = trainer(options, &Schedule::sequential(), &mesh, &described, config)?;
        if let Some(checkpoint) = &checkpoint {
            trainer.load(checkpoint)?;
        }
        write_sample(options, &mut trainer, &described)
    };
    launch(&options.launch.launch(), |world| on_rank(world).map_err(|error| describe(error.as_ref())))?;
    Ok(())
}

/// The checkpoint that the options name.
fn saved(options: &Options) -> anyhow::Result<Option<Checkpoint>> {
    let path = match (options.training.resume.as_str(), &options.training.out) {
        ("no", _) => return Ok(None),
        ("auto", Some(out)) => out.join("checkpoints"),
        (path, _) => path.into(),
    };
    let found = checkpoint::find(&path)?;
    Ok(Some(found.with_context(|| format!("{} holds no checkpoint: train with --out first", path.display()))?))
}

fn config(options: &Options, phase: &Phase) -> TrainerConfig {
    let config = TrainerConfig { configuration: phase.configuration.clone(), ..options.training.config() };
    run::settings(config, &phase.schedule, phase.is_baseline)
}

/// The trainer of the network, with the parameters of `--import`.
fn trainer(
    options: &Options,
    schedule: &Schedule,
    mesh: &Mesh,
    described: &Described,
    config: TrainerConfig,
) -> anyhow::Result<CharTrainer> {
    let model = build(options, &described.network, schedule, mesh)?;
    let description = serde_json::to_value(described).context("network configuration")?;
    let mut trainer = Trainer::new(mesh, model, schedule, Task::per_token(None), description, config)?;
    if let Some(file) = &options.import {
        trainer.import(file)?;
    }
    Ok(trainer)
}

fn build(
    options: &Options,
    config: &TransformerConfig,
    schedule: &Schedule,
    mesh: &Mesh,
) -> anyhow::Result<LayerParallel<Transformer>> {
    let (compared, grid) = (options.schedule.schedule(), config.grid()?);
    let device = options.device.device(mesh)?;
    run::spread((&compared, schedule), (&grid, config.coarse), mesh, |layers, run| {
        config.init(layers, run, options.training.seed, &device)
    })
}

/// Prints some text of the network's own.
fn write_sample(options: &Options, trainer: &mut CharTrainer, described: &Described) -> anyhow::Result<()> {
    // All ranks of the data axis would write the same.
    if options.sampling.sample == 0 || trainer.mesh().data_rank() != 0 {
        return Ok(());
    }
    let (shows, length) = (trainer.mesh().world().rank() == 0, described.network.max_length);
    let characters = Characters::new(&described.characters);
    let text = sample(trainer.model_mut(), &characters, length, &options.sampling)?;
    if shows {
        println!("--- sample, temperature {}\n{}\n---", options.sampling.temperature, text.trim_start_matches('\n'));
    }
    Ok(())
}

fn announce(options: &Options, phase: &Phase, described: &Described) {
    let TransformerConfig { layers, d_model, heads, final_time, vocabulary, .. } = described.network;
    let source = options.data.as_ref().map_or("a generated text".to_owned(), |file| file.display().to_string());
    println!("{}: {layers} layers of {d_model} features, {heads} heads, on {source}", phase.name);
    println!("  {vocabulary} characters, step {}", final_time / layers as f64);
    println!("  initial parameters: {}, coarse operator: {:?}", described.network.depth_init, described.network.coarse);
    println!("  {}: {}", phase.schedule, why(&phase.schedule));
    let training = options.training.config();
    println!("  batch {}, {:?}, {:?}", training.batch, training.optimizer, training.learning_rate);
}

/// What is to be said of a choice of schedule for transformers.
fn why(schedule: &Schedule) -> &'static str {
    match (schedule.is_exact(), schedule.forward.is_sequential()) {
        (true, _) => "exact states and gradients",
        (false, true) => {
            "exact states, as an inexact forward solve costs a transformer most of its gradients' accuracy"
        }
        (false, false) => "inexact states and gradients; the default is mixed, whose states are exact",
    }
}
