//! One training run.

use anyhow::Context;
use braidnet::prelude::*;
use braidnet::train::memory;

use crate::balanced::spread_balanced;
use crate::coarse_space;
use crate::data::{Data, Sizes};
use crate::epochs::EpochScores;
use crate::report::Row;
use crate::run;
use crate::{Options, name_of};

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
    pub epochs: Vec<EpochScores>,
    pub end: End,
}

/// Trains on all ranks of `mesh`.
pub fn train(
    options: &Options,
    phase: &Phase<'_>,
    mesh: &Mesh,
    (data, sizes): (&Data<'_>, &Sizes),
) -> anyhow::Result<Trained> {
    memory::reset_peak();
    let [train, test] = data.samples(mesh, sizes, &options.device.device(mesh))?;
    let mut trainer = trainer(options, phase, mesh, sizes)?;
    let mut epochs = Vec::new();
    let outcome = trainer.fit_with(&train, Some(&test), &mut |_, record| {
        let test = [record.test_accuracy, record.test_accuracy_scheduled];
        epochs.push(EpochScores { epoch: record.epoch, sets: vec![test] });
        Ok(())
    })?;
    let accuracy = match (outcome.test, outcome.end) {
        // Nothing was left to train.
        (None, End::Finished) => trainer.evaluate_both(&test)?.map(|score| score.accuracy),
        // The time may be up.
        (_, _) => [outcome.test, outcome.test_scheduled].map(|score| score.and_then(|score| score.accuracy)),
    };
    if let Some(file) = options.export.as_ref().filter(|_| !phase.is_baseline) {
        trainer.export(file)?;
    }
    let out = options.training.out.as_deref();
    let shows = mesh.world().rank() == 0;
    let row = shows.then(|| Row::new(&phase.name, accuracy, phase.schedule, out, &outcome));
    Ok(Trained { row, epochs, end: outcome.end })
}

/// Prints what every rank would do in a step.
pub fn dry_run(options: &Options, mesh: &Mesh, sizes: &Sizes) -> anyhow::Result<()> {
    let schedule = options.schedule.schedule();
    let phase = Phase { name: "dry run".to_owned(), schedule: &schedule, configuration: None, is_baseline: false };
    let plan = trainer(options, &phase, mesh, sizes)?.plan()?;
    if mesh.world().rank() == 0 {
        print!("{plan}");
    }
    Ok(())
}

/// The trainer of a network for these pictures, announced on the first rank.
fn trainer(
    options: &Options,
    phase: &Phase<'_>,
    mesh: &Mesh,
    sizes: &Sizes,
) -> anyhow::Result<Trainer<BlockNet, Tensor<1, Int>>> {
    let config = options.network(sizes.classes);
    if mesh.world().rank() == 0 {
        announce(options, &config, phase, sizes)?;
    }
    let (compared, grid) = (options.schedule.schedule(), config.grid()?);
    let TrainingArgs { batch, micro_batches, seed, .. } = options.training;
    let samples = options.balance.samples(batch / (mesh.shape().data_ranks * micro_batches));
    let model = spread_balanced((&compared, phase.schedule), (&grid, config.coarse), mesh, samples, |layers, run| {
        config.init(layers, run, seed, &options.device.device(mesh))
    })?;
    let description = serde_json::to_value(&config).context("network configuration")?;
    let training = TrainerConfig { configuration: phase.configuration.clone(), ..options.training.config() };
    let training = run::settings(training, phase.schedule, phase.is_baseline);
    let mut trainer = Trainer::new(mesh, model, phase.schedule, Task::classification(), description, training)?;
    if let Some(file) = &options.import {
        trainer.import(file)?;
    }
    Ok(trainer)
}

fn announce(options: &Options, config: &BlockNetConfig, phase: &Phase<'_>, sizes: &Sizes) -> anyhow::Result<()> {
    let source = options.data.as_ref().map_or("generated textures".to_owned(), |d| d.display().to_string());
    let BlockNetConfig { per_block, channels, coarse, depth_init, .. } = config;
    println!("{}: blocks of {per_block:?} layers from {channels} channels on, on {source}", phase.name);
    let [train, test] = sizes.n;
    let varied = if options.no_augment { "as they are" } else { "cropped and flipped" };
    println!("  {train} training pictures, {varied}, and {test} test pictures of {} classes", sizes.classes);
    let BlockArgs { norm, pooling, .. } = &options.network;
    println!("  norm: {}, pooling between blocks: {}", name_of(*norm), name_of(*pooling));
    println!("  initial parameters: {depth_init}, coarse operator: {coarse:?}");
    let training = options.training.config();
    println!("  batch {}, {:?}, {:?}", training.batch, training.optimizer, training.learning_rate);
    let Some(space) = config.space.as_ref().filter(|_| !phase.is_baseline) else { return Ok(()) };
    println!("  halved on the way from levels {:?} to the next: {:?}", space.levels, space.restriction);
    for warning in coarse_space::warnings(&space.levels, phase.schedule, &config.grid()?)? {
        println!("  warning: {warning}");
    }
    Ok(())
}
