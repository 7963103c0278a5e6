//! Parameters that all steps share: every rank has a copy, but there is one of each.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::Relaxation;
use braidnet_nn::gru::GruConfig;
use braidnet_train::{OptimizerConfig, Schedule, SolveConfig, TrainerConfig, cross_entropy, gradient_norm};

use crate::common::compare::{Checked, Values, by_name, distance, ensure, parameters, same, text};
use crate::common::families::{Family, fit_of, fresh_gradient, model_of};
use crate::common::recurrent::gru_of_tokens;
use crate::common::run::meshes;
use crate::common::{dot, pipeline};

pub const TESTS: &[RankTest] = &[
    ("copies_of_what_layers_share_stay_equal_to_the_bit", copies_of_what_layers_share_stay_equal_to_the_bit),
    ("what_layers_share_counts_once_in_the_norm", what_layers_share_counts_once_in_the_norm),
    ("what_layers_share_counts_once_in_the_gradient_error", what_layers_share_counts_once_in_the_gradient_error),
];

/// Steps that 2 times as many as any number of ranks do not divide.
pub fn family() -> GruConfig {
    gru_of_tokens(14, 2)
}

/// Embedding, two cells, closing layer.
pub const N_PARAMETERS: usize = 1 + 2 * 4 + 2;

/// Those that layers share.
pub fn shared(values: &Values) -> Values {
    values.iter().filter(|(name, _)| name.starts_with("shared.")).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn inexact() -> Schedule {
    Schedule::layer_parallel(SolveConfig { relaxation: Relaxation::Fcf(1), ..SolveConfig::new(2) })
}

fn copies_of_what_layers_share_stay_equal_to_the_bit(world: &Communicator) -> Checked {
    let optimizers = [OptimizerConfig::Adam, OptimizerConfig::AdamW { weight_decay: 0.1 }];
    for mesh in meshes(world)? {
        for schedule in [Schedule::sequential(), inexact(), pipeline()] {
            for optimizer in optimizers {
                let what = format!("{mesh:?}, {schedule}, {optimizer:?}");
                let (batch, clip, micro_batches) = (4, Some(0.1), 2);
                let config = TrainerConfig { batch, clip, micro_batches, optimizer, ..TrainerConfig::new(3, 0.02) };
                let ran = fit_of(&family(), &mesh, &schedule, &config, 10).map_err(text)?;
                same(&what, &ran.outcome.step, &9)?;
                let own = shared(&ran.parameters);
                same(&what, &own.len(), &(N_PARAMETERS - 2))?;
                let flat: Vec<f32> = own.values().flatten().copied().collect();
                let copies = world.all_gather(flat.clone(), &()).map_err(text)?;
                ensure(copies.iter().all(|copy| *copy == flat), || format!("{what}: copies differ"))?;
                // All of them were trained.
                let fresh = parameters(model_of(&family(), &schedule, mesh.layer()).map_err(text)?.network());
                for (name, values) in &own {
                    ensure(fresh[name] != *values, || format!("{what}: {name} was not trained"))?;
                }
            }
        }
    }
    Ok(())
}

fn what_layers_share_counts_once_in_the_norm(world: &Communicator) -> Checked {
    let alone = fresh_gradient(&family(), &Mesh::alone(), &Schedule::sequential(), (4, 1), None).map_err(text)?;
    same("parameters", &alone.gradients.len(), &N_PARAMETERS)?;
    let plain = alone.gradients.values().map(|g| dot(g, g)).sum::<f64>().sqrt();
    let mut model = model_of(&family(), &Schedule::sequential(), world).map_err(text)?;
    let samples: Vec<_> = (0..4).map(|n| family().sample(n)).collect();
    let target = GruConfig::targets(&samples);
    let loss = model.forward(4, Some(&GruConfig::inputs(&samples))).map_err(text)?;
    let loss = loss.loss(|output| cross_entropy(output, target)).map_err(text)?;
    let gradients = loss.backward().map_err(text)?.gradients;
    let own = by_name(model.network(), &gradients);
    let off = distance(&own, &alone.gradients);
    ensure(off < 1e-5, || format!("gradients off by {off:e}"))?;
    let norm = gradient_norm(model.network(), &gradients, world).map_err(text)?;
    for other in world.all_gather(norm, &()).map_err(text)? {
        same("norm", &other.to_bits(), &norm.to_bits())?;
    }
    ensure(plain > 0.05 && (norm / plain - 1.0).abs() < 1e-6, || format!("norm {norm}, computed plainly {plain}"))
}

/// The error of the gradients on one rank, from the gradients themselves.
fn plain_error() -> Result<[f64; 2], String> {
    let of = |schedule: &Schedule| fresh_gradient(&family(), &Mesh::alone(), schedule, (4, 1), None).map_err(text);
    let [got, exact] = [shared(&of(&inexact())?.gradients), shared(&of(&Schedule::sequential())?.gradients)];
    let sum = |a: &Values, b: &Values| a.iter().map(|(name, a)| dot(a, &b[name])).sum::<f64>();
    let cosine = sum(&got, &exact) / (sum(&got, &got) * sum(&exact, &exact)).sqrt();
    Ok([distance(&got, &exact), cosine])
}

fn what_layers_share_counts_once_in_the_gradient_error(world: &Communicator) -> Checked {
    let samples: Vec<_> = (0..4).map(|n| family().sample(n)).collect();
    let (input, target) = (GruConfig::inputs(&samples), GruConfig::targets(&samples));
    let loss = |output| cross_entropy(output, target.clone());
    let error = |schedule: &Schedule| {
        let mut model = model_of(&family(), schedule, world).map_err(text)?;
        let forward = model.forward(4, Some(&input)).map_err(text)?.loss(loss).map_err(text)?;
        let gradients = forward.backward().map_err(text)?.gradients;
        model.gradient_error(4, Some(&input), loss, &gradients).map_err(text)
    };
    let exact = error(&Schedule::sequential())?;
    ensure(exact.relative == 0.0 && (exact.cosine - 1.0).abs() < 1e-9, || format!("{exact:?}"))?;
    let [relative, cosine] = plain_error()?;
    let got = error(&inexact())?;
    ensure(relative > 1e-3 && got.relative > 0.5 * relative && got.relative < 2.0 * relative, || {
        format!("{got:?}, on one rank {relative} and {cosine}")
    })?;
    // Where a coarse step goes over the border of two ranks, its adjoint has the gates of another layer.
    let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-3;
    ensure(world.size() > 1 || (near(got.relative, relative) && near(got.cosine, cosine)), || {
        format!("{got:?}, computed plainly {relative} and {cosine}")
    })
}
