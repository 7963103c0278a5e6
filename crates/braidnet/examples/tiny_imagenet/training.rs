//! One training run.

use anyhow::Context;
use braidnet::prelude::*;
use braidnet::train::memory;

use crate::Options;
use crate::balanced::spread_balanced;
use crate::coarse_space;
use crate::data::{Data, Sizes};
use crate::fit::fit;
use crate::phase::name_of;
use crate::phase::{Phase, Trained};
use crate::run;

/// Trains on all ranks of `mesh`.
pub fn train(
    options: &Options,
    phase: &Phase<'_>,
    mesh: &Mesh,
    (data, sizes): (&Data<'_>, &Sizes),
) -> anyhow::Result<Trained> {
    memory::reset_peak();
    let trainer = trainer(options, phase, mesh, sizes)?;
    let [train, test] = data.samples(mesh, sizes, &trainer.model().device())?;
    let files = (options.training.out.as_deref(), options.export.as_deref());
    fit(trainer, phase, [&train, &test], files)
}

/// Prints what every rank would do in a step.
pub fn dry_run(options: &Options, mesh: &Mesh, sizes: &Sizes) -> anyhow::Result<()> {
    let schedule = options.schedule.schedule();
    let phase = Phase::dry(&schedule);
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
    let device = options.device.device(mesh)?;
    let model = spread_balanced((&compared, phase.schedule), (&grid, config.coarse), mesh, samples, |layers, run| {
        config.init(layers, run, seed, &device)
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
