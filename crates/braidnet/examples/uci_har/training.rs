//! One training run.

use anyhow::Context;
use braidnet::options::{ScheduleName, SolverName};
use braidnet::prelude::*;
use braidnet::train::memory;

use crate::Options;
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
    let schedule = options.schedule(sizes.steps)?;
    let phase = Phase::dry(&schedule);
    let plan = trainer(options, &phase, mesh, sizes)?.plan()?;
    if mesh.world().rank() == 0 {
        print!("{plan}");
    }
    Ok(())
}

/// The trainer of a network for these windows, announced on the first rank.
fn trainer(
    options: &Options,
    phase: &Phase<'_>,
    mesh: &Mesh,
    sizes: &Sizes,
) -> anyhow::Result<Trainer<GruNet, Tensor<1, Int>>> {
    let config = options.network(sizes.steps);
    if mesh.world().rank() == 0 {
        announce(options, &config, phase, sizes);
    }
    let (schedules, grid) = ((phase.schedule, phase.schedule), config.grid()?);
    let device = options.device.device(mesh)?;
    let model = run::spread(schedules, (&grid, config.coarse_input), mesh, |steps, _| {
        config.init(steps, options.training.seed, &device)
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

fn announce(options: &Options, config: &GruConfig, phase: &Phase<'_>, sizes: &Sizes) {
    let source = options.data.as_ref().map_or("generated motion".to_owned(), |d| d.display().to_string());
    let [train, test] = sizes.n;
    let GruConfig { length, hidden, cells, final_time, .. } = config;
    let GruArgs { form, coarse_step, coarse_input, .. } = options.network;
    println!("{}: {cells} cells of {hidden} features, {}, on {source}", phase.name, name_of(form));
    println!("  {train} training and {test} test windows of {length} steps; final time {final_time}");
    println!("  coarse steps: {}, input: {}", name_of(coarse_step), name_of(coarse_input));
    let training = options.training.config();
    println!("  batch {}, {:?}, {:?}", training.batch, training.optimizer, training.learning_rate);
    let schedule = if phase.is_baseline { ScheduleName::Sequential } else { options.schedule.schedule };
    match (schedule, phase.schedule.is_exact()) {
        (ScheduleName::Mixed | ScheduleName::LayerParallel, true) => {
            println!("  so few steps make no coarse level: solved step by step, exactly");
        }
        _ => println!("  {}", meaning(schedule, options.schedule.solver)),
    }
}

/// What a schedule means for the network.
fn meaning(schedule: ScheduleName, solver: SolverName) -> String {
    let solver = match solver {
        SolverName::Multigrid => "MGRIT",
        SolverName::Newton => "Newton's method",
    };
    match schedule {
        ScheduleName::Sequential => "step by step both ways: exact".to_owned(),
        ScheduleName::Pipeline => "step by step both ways, several micro-batches at once: exact".to_owned(),
        ScheduleName::Mixed => format!("step by step forward, {solver} backward: only gradients are inexact"),
        ScheduleName::LayerParallel => format!(
            "{solver} both ways: the network learns with the forward solve's error, so compare its accuracy as scheduled \
             with the exact one; --schedule mixed has exact states, --control adaptive watches rho"
        ),
    }
}
