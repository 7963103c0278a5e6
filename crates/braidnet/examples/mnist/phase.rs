//! One training run.

use std::time::Duration;

use anyhow::{Context, ensure};
use braidnet::prelude::*;
use braidnet::train::{memory, spread_within_runs};

use crate::Options;
use crate::data::{Data, Sizes};
use crate::report::Row;

/// What is run.
pub struct Phase<'a> {
    pub name: String,
    pub schedule: &'a Schedule,
    /// The sequential run that the other is compared with: no folder, no timeline.
    pub is_baseline: bool,
}

/// Trains on all ranks of `mesh`; the row for the table on its first rank.
pub fn train(options: &Options, phase: &Phase<'_>, mesh: &Mesh, data: &Data<'_>) -> anyhow::Result<Option<Row>> {
    memory::reset_peak();
    let device = options.device.device(mesh);
    let ([train, test], Sizes { n: [n_train, n_test], rows, cols }) = data.samples(mesh, &device)?;
    ensure!(n_train > 0 && n_test > 0, "{n_train} training and {n_test} test images: at least 1 of each is needed");

    let config = options.network.config([1, rows, cols], mnist::CLASSES);
    let model = build(options, &config, phase.schedule, mesh)?;
    let training = training(options, phase);
    let plan = plan(&model, mesh, phase.schedule, &training)?;
    let shows = mesh.world().rank() == 0;
    if shows {
        announce(options, &config, phase);
        print!("{plan}");
    }
    let before = spread_within_runs(&model)?;
    let description = serde_json::to_value(&config).context("network configuration")?;
    let mut trainer = Trainer::new(mesh, model, phase.schedule, Task::classification(), description, training)?;
    if let Some(file) = options.import.as_ref().filter(|_| !phase.is_baseline) {
        trainer.import(file)?;
    }
    let outcome = trainer.fit(&train, Some(&test))?;
    let score = match outcome.test {
        Some(score) => score,
        None => trainer.evaluate(&test)?,
    };
    let after = spread_within_runs(trainer.model())?;
    if shows && let (Some(before), Some(after)) = (before, after) {
        println!("spread of parameters within coarse steps: {before:.3} before, {after:.3} after training");
    }
    if let Some(file) = options.export.as_ref().filter(|_| !phase.is_baseline) {
        trainer.export(file)?;
    }
    let errors: Vec<f64> = outcome.gradient_errors.iter().map(|error| error.relative).collect();
    Ok(shows.then(|| Row {
        name: phase.name.clone(),
        accuracy: score.accuracy.unwrap_or(f64::NAN),
        step: deciles(outcome.steps),
        memory: memory::peak(),
        gradient_error: summary(&errors).filter(|_| !phase.schedule.is_exact()),
        end: match outcome.end {
            End::Finished => "finished".to_owned(),
            End::Stopped => format!("stopped at step {}; resume with --resume auto", outcome.step),
        },
    }))
}

/// Prints what every rank would do in a step.
pub fn dry_run(options: &Options, mesh: &Mesh) -> anyhow::Result<()> {
    let config = options.network.config([1, 28, 28], mnist::CLASSES);
    let schedule = options.schedule.schedule();
    let phase = Phase { name: "dry run".to_owned(), schedule: &schedule, is_baseline: false };
    let model = build(options, &config, &schedule, mesh)?;
    let plan = plan(&model, mesh, &schedule, &training(options, &phase))?;
    if mesh.world().rank() == 0 {
        announce(options, &config, &phase);
        print!("{plan}");
    }
    Ok(())
}

fn training(options: &Options, phase: &Phase<'_>) -> TrainerConfig {
    let config = options.training.config();
    match phase.is_baseline {
        true => TrainerConfig { out: None, trace: None, micro_batches: 1, probe_every: None, ..config },
        false => TrainerConfig { probe_every: config.probe_every.filter(|_| !phase.schedule.is_exact()), ..config },
    }
}

fn plan(
    model: &LayerParallel<OdeNet2d>,
    mesh: &Mesh,
    schedule: &Schedule,
    training: &TrainerConfig,
) -> anyhow::Result<Plan> {
    let micro_batches = training.micro_batches;
    let micro_batch = training.batch.div_ceil(mesh.shape().data_ranks).div_ceil(micro_batches);
    Ok(Plan::new(mesh, model, schedule, training.optimizer, (micro_batch, micro_batches))?)
}

fn build(
    options: &Options,
    config: &OdeNet2dConfig,
    schedule: &Schedule,
    mesh: &Mesh,
) -> anyhow::Result<LayerParallel<OdeNet2d>> {
    let partition = Partition::even(config.layers, mesh.shape().layer_ranks)?;
    let grid = config.grid()?;
    // Runs of the schedule that is compared, also in the sequential run: both start from the same parameters.
    let run = options.schedule.schedule().longest_run(&grid)?;
    let layers = partition.layers(mesh.layer_rank());
    let network = config.init(layers, run, options.training.seed, &options.device.device(mesh))?;
    Ok(LayerParallel::new(network, &grid, &partition, schedule, mesh.layer())?)
}

fn announce(options: &Options, config: &OdeNet2dConfig, phase: &Phase<'_>) {
    let source = options.data.as_ref().map_or("generated digits".to_owned(), |d| d.display().to_string());
    println!("{}: {} layers of {} channels on {source}", phase.name, config.layers, config.channels);
    println!("  initial parameters: {}, coarse operator: {:?}", config.depth_init, config.coarse);
    let training = options.training.config();
    println!("  batch {}, {:?}, {:?}", training.batch, training.optimizer, training.learning_rate);
}

/// First decile, median, last decile.
fn deciles(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    let at = |tenths: usize| times.get(tenths * times.len().saturating_sub(1) / 10).copied().unwrap_or_default();
    [at(1), at(5), at(9)]
}

/// First, median, last.
fn summary(errors: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = errors.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some([*errors.first()?, sorted[sorted.len() / 2], *errors.last()?])
}
