//! The controller in `Trainer::fit`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_monitor::metrics::{Record, read};
use braidnet_nn::OdeNet2dConfig;
use braidnet_train::control::{ControlConfig, ControlKind};
use braidnet_train::trainer::{CheckpointConfig, End, Resume};
use braidnet_train::{Activations, Schedule, SolveConfig, TrainerConfig};

use crate::common::compare::{Checked, Values, distance, ensure, parameters, same, same_bits, text};
use crate::common::families::{Family, alone_of, decoder, encoder, fit_of, once, samples_of, trainer_of};
use crate::common::run::{SAMPLES, mesh, meshes, training, with_folder};
use crate::common::{LAYERS, config};

pub const TESTS: &[RankTest] = &[
    ("a_high_rho_climbs_the_ladder", a_high_rho_climbs_the_ladder),
    ("a_solve_that_diverges_goes_to_the_last_rung_at_once", a_solve_that_diverges_goes_to_the_last_rung_at_once),
    ("decisions_do_not_depend_on_layer_ranks", decisions_do_not_depend_on_layer_ranks),
    ("a_stopped_run_decides_as_the_whole_one", a_stopped_run_decides_as_the_whole_one),
    ("fixed_only_tells_and_off_does_nothing", fixed_only_tells_and_off_does_nothing),
    ("all_ranks_of_a_mesh_are_on_one_rung", all_ranks_of_a_mesh_are_on_one_rung),
];

fn base() -> Schedule {
    Schedule::layer_parallel(SolveConfig::new(2))
}

/// Acts on every probe, of which every second step is one; limits that no inexact solve keeps.
fn nervous() -> ControlConfig {
    let (kind, probe_every) = (ControlKind::Adaptive, 2);
    ControlConfig { kind, probe_every, rho_up: 0.01, rho_down: 0.001, smoothing: 1, dwell: 1, ..Default::default() }
}

/// Ten steps.
fn controlled(out: &Path, control: ControlConfig) -> TrainerConfig {
    TrainerConfig { epochs: 4, control, ..training(out) }
}

/// What a run decided, as recorded, and how it ended.
#[derive(Debug, PartialEq)]
struct Decided {
    /// Step and line of every decision.
    events: Vec<(u64, String)>,
    /// The rung after every probe.
    rungs: Vec<u64>,
    losses: Vec<Option<f64>>,
    /// Steps done on each rung.
    steps: Vec<u64>,
}

fn decided(out: &Path, steps: &[u64]) -> Result<Decided, String> {
    let mut decided = Decided { events: vec![], rungs: vec![], losses: vec![], steps: steps.to_vec() };
    for record in read(out.join("metrics.jsonl")).map_err(text)? {
        match record {
            Record::Event(event) if event.what == "control" => decided.events.push((event.step, event.detail)),
            Record::Probe(probe) => decided.rungs.extend(probe.rung),
            Record::Step(step) => decided.losses.push(step.loss),
            _ => {}
        }
    }
    Ok(decided)
}

/// A run over the usual samples; what it decided, and this rank's parameters.
fn run<F: Family>(
    family: &F,
    mesh: &Mesh,
    schedule: &Schedule,
    training: &TrainerConfig,
) -> Result<(Decided, Values), String> {
    let mut trainer = trainer_of(family, mesh, schedule, training).map_err(text)?;
    trainer.fit(&samples_of(family, SAMPLES, mesh), None).map_err(text)?;
    mesh.world().barrier().map_err(text)?;
    let out = training.out.as_deref().ok_or("no folder")?;
    let decided = decided(out, trainer.controller().steps())?;
    Ok((decided, parameters(trainer.model().network())))
}

fn a_high_rho_climbs_the_ladder(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            // Deep enough for no rung to be exact but those that are sequential.
            let (got, _) = run(&encoder(20), &mesh, &base(), &controlled(folder, nervous()))?;
            let what = format!("{mesh:?}: {got:?}");
            // Probes before steps 1, 3, 5 ... of twelve; a rung up at each of the first four.
            same(&what, &got.rungs, &vec![1, 2, 3, 4, 4, 4])?;
            same(&what, &got.events.iter().map(|(step, _)| *step).collect::<Vec<_>>(), &vec![1, 3, 5, 7, 9, 11])?;
            same(&what, &got.steps, &vec![1, 2, 2, 2, 5])?;
            let names = ["base", "iterations x2", "FCF", "sequential forward", "sequential"];
            for (names, (_, line)) in names.windows(2).zip(&got.events) {
                let begins = format!("{} -> {}: rho of the ", names[0], names[1]);
                ensure(line.starts_with(&begins) && line.contains(" > 0.01"), || what.clone())?;
            }
            // From the last rung it looks at the one below, which would not do.
            let kept = "kept sequential: rho of the backward solve";
            ensure(got.events[4..].iter().all(|(_, line)| line.starts_with(kept)), || what.clone())?;
            ensure(got.events[4].1.ends_with("(probe of sequential forward)"), || what.clone())
        })?;
    }
    Ok(())
}

/// Steps so long that the coarse solve is no help, with the limits meant for use.
fn a_solve_that_diverges_goes_to_the_last_rung_at_once(world: &Communicator) -> Checked {
    let stiff = OdeNet2dConfig { final_time: 400.0, ..config(LAYERS) };
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let control = ControlConfig { kind: ControlKind::Adaptive, probe_every: 1, ..Default::default() };
            let training = TrainerConfig { clip: Some(0.1), ..controlled(folder, control) };
            let (got, _) = run(&stiff, &mesh, &Schedule::layer_parallel(SolveConfig::new(5)), &training)?;
            let what = format!("{mesh:?}: {got:?}");
            same(&what, &got.rungs.first(), &Some(&4))?;
            let (step, line) = got.events.first().ok_or("no decision")?;
            let begins = line.starts_with("base -> sequential: rho of the ");
            ensure(*step == 1 && begins && line.ends_with(" > 1"), || what.clone())?;
            ensure(got.losses.iter().flatten().all(|loss| loss.is_finite()), || what.clone())
        })?;
    }
    Ok(())
}

/// As [`run`], by one rank alone.
fn alone<F: Family>(
    family: &F,
    schedule: &Schedule,
    control: &ControlConfig,
) -> Result<Arc<(Decided, Values)>, String> {
    once(format!("{family:?}, {schedule}, {control:?}"), || {
        let folder = tempfile::tempdir().map_err(text)?;
        run(family, &Mesh::alone(), schedule, &controlled(folder.path(), control.clone()))
    })
}

fn the_same<F: Family>(family: &F, world: &Communicator, schedule: &Schedule, control: &ControlConfig) -> Checked {
    with_folder(world, |folder| {
        let expected = alone(family, schedule, control)?;
        let (expected, all) = &*expected;
        let together = controlled(folder, control.clone());
        let (got, parameters) = run(family, &mesh(world, world.size())?, schedule, &together)?;
        let what = format!("{family:?}, {schedule}, {control:?}");
        same(&what, &got, expected)?;
        same_bits(&what, &parameters, all)
    })
}

/// Also with recomputation, a look at the gradient error, and transformers.
fn decisions_do_not_depend_on_layer_ranks(world: &Communicator) -> Checked {
    let recompute = Schedule { activations: Activations::Recompute, ..base() };
    let usual = ControlConfig { probe_every: 1, rho_up: 0.75, rho_down: 0.4, ..nervous() };
    let by_error = ControlConfig { gradient_error: true, max_gradient_error: Some(1e-3), ..usual.clone() };
    the_same(&config(LAYERS), world, &base(), &nervous())?;
    the_same(&encoder(8), world, &recompute, &nervous())?;
    the_same(&decoder(8), world, &base(), &usual)?;
    the_same(&encoder(8), world, &base(), &by_error)?;
    the_same(&config(LAYERS), world, &recompute, &by_error)
}

fn a_stopped_run_decides_as_the_whole_one(world: &Communicator) -> Checked {
    let usual = ControlConfig { probe_every: 1, rho_up: 0.75, rho_down: 0.4, smoothing: 2, ..nervous() };
    for (control, n_steps) in [(nervous(), 12), (usual, 12)] {
        with_folder(world, |folder| {
            let family = config(LAYERS);
            let expected = alone(&family, &base(), &control)?;
            let (expected, all) = &*expected;
            let whole = controlled(folder, control.clone());
            let checkpoints = CheckpointConfig { resume: Resume::Auto, ..whole.checkpoints };
            let a_step = TrainerConfig { time_limit: Some(Duration::from_millis(1)), checkpoints, ..whole };
            for step in 1..=n_steps {
                // On other layer ranks too.
                let ranks = [world.size(), 1, world.size().div_ceil(2)][step % 3];
                if let Some(some) = world.first_ranks(ranks).map_err(text)? {
                    let ran = fit_of(&family, &mesh(&some, ranks)?, &base(), &a_step, SAMPLES).map_err(text)?;
                    same("step", &(ran.outcome.step, ran.outcome.end), &(step as u64, End::Stopped))?;
                }
                world.barrier().map_err(text)?;
            }
            let (got, parameters) = run(&family, &mesh(world, world.size())?, &base(), &a_step)?;
            same("decisions", &got, expected)?;
            same_bits("parameters", &parameters, all)
        })?;
    }
    Ok(())
}

fn fixed_only_tells_and_off_does_nothing(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let kind = |kind| ControlConfig { kind, ..nervous() };
            let training = |name: &str, kind_of| controlled(&folder.join(name), kind(kind_of));
            let family = config(LAYERS);
            let (fixed, _) = run(&family, &mesh, &base(), &training("fixed", ControlKind::Fixed))?;
            let what = format!("{mesh:?}: {fixed:?}");
            same(&what, &(fixed.rungs, fixed.steps), &(vec![0; 6], vec![12, 0, 0, 0, 0]))?;
            let tells = |line: &str| line.starts_with("kept base: rho") && line.ends_with("the control is fixed");
            ensure(fixed.events.len() == 6 && fixed.events.iter().all(|(_, line)| tells(line)), || what.clone())?;
            let (off, parameters) = run(&family, &mesh, &base(), &training("off", ControlKind::Off))?;
            same("off", &(off.rungs, off.events, off.steps), &(vec![], vec![], vec![12, 0, 0, 0, 0]))?;
            let plain = TrainerConfig { control: ControlConfig::default(), ..training("plain", ControlKind::Off) };
            let expected = fit_of(&family, &mesh, &base(), &plain, SAMPLES).map_err(text)?;
            same("losses", &off.losses, &expected.losses())?;
            same_bits("parameters", &parameters, &expected.parameters)
        })?;
    }
    Ok(())
}

/// With shards that are empty: the third step of an epoch has two samples.
fn all_ranks_of_a_mesh_are_on_one_rung(world: &Communicator) -> Checked {
    let by_error = ControlConfig { gradient_error: true, max_gradient_error: Some(1e-3), ..nervous() };
    for mesh in meshes(world)? {
        for control in [nervous(), ControlConfig { probe_every: 1, ..nervous() }, by_error.clone()] {
            with_folder(world, |folder| {
                let family = config(LAYERS);
                let training = controlled(folder, control.clone());
                let mut trainer = trainer_of(&family, &mesh, &base(), &training).map_err(text)?;
                trainer.fit(&samples_of(&family, SAMPLES, &mesh), None).map_err(text)?;
                let what = format!("{mesh:?}, {control:?}");
                let rung = trainer.controller().rung() as u64;
                let rungs = world.all_gather(rung, &()).map_err(text)?;
                ensure(rung > 0 && rungs.iter().all(|other| *other == rung), || format!("{what}: rungs {rungs:?}"))?;
                let own: Values = parameters(trainer.model().network());
                let flat: Vec<f32> = own.values().flatten().copied().collect();
                let copies = mesh.data().all_gather(flat.clone(), &()).map_err(text)?;
                ensure(copies.iter().all(|copy| *copy == flat), || format!("{what}: copies differ"))?;
                let uncontrolled = |out: &Path| controlled(out, ControlConfig::default());
                let exact = alone_of(&family, &Schedule::sequential(), uncontrolled, SAMPLES)?;
                // It soon trains by exact gradients.
                let off = distance(&own, &exact.parameters);
                ensure(off < 0.05, || format!("{what}: parameters off by {off:e}"))
            })?;
        }
    }
    Ok(())
}
