//! One training run.

use anyhow::{Context, ensure};
use braidnet::prelude::*;
use braidnet::train::{memory, spread_within_runs};

use crate::Options;
use crate::data::{Data, Sizes};
use crate::report::Row;
use crate::run;

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

/// Trains on all ranks of `mesh`.
pub fn train(options: &Options, phase: &Phase<'_>, mesh: &Mesh, data: &Data<'_>) -> anyhow::Result<Trained> {
    memory::reset_peak();
    let device = options.device.device(mesh)?;
    let ([train, test], Sizes { n: [n_train, n_test], rows, cols }) = data.samples(mesh, &device)?;
    ensure!(n_train > 0 && n_test > 0, "{n_train} training and {n_test} test images: at least 1 of each is needed");

    let mut trainer = trainer(options, phase, mesh, ([1, rows, cols], &device))?;
    let shows = mesh.world().rank() == 0;
    let before = spread_within_runs(trainer.model())?;
    let outcome = trainer.fit(&train, Some(&test))?;
    let accuracy = match (outcome.test, outcome.end) {
        (None, End::Finished) => trainer.evaluate_both(&test)?.map(|score| score.accuracy),
        // The time may be up.
        (_, _) => [outcome.test, outcome.test_scheduled].map(|score| score.and_then(|score| score.accuracy)),
    };
    let after = spread_within_runs(trainer.model())?;
    if shows && let (Some(before), Some(after)) = (before, after) {
        println!("spread of parameters within coarse steps: {before:.3} before, {after:.3} after training");
    }
    if let Some(file) = options.export.as_ref().filter(|_| !phase.is_baseline) {
        trainer.export(file)?;
    }
    let end = outcome.end;
    let out = options.training.out.as_deref();
    let row = shows.then(|| Row::new(&phase.name, accuracy, phase.schedule, out, &outcome));
    Ok(Trained { row, end })
}

/// Prints what every rank would do in a step.
pub fn dry_run(options: &Options, mesh: &Mesh) -> anyhow::Result<()> {
    let schedule = options.schedule.schedule();
    let phase = Phase { name: "dry run".to_owned(), schedule: &schedule, configuration: None, is_baseline: false };
    let device = options.device.device(mesh)?;
    let plan = trainer(options, &phase, mesh, ([1, 28, 28], &device))?.plan()?;
    if mesh.world().rank() == 0 {
        print!("{plan}");
    }
    Ok(())
}

/// The trainer of a network for images of shape `image` on a device, announced on the first rank.
fn trainer(
    options: &Options,
    phase: &Phase<'_>,
    mesh: &Mesh,
    (image, device): ([usize; 3], &Device),
) -> anyhow::Result<Trainer<OdeNet2d, Tensor<1, Int>>> {
    let config = options.network.config(image, mnist::CLASSES);
    if mesh.world().rank() == 0 {
        announce(options, &config, phase);
    }
    let model = build(options, &config, phase.schedule, (mesh, device))?;
    let training = training(options, phase);
    let description = serde_json::to_value(&config).context("network configuration")?;
    let mut trainer = Trainer::new(mesh, model, phase.schedule, Task::classification(), description, training)?;
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
    config: &OdeNet2dConfig,
    schedule: &Schedule,
    (mesh, device): (&Mesh, &Device),
) -> anyhow::Result<LayerParallel<OdeNet2d>> {
    let (compared, grid) = (options.schedule.schedule(), config.grid()?);
    run::spread((&compared, schedule), (&grid, config.coarse), mesh, |layers, run| {
        config.init(layers, run, options.training.seed, device)
    })
}

fn announce(options: &Options, config: &OdeNet2dConfig, phase: &Phase<'_>) {
    let source = options.data.as_ref().map_or("generated digits".to_owned(), |d| d.display().to_string());
    println!("{}: {} layers of {} channels on {source}", phase.name, config.layers, config.channels);
    println!("  initial parameters: {}, coarse operator: {:?}", config.depth_init, config.coarse);
    let training = options.training.config();
    println!("  batch {}, {:?}, {:?}", training.batch, training.optimizer, training.learning_rate);
}
