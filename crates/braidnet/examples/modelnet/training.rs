//! One training run.

use anyhow::Context;
use braidnet::grid::Hierarchy;
use braidnet::prelude::*;
use braidnet::train::memory;

use crate::data::{Data, Sizes};
use crate::fit::fit;
use crate::phase::{Phase, Trained};
use crate::{Options, coarse_space, run};

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

/// Prints what of the options does not go together.
pub fn warn(options: &Options) -> anyhow::Result<()> {
    let halved = &options.network.space.coarsen_space;
    for warning in coarse_space::warnings(halved, &options.schedule.schedule(), &options.network(1).grid()?)? {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

/// The trainer of the network, announced on the first rank.
fn trainer(
    options: &Options,
    phase: &Phase<'_>,
    mesh: &Mesh,
    sizes: &Sizes,
) -> anyhow::Result<Trainer<OdeNet3d, Tensor<1, Int>>> {
    let config = options.network(sizes.classes);
    let (compared, grid) = (options.schedule.schedule(), config.grid()?);
    if mesh.world().rank() == 0 {
        announce(options, &config, phase, sizes);
        announce_levels(&config, phase.schedule, &grid)?;
    }
    let device = options.device.device(mesh)?;
    let model = run::spread((&compared, phase.schedule), (&grid, config.coarse), mesh, |layers, run| {
        config.init(layers, run, options.training.seed, &device)
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

fn announce(options: &Options, config: &OdeNet3dConfig, phase: &Phase<'_>, sizes: &Sizes) {
    let source = options.data.as_ref().map_or("generated furniture".to_owned(), |d| d.display().to_string());
    let ([train, test], OdeNet3dConfig { layers, channels, classes, final_time, .. }) = (sizes.n(), config);
    println!("{}: {layers} layers of {channels} channels on {source}", phase.name);
    println!("  {train} training and {test} test samples of {classes} classes; {}^3 voxels", options.side);
    println!(
        "  final time {final_time}, initial parameters: {}, coarse operator: {:?}",
        config.depth_init, config.coarse
    );
    let training = options.training.config();
    println!("  batch {}, {:?}, {:?}", training.batch, training.optimizer, training.learning_rate);
}

/// The solves, and the steps and grids of their levels.
fn announce_levels(config: &OdeNet3dConfig, schedule: &Schedule, grid: &TimeGrid) -> anyhow::Result<()> {
    for (direction, solve) in [("forward", &schedule.forward), ("backward", &schedule.backward)] {
        println!("  {direction}: {solve}");
        if solve.is_sequential() {
            continue;
        }
        let halved = config.space.as_ref().map_or(&[][..], |space| &space.levels);
        let mut side = config.voxels[1];
        for level in Hierarchy::new(grid, &solve.options(direction)?.coarsening)?.levels() {
            println!("    level {}: {} steps, {side}^3 voxels", level.index(), level.n_steps());
            side /= if halved.contains(&level.index()) { 2 } else { 1 };
        }
    }
    Ok(())
}
