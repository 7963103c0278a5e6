//! One training run.

use anyhow::Context;
use braidnet::prelude::*;
use braidnet::train::memory;

use crate::data::Data;
use crate::report::Row;
use crate::run;
use crate::translate;
use crate::{Options, WHY};

pub type PairTrainer = Trainer<EncoderDecoder, Tensor<1, Int>>;

/// What is run.
pub struct Phase<'a> {
    pub name: String,
    pub schedule: &'a Schedule,
    /// What the folder of the run keeps as `config.toml`.
    pub configuration: Option<String>,
    /// The sequential run that the other is compared with: no folder, no timeline.
    pub is_baseline: bool,
}

/// What came of a run.
pub struct Trained {
    /// The line for the table, on the first rank.
    pub row: Option<Row>,
    pub end: End,
}

/// Trains on all ranks of `mesh`, and translates the test set.
pub fn train(options: &Options, phase: &Phase<'_>, mesh: &Mesh, data: &Data) -> anyhow::Result<Trained> {
    memory::reset_peak();
    let mut trainer = trainer(options, phase, mesh, data)?;
    let [train, test] = data.samples(options, mesh, &trainer.model().device())?;
    let outcome = trainer.fit(&train, Some(&test))?;
    let mut right = None;
    if outcome.end == End::Finished {
        right = Some(translate::test_set(&mut trainer, data, options.training.batch)?);
    }
    if let Some(file) = options.export.as_ref().filter(|_| !phase.is_baseline) {
        trainer.export(file)?;
    }
    let (end, out) = (outcome.end, options.training.out.as_deref());
    let row = (mesh.world().rank() == 0).then(|| Row::new(&phase.name, [right, None], phase.schedule, out, &outcome));
    Ok(Trained { row, end })
}

/// Prints what every rank would do in a step.
pub fn dry_run(options: &Options, mesh: &Mesh, data: &Data) -> anyhow::Result<()> {
    let schedule = options.schedule.schedule();
    let phase = Phase { name: "dry run".to_owned(), schedule: &schedule, configuration: None, is_baseline: false };
    let plan = trainer(options, &phase, mesh, data)?.plan()?;
    if mesh.world().rank() == 0 {
        print!("{plan}");
    }
    Ok(())
}

/// The trainer of a network for `data`, announced on the first rank.
pub fn trainer(options: &Options, phase: &Phase<'_>, mesh: &Mesh, data: &Data) -> anyhow::Result<PairTrainer> {
    let config = data.config(options);
    if mesh.world().rank() == 0 {
        announce(options, &config, phase, data);
    }
    let model = build(options, &config, phase.schedule, mesh)?;
    let training = training(options, phase);
    let description = serde_json::to_value(&config).context("network configuration")?;
    let task = Task::per_token(Some(braidnet::data::pairs::PAD));
    let mut trainer = Trainer::new(mesh, model, phase.schedule, task, description, training)?;
    if let Some(file) = &options.import {
        trainer.import(file)?;
    }
    Ok(trainer)
}

fn training(options: &Options, phase: &Phase<'_>) -> TrainerConfig {
    let config = TrainerConfig { configuration: phase.configuration.clone(), ..options.training.config() };
    run::settings(config, phase.schedule, phase.is_baseline)
}

fn build(
    options: &Options,
    config: &EncoderDecoderConfig,
    schedule: &Schedule,
    mesh: &Mesh,
) -> anyhow::Result<LayerParallel<EncoderDecoder>> {
    let (compared, grid) = (options.schedule.schedule(), config.grid()?);
    let device = options.device.device(mesh)?;
    run::spread((&compared, schedule), (&grid, config.coarse), mesh, |layers, run| {
        config.init(layers, run, options.training.seed, &device)
    })
}

fn announce(options: &Options, config: &EncoderDecoderConfig, phase: &Phase<'_>, data: &Data) {
    let EncoderDecoderConfig { layers, d_model, heads, vocabularies, max_lengths, .. } = config;
    println!(
        "{}: {} + {} layers of width {d_model}, {heads} heads, on {}",
        phase.name, layers[0], layers[1], data.name
    );
    println!(
        "  {} training and {} test pairs; {} and {} words; up to {} and {} tokens a sentence",
        data.train.len(),
        data.test.len(),
        vocabularies[0],
        vocabularies[1],
        max_lengths[0],
        max_lengths[1]
    );
    println!("  initial parameters: {}, coarse operator: {:?}", config.depth_init, config.coarse);
    println!("  schedule: {}", phase.schedule);
    if !phase.is_baseline && options.has_default_schedule() {
        println!("    ({WHY})");
    }
    let training = options.training.config();
    println!("  batch {}, {:?}, {:?}", training.batch, training.optimizer, training.learning_rate);
}
