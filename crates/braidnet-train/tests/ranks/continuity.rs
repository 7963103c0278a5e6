//! The penalty on parameters that jump from layer to layer.

use std::collections::BTreeMap;

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_monitor::metrics::{Record, read};
use braidnet_nn::Network;
use braidnet_nn::transformer::TransformerConfig;
use braidnet_train::{Continuity, OptimizerConfig, Schedule, SolveConfig, TrainerConfig};

use crate::common::compare::{Checked, Values, by_name, distance, ensure, parameters, same, same_bits, text};
use crate::common::families::{Family, encoder, fit_of, model_of, pair};
use crate::common::run::{meshes, training, with_folder};
use crate::common::{config, dot};

pub const TESTS: &[RankTest] = &[
    ("the_penalty_is_the_plain_sum", the_penalty_is_the_plain_sum),
    ("the_penalty_joins_a_run", the_penalty_joins_a_run),
];

const CONTINUITY: Continuity = Continuity { gamma: 0.7, dt: 0.25 };

/// Parameters by name with their shapes.
type Shaped = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn shaped<N: Network>(network: &N) -> Shaped {
    let mut all = Shaped::new();
    network.visit_parameters(|p| {
        all.insert(p.name, (p.shape, p.values.to_data().iter::<f32>().collect()));
    });
    all
}

/// `gamma / (2 dt)` times the squares of all jumps, by the names of the whole network.
fn plain(all: &Shaped, moved: impl Fn(&str, usize) -> f64) -> f64 {
    let value = |name: &str, i: usize| f64::from(all[name].1[i]) + moved(name, i);
    let mut sum = 0.0;
    for (name, (shape, values)) in all {
        let Some((layer, rest)) = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) else { continue };
        let next = format!("layers.{:05}.{rest}", layer.parse::<usize>().unwrap_or(0) + 1);
        if all.get(&next).is_some_and(|(other, _)| other == shape) {
            sum += (0..values.len()).map(|i| (value(&next, i) - value(name, i)).powi(2)).sum::<f64>();
        }
    }
    0.5 * CONTINUITY.gamma / CONTINUITY.dt * sum
}

/// The penalty of all ranks, and what it adds to this rank's gradients.
fn added<F: Family>(family: &F, comm: &Communicator) -> Result<(f64, Values, Shaped), String> {
    let mut model = model_of(family, &Schedule::sequential(), comm).map_err(text)?;
    let samples: Vec<_> = (0..3).map(|n| family.sample(n)).collect();
    let (input, target, task) = (F::inputs(&samples), F::targets(&samples), family.task());
    let loss = model.forward(3, Some(&input)).and_then(|f| f.loss(|output| (task.loss)(output, &target)));
    let mut gradients = loss.and_then(|loss| loss.backward()).map_err(text)?.gradients;
    for gradient in &mut gradients {
        gradient.values.inplace(|g| g * 0.0);
    }
    let penalty = CONTINUITY.add(&model, &mut gradients).map_err(text)?;
    let all = comm.all_gather(penalty, &()).map_err(text)?;
    Ok((all.iter().sum(), by_name(model.network(), &gradients), shaped(model.network())))
}

fn against_plain<F: Family>(family: &F, n_joined: usize, world: &Communicator) -> Checked {
    let (penalty, own, _) = added(family, world)?;
    let (alone, all, parameters) = added(family, &Communicator::alone())?;
    let expected = plain(&parameters, |_, _| 0.0);
    let what = format!("{family:?}");
    ensure(
        expected > 1e-2 && (penalty / expected - 1.0).abs() < 1e-5 && (penalty / alone - 1.0).abs() < 1e-12,
        || format!("{what}: penalty {penalty}, on one rank {alone}, plainly {expected}"),
    )?;
    same_bits(&what, &own, &all)?;
    // Opening and closing layer have none.
    let joined: Vec<_> = all.iter().filter(|(_, g)| g.iter().any(|g| *g != 0.0)).collect();
    ensure(joined.iter().all(|(name, _)| name.starts_with("layers.")), || format!("{what}: an end is pulled"))?;
    same(&format!("{what}: parameters that are pulled"), &joined.len(), &n_joined)?;
    // A quadratic function: its central differences are its derivative.
    for seed in 0..3 {
        let along = |name: &str, i: usize| ((13 * i + 7 * seed + 31 * name.len()) as f64 + 0.1 * sum(name)).sin();
        let difference = 0.5 * (plain(&parameters, along) - plain(&parameters, |name, i| -along(name, i)));
        let direction = |name: &str, n: usize| (0..n).map(|i| along(name, i) as f32).collect::<Vec<_>>();
        let slope: f64 = all.iter().map(|(name, g)| dot(g, &direction(name, g.len()))).sum();
        ensure((slope - difference).abs() < 1e-4 * difference.abs().max(1.0), || {
            format!("{what}: slope {slope}, by differences {difference}")
        })?;
    }
    Ok(())
}

fn sum(name: &str) -> f64 {
    name.bytes().map(f64::from).sum()
}

fn the_penalty_is_the_plain_sum(world: &Communicator) -> Checked {
    // All that differ from layer to layer at first: weights and biases are drawn, scales and shifts are not.
    let drawn = |family: &TransformerConfig| {
        let model = model_of(family, &Schedule::sequential(), &Communicator::alone()).map_err(text)?;
        let values = parameters(model.network());
        let is_drawn =
            |(name, v): &(&String, &Vec<f32>)| name.starts_with("layers.") && v[..].windows(2).any(|w| w[0] != w[1]);
        Ok::<_, String>(values.iter().filter(is_drawn).count())
    };
    against_plain(&config(8), 4 * 8, world)?;
    against_plain(&encoder(6), drawn(&encoder(6))?, world)?;
    let buffered = TransformerConfig { buffer: 1, ..encoder(6) };
    against_plain(&buffered, drawn(&buffered)?, world)?;
    for split in [false, true] {
        let family = pair(3, split);
        let all = shaped(model_of(&family, &Schedule::sequential(), &Communicator::alone()).map_err(text)?.network());
        let has_neighbour = |name: &str| {
            let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
            let layer: usize = layer.parse().ok()?;
            let near = [layer.checked_sub(1), Some(layer + 1)].into_iter().flatten();
            let equal = near
                .filter_map(|n| all.get(&format!("layers.{n:05}.{rest}")))
                .any(|(shape, values)| *shape == all[name].0 && *values != all[name].1);
            equal.then_some(())
        };
        against_plain(&family, all.keys().filter(|name| has_neighbour(name).is_some()).count(), world)?;
    }
    Ok(())
}

/// Equal to the bit on layer ranks, nearly so on data ranks; the layers get alike.
fn joins<F: Family>(family: &F, world: &Communicator) -> Checked {
    let schedule = Schedule::layer_parallel(SolveConfig::new(2));
    let sgd = OptimizerConfig::Sgd { momentum: 0.0 };
    let with = |out: &std::path::Path, continuity| TrainerConfig {
        batch: 4,
        micro_batches: 2,
        optimizer: sgd,
        clip: Some(5.0),
        continuity,
        ..training(out)
    };
    let [plain_run, own] = [tempfile::tempdir().map_err(text)?, tempfile::tempdir().map_err(text)?];
    let without = fit_of(family, &Mesh::alone(), &schedule, &with(plain_run.path(), None), 6).map_err(text)?;
    let expected = fit_of(family, &Mesh::alone(), &schedule, &with(own.path(), Some(0.5)), 6).map_err(text)?;
    let changed = distance(&expected.parameters, &without.parameters);
    ensure(changed > 1e-3, || format!("{family:?}: parameters changed by {changed:e} only"))?;
    for mesh in meshes(world)? {
        with_folder(world, |folder| {
            let got = fit_of(family, &mesh, &schedule, &with(folder, Some(0.5)), 6).map_err(text)?;
            let what = format!("{family:?}, {mesh:?}");
            if mesh.shape().data_ranks == 1 {
                same(&what, &got.losses(), &expected.losses())?;
                same_bits(&what, &got.parameters, &expected.parameters)?;
            }
            let off = distance(&got.parameters, &expected.parameters);
            ensure(off < 1e-4, || format!("{what}: parameters off by {off:e}"))?;
            let penalties = |out: &std::path::Path| -> Result<Vec<f64>, String> {
                let records = read(out.join("metrics.jsonl")).map_err(text)?;
                let of = |record| if let Record::Epoch(epoch) = record { epoch.penalty } else { None };
                Ok(records.into_iter().filter_map(of).collect())
            };
            let (own, all) = (penalties(folder)?, penalties(own.path())?);
            let close = own.iter().zip(&all).all(|(a, b)| (a / b - 1.0).abs() < 1e-4);
            ensure(own.len() == 2 && own[1] < own[0] && close, || format!("{what}: penalties {own:?}, not {all:?}"))
        })?;
    }
    Ok(())
}

fn the_penalty_joins_a_run(world: &Communicator) -> Checked {
    joins(&config(8), world)?;
    joins(&encoder(6), world)?;
    joins(&pair(3, true), world)
}
