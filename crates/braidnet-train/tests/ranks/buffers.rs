//! Layers outside the solver: the same network, whatever the buffer.

use std::path::Path;
use std::time::Duration;

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::Relaxation;
use braidnet_nn::transformer::{EncoderDecoderConfig, TransformerConfig};
use braidnet_nn::{Network, OdeNet2dConfig};
use braidnet_train::trainer::{CheckpointConfig, End, Resume, Score};
use braidnet_train::{Activations, OptimizerConfig, Schedule, SolveConfig, TrainerConfig};

use crate::common::compare::{Checked, Values, distance, ensure, parameters, same, same_bits, text};
use crate::common::families::{
    Family, alone_of, decoder, encoder, fit_of, fresh_gradient, model_of, pair, samples_of, trainer_of,
};
use crate::common::run::{mesh, meshes, training, with_folder};
use crate::common::{config, pipeline};

pub const TESTS: &[RankTest] = &[
    ("a_buffer_changes_no_exact_step", a_buffer_changes_no_exact_step),
    ("a_curve_with_buffers_does_not_depend_on_layer_ranks", a_curve_with_buffers_does_not_depend_on_layer_ranks),
    ("a_run_with_buffers_goes_on_with_other_layer_ranks", a_run_with_buffers_goes_on_with_other_layer_ranks),
    ("buffers_are_named_as_what_they_are", buffers_are_named_as_what_they_are),
];

fn image(buffer: usize) -> OdeNet2dConfig {
    OdeNet2dConfig { buffer, ..config(9) }
}

fn text_of(buffer: usize) -> TransformerConfig {
    TransformerConfig { buffer, ..encoder(9) }
}

fn double(buffer: usize) -> EncoderDecoderConfig {
    EncoderDecoderConfig { buffer, ..pair(4, false) }
}

/// Sequential and converged MGRIT: to the bit, and but for rounding.
fn same_network<F: Family>(of: impl Fn(usize) -> F, world: &Communicator) -> Checked {
    let sequential = Schedule::sequential();
    let solve = SolveConfig { max_iters: 8, relaxation: Relaxation::Fcf(1), ..SolveConfig::new(2) };
    let expected = fresh_gradient(&of(0), &Mesh::alone(), &sequential, (5, 2), None).map_err(text)?;
    let mesh = mesh(world, world.size())?;
    for buffer in [1, 2] {
        let family = of(buffer);
        let samples: Vec<_> = (0..3).map(|n| family.sample(n)).collect();
        let plain = [of(0), of(buffer)].map(|family| family.plain_output(&F::inputs(&samples)));
        let [plain, buffered] = plain.map(|output| output.map(|o| o.to_data().iter::<f32>().collect::<Vec<_>>()));
        same(&format!("{family:?}: plain outputs"), &buffered?, &plain?)?;
        for activations in [Activations::Store, Activations::Recompute] {
            for schedule in [sequential.clone(), pipeline(), Schedule::layer_parallel(solve.clone())] {
                let schedule = Schedule { activations, ..schedule };
                let got = fresh_gradient(&family, &mesh, &schedule, (5, 2), None).map_err(text)?;
                let what = format!("{family:?}, {schedule}");
                let off = distance(&got.gradients, &expected.gradients);
                ensure(off < 1e-5 && (got.loss / expected.loss - 1.0).abs() < 1e-6, || {
                    format!("{what}: off by {off:e}, loss {} instead of {}", got.loss, expected.loss)
                })?;
                // Not so for images, whose time steps on the grid may differ from 1/9 by rounding.
                if schedule.is_exact() && of(0).grid().map_err(text)?.times()[1] == 1.0 {
                    same(&what, &got.loss, &expected.loss)?;
                    same_bits(&what, &got.gradients, &expected.gradients)?;
                }
            }
        }
    }
    Ok(())
}

fn a_buffer_changes_no_exact_step(world: &Communicator) -> Checked {
    same_network(image, world)?;
    same_network(text_of, world)?;
    same_network(|buffer| TransformerConfig { buffer, tied: true, ..decoder(9) }, world)?;
    same_network(double, world)
}

fn eventful(out: &Path) -> TrainerConfig {
    TrainerConfig { batch: 4, micro_batches: 2, clip: Some(0.5), optimizer: OptimizerConfig::Adam, ..training(out) }
}

/// Parameters after a run, and the score then; without a folder, which costs time.
fn ran<F: Family>(family: &F, mesh: &Mesh, schedule: &Schedule) -> Result<(Values, Score), String> {
    let training = TrainerConfig { out: None, ..eventful(Path::new("")) };
    let mut trainer = trainer_of(family, mesh, schedule, &training).map_err(text)?;
    let samples = samples_of(family, 6, mesh);
    trainer.fit(&samples, None).map_err(text)?;
    Ok((parameters(trainer.model().network()), trainer.evaluate(&samples).map_err(text)?))
}

fn curve<F: Family>(family: &F, world: &Communicator) -> Checked {
    let solve = SolveConfig { max_iters: 2, ..SolveConfig::new(2) };
    let recomputed = Schedule { activations: Activations::Recompute, ..Schedule::layer_parallel(solve.clone()) };
    for schedule in [Schedule::sequential(), Schedule::layer_parallel(solve), recomputed, pipeline()] {
        let (all, score) = ran(family, &Mesh::alone(), &schedule)?;
        for mesh in meshes(world)? {
            let (own, its_score) = ran(family, &mesh, &schedule)?;
            let what = format!("{family:?}, {mesh:?}, {schedule}");
            if mesh.shape().data_ranks == 1 {
                same(&what, &its_score, &score)?;
                same_bits(&what, &own, &all)?;
            }
            // Rounding is what Adam makes large.
            let off = distance(&own, &all);
            ensure(off < 1e-2, || format!("{what}: parameters off by {off:e}"))?;
        }
    }
    Ok(())
}

fn a_curve_with_buffers_does_not_depend_on_layer_ranks(world: &Communicator) -> Checked {
    for buffer in [1, 2] {
        curve(&image(buffer), world)?;
        curve(&text_of(buffer), world)?;
        curve(&double(buffer), world)?;
    }
    Ok(())
}

fn goes_on<F: Family>(family: &F, world: &Communicator) -> Checked {
    let schedule = Schedule::layer_parallel(SolveConfig::new(2));
    let expected = alone_of(family, &schedule, eventful, 6)?;
    with_folder(world, |folder| {
        let checkpoints = CheckpointConfig { resume: Resume::Auto, ..eventful(folder).checkpoints };
        let a_step = TrainerConfig { time_limit: Some(Duration::from_millis(1)), checkpoints, ..eventful(folder) };
        for step in 1..=5 {
            let ranks = [world.size(), 1, world.size().div_ceil(2)][step % 3];
            if let Some(some) = world.first_ranks(ranks).map_err(text)? {
                let ran = fit_of(family, &mesh(&some, ranks)?, &schedule, &a_step, 6).map_err(text)?;
                let end = if step == 5 { End::Finished } else { End::Stopped };
                same("step", &(ran.outcome.step, ran.outcome.end), &(4.min(step as u64), end))?;
                if step == 5 {
                    same("losses", &ran.losses(), &expected.losses())?;
                    same_bits(&format!("{family:?}"), &ran.parameters, &expected.parameters)?;
                }
            }
            world.barrier().map_err(text)?;
        }
        Ok(())
    })
}

fn a_run_with_buffers_goes_on_with_other_layer_ranks(world: &Communicator) -> Checked {
    goes_on(&image(2), world)?;
    goes_on(&text_of(1), world)?;
    goes_on(&double(2), world)
}

/// The parts of all ranks have each name of the whole network once, and the values of the network without buffers.
fn names<F: Family>(of: impl Fn(usize) -> F, world: &Communicator) -> Checked {
    let alone = Communicator::alone();
    let whole = parameters(model_of(&of(0), &Schedule::sequential(), &alone).map_err(text)?.network());
    for buffer in [1, 2] {
        let model = model_of(&of(buffer), &Schedule::sequential(), world).map_err(text)?;
        let own = parameters(model.network());
        same_bits(&format!("buffer {buffer}"), &own, &whole)?;
        let counts = world.all_gather(own.len() as u64, &()).map_err(text)?;
        same("parameters of all ranks", &counts.iter().sum(), &(whole.len() as u64))?;
        same(
            "layers of the solver",
            &(model.n_layers() + 2 * buffer),
            &model_of(&of(0), &Schedule::sequential(), &alone).map_err(text)?.n_layers(),
        )?;
        let mut visited = Vec::new();
        model.network().visit_parameters(|p| visited.push(p.name));
        let order: Vec<_> = visited.iter().filter(|name| name.starts_with("layers.")).cloned().collect();
        ensure(order.is_sorted_by(|a, b| a[..12] <= b[..12]), || format!("not by depth: {order:?}"))?;
    }
    Ok(())
}

fn buffers_are_named_as_what_they_are(world: &Communicator) -> Checked {
    names(image, world)?;
    names(text_of, world)?;
    names(double, world)
}
