//! One training run.

use anyhow::Context;
use braidnet::data::tagging::PAD;
use braidnet::options::ScheduleName;
use braidnet::prelude::*;
use braidnet::train::{TrainError, memory};

use crate::Options;
use crate::data::{Data, Sentences, Sizes, encoder};
use crate::epochs::EpochScores;
use crate::phase::{Phase, Trained};
use crate::report::Row;
use crate::run;

type Tagger = Trainer<Transformer, Tensor<1, Int>>;

/// Trains on all ranks of `mesh`.
pub fn train(
    options: &Options,
    phase: &Phase<'_>,
    mesh: &Mesh,
    (data, sizes): (&Data<'_>, &Sizes),
) -> anyhow::Result<Trained> {
    memory::reset_peak();
    let mut trainer = trainer(options, phase, mesh, sizes)?;
    let [train, dev, test] = data.samples(mesh, sizes, &trainer.model().device())?;
    let shows = mesh.world().rank() == 0;
    let mut epochs = Vec::new();
    let outcome = trainer.fit_with(&train, Some(&dev), &mut |trainer, record| {
        let test = scores(trainer, &test)?;
        let dev = [record.test_accuracy, record.test_accuracy_scheduled];
        epochs.push(EpochScores { epoch: record.epoch, sets: vec![dev, test] });
        Ok(())
    })?;
    let accuracy = match (epochs.last(), outcome.end) {
        (Some(EpochScores { sets, .. }), End::Finished) => sets[1],
        // Nothing was left to train.
        (None, End::Finished) => scores(&mut trainer, &test)?,
        // The time may be up, and the last epoch is not the last step.
        (_, End::Stopped) => [None; 2],
    };
    if let Some(file) = options.export.as_ref().filter(|_| !phase.is_baseline) {
        trainer.export(file)?;
    }
    let out = options.training.out.as_deref();
    let row = shows.then(|| Row::new(&phase.name, accuracy, phase.schedule, out, &outcome));
    Ok(Trained { row, epochs, end: outcome.end })
}

/// Right part of a set by the exact forward pass, and by the schedule's.
fn scores(trainer: &mut Tagger, set: &Sentences) -> Result<[Option<f64>; 2], TrainError> {
    Ok(trainer.evaluate_both(set)?.map(|score| score.accuracy))
}

/// Prints what every rank would do in a step, of sentences as long as the longest.
pub fn dry_run(options: &Options, mesh: &Mesh, sizes: &Sizes) -> anyhow::Result<()> {
    let schedule = options.schedule.schedule();
    let phase = Phase::dry(&schedule);
    let plan = trainer(options, &phase, mesh, sizes)?.plan()?;
    if mesh.world().rank() == 0 {
        print!("{plan}");
    }
    Ok(())
}

/// The trainer of an encoder for this treebank, announced on the first rank.
fn trainer(options: &Options, phase: &Phase<'_>, mesh: &Mesh, sizes: &Sizes) -> anyhow::Result<Tagger> {
    let config = encoder(options, sizes);
    if mesh.world().rank() == 0 {
        announce(options, &config, phase, sizes);
    }
    let model = build(options, &config, phase.schedule, mesh)?;
    let description = serde_json::to_value(&config).context("network configuration")?;
    let task = Task::per_token(Some(PAD));
    let mut trainer = Trainer::new(mesh, model, phase.schedule, task, description, training(options, phase))?;
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

fn announce(options: &Options, config: &TransformerConfig, phase: &Phase<'_>, sizes: &Sizes) {
    let source = options.data.as_ref().map_or("generated sentences".to_owned(), |d| d.display().to_string());
    let [train, dev, test] = sizes.n;
    let TransformerConfig { layers, d_model, heads, final_time, depth_init, coarse, .. } = config;
    println!("{}: encoder of {layers} layers, {d_model} features, {heads} heads on {source}", phase.name);
    println!("  {train} training, {dev} dev and {test} test sentences of up to {} tokens", sizes.longest);
    println!("  {} forms, {} tags; final time {final_time}", sizes.forms, sizes.tags);
    println!("  initial parameters: {depth_init}, coarse operator: {coarse:?}");
    let training = options.training.config();
    println!("  batch {}, {:?}, {:?}", training.batch, training.optimizer, training.learning_rate);
    let schedule = if phase.is_baseline { ScheduleName::Sequential } else { options.schedule.schedule };
    println!("  {}", meaning(schedule));
}

/// What a schedule means for the network, and why one is the default.
fn meaning(schedule: ScheduleName) -> &'static str {
    match schedule {
        ScheduleName::Sequential => "layer by layer both ways: exact",
        ScheduleName::Pipeline => "layer by layer both ways, several micro-batches at once: exact",
        ScheduleName::Mixed => {
            "exact forward, MGRIT backward: only gradients are inexact. The default: what learns is the network itself"
        }
        ScheduleName::LayerParallel => {
            "MGRIT both ways: the network learns with the forward solve's error; compare its accuracy as scheduled with \
             the exact one, or let --control adaptive watch rho"
        }
    }
}
