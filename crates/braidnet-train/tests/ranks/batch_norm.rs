//! Batch norm: what a batch adds to the running statistics, once per step, whatever the schedule.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::Relaxation;
use braidnet_nn::{BlockNetConfig, Gradients, MOMENTUM, Network, NormKind, Pooling};
use braidnet_train::data::Shards;
use braidnet_train::{
    Activations, Continuity, LayerParallel, Optimizer, OptimizerConfig, Schedule, SolveConfig, clip, gradient_norm,
    spread_within_runs,
};

use crate::common::blocks::{PlainBatchNorm, blocks, initial, is_statistic, plain_gradient, statistics, weighted_sum};
use crate::common::compare::{Checked, Values, by_name, distance, ensure, parameters, same, same_bits, text};
use crate::common::families::{Family, fresh_gradient, model_of};
use crate::common::run::meshes;
use crate::common::{dot, pipeline};

pub const TESTS: &[RankTest] = &[
    ("a_batch_adds_its_own_mean_and_variance", a_batch_adds_its_own_mean_and_variance),
    ("micro_batches_and_shards_add_their_weighted_mean", micro_batches_and_shards_add_their_weighted_mean),
    (
        "evaluation_uses_running_statistics_and_training_does_not",
        evaluation_uses_running_statistics_and_training_does_not,
    ),
    ("an_update_takes_a_tenth_of_the_batch", an_update_takes_a_tenth_of_the_batch),
    ("what_measures_and_clips_leaves_statistics_alone", what_measures_and_clips_leaves_statistics_alone),
];

/// 13 layers and 3 transitions; the last block has one position per channel.
pub fn family() -> BlockNetConfig {
    blocks(&[3, 5, 1, 4], Some(NormKind::Batch))
}

/// Running means and variances: of the opening layer, two per ODE layer, of the transitions.
const N_STATISTICS: usize = 2 * (1 + 2 * 13 + 3);

/// What has exact states: sequential, multigrid after many iterations, the pipeline.
pub fn exact() -> Vec<Schedule> {
    let solve = |levels, cfactor| SolveConfig {
        max_levels: levels,
        max_iters: 12,
        relaxation: Relaxation::Fcf(1),
        ..SolveConfig::new(cfactor)
    };
    let stored = [
        Schedule::sequential(),
        Schedule::layer_parallel(solve(2, 2)),
        Schedule::layer_parallel(SolveConfig { skip_downcycle: false, ..solve(3, 2) }),
        pipeline(),
    ];
    let recomputed = stored.iter().map(|s| Schedule { activations: Activations::Recompute, ..s.clone() });
    recomputed.chain(stored.iter().cloned()).collect()
}

/// That statistics are those expected, each of them by itself: they differ in size.
pub fn near(what: &str, got: &Values, expected: &Values) -> Checked {
    ensure(!got.is_empty(), || format!("{what}: no statistics"))?;
    for (name, values) in got {
        let expected = expected.get(name).filter(|e| e.len() == values.len());
        let expected = expected.ok_or_else(|| format!("{what}: {name} is not expected"))?;
        let is_near = values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-5 * (1.0 + b.abs()));
        ensure(is_near, || format!("{what}: {name} is {values:?}, not {expected:?}"))?;
    }
    Ok(())
}

/// Against convolutions, means and variances formed plainly, with every pooling.
fn a_batch_adds_its_own_mean_and_variance(world: &Communicator) -> Checked {
    for family in [family(), BlockNetConfig { pooling: Pooling::None, ..blocks(&[2, 3], Some(NormKind::Batch)) }] {
        let samples: Vec<_> = (0..5).map(|n| family.sample(n)).collect();
        let parameters = initial(&family)?;
        let expected = PlainBatchNorm { family: &family, parameters: &parameters }.statistics(&samples);
        same("names", &expected.keys().collect::<Vec<_>>(), &statistics(&parameters).keys().collect())?;
        let mesh = crate::common::run::mesh(world, world.size())?;
        for schedule in exact() {
            let what = format!("{family:?}, {schedule}");
            let got = fresh_gradient(&family, &mesh, &schedule, (5, 1), None).map_err(text)?.gradients;
            near(&what, &statistics(&got), &expected)?;
        }
    }
    same("number", &statistics(&initial(&family())?).len(), &N_STATISTICS)
}

/// Gradients too: each micro-batch is normalised by itself.
fn micro_batches_and_shards_add_their_weighted_mean(world: &Communicator) -> Checked {
    let family = family();
    for mesh in meshes(world)? {
        for (n, micro_batches) in [(8, 1), (7, 2), (9, 3), (2, 1)] {
            let parts = parts(&family, mesh.shape().data_ranks, n, micro_batches)?;
            let expected = weighted_sum(&parts);
            for schedule in exact() {
                let what = format!("{mesh:?}, {schedule}, {n} samples in {micro_batches} micro-batches");
                let got = fresh_gradient(&family, &mesh, &schedule, (n, micro_batches), None).map_err(text)?.gradients;
                near(&what, &statistics(&got), &expected)?;
                let off = distance(&got, &expected);
                ensure(off < 1e-4, || format!("{what}: gradients off by {off:e}"))?;
                let flat: Vec<f32> = got.values().flatten().copied().collect();
                let everywhere = mesh.data().all_gather(flat.clone(), &()).map_err(text)?;
                ensure(everywhere.iter().all(|other| *other == flat), || format!("{what}: data ranks differ"))?;
            }
        }
    }
    Ok(())
}

/// Every micro-batch of every data rank as a batch of its own, with its part of the samples.
fn parts(
    family: &BlockNetConfig,
    data_ranks: usize,
    n: usize,
    micro_batches: usize,
) -> Result<Vec<(f64, Values)>, String> {
    let mut all = Vec::new();
    for data_rank in 0..data_ranks {
        let shards = Shards { batch: n, micro_batches, data_ranks, data_rank };
        let plan = shards.steps(n, 0).map_err(text)?.next().ok_or("no step")?;
        let mut first = plan.skip_before;
        for size in plan.micro {
            let samples: Vec<_> = (first..first + size).map(|n| family.sample(n)).collect();
            all.push((size as f64 / n as f64, plain_gradient(family, &samples)?.1));
            first += size;
        }
    }
    Ok(all)
}

/// A network whose running statistics are others than at the beginning, and uneven.
fn with_other_statistics<N: Network>(model: &mut LayerParallel<N>) {
    model.update(|network| {
        let mut values = std::collections::BTreeMap::new();
        network.visit_parameters(|p| {
            let is_mean = p.name.ends_with("running_mean");
            let number: usize = p.name.bytes().map(usize::from).sum();
            let other = |i: usize| if is_mean { 0.1 * i as f32 + 0.01 * (number % 17) as f32 } else { 1.5 + i as f32 };
            let kept: Vec<f32> = p.to_torch_layout(p.values.clone()).to_data().iter::<f32>().collect();
            let new = if p.is_statistic { (0..kept.len()).map(other).collect() } else { kept };
            values.insert(p.name, (p.shape, new));
        });
        let kept = network.clone();
        network.load(|name| values.remove(name)).unwrap_or(kept)
    });
}

fn evaluation_uses_running_statistics_and_training_does_not(world: &Communicator) -> Checked {
    let family = family();
    let samples: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
    let (input, target) = (BlockNetConfig::inputs(&samples), BlockNetConfig::targets(&samples));
    for schedule in exact() {
        let run = |other: bool| {
            let mut model = model_of(&family, &schedule, world).map_err(text)?;
            if other {
                with_other_statistics(&mut model);
            }
            let evaluated =
                |output: Option<burn::tensor::Tensor<2>>| output.map(|o| o.to_data().iter::<f32>().collect());
            let scheduled: Option<Vec<f32>> = evaluated(model.evaluate(4, Some(&input)).map_err(text)?);
            let exact: Option<Vec<f32>> = evaluated(model.evaluate_exact(4, Some(&input)).map_err(text)?);
            let loss = model.forward(4, Some(&input)).map_err(text)?;
            let loss = loss.loss(|output| (family.task().loss)(output, &target)).map_err(text)?;
            let value = loss.value();
            let gradients = loss.backward().map_err(text)?.gradients;
            Ok::<_, String>((scheduled, exact, value, by_name(model.network(), &gradients)))
        };
        let ((a, a_exact, a_loss, a_gradients), (b, b_exact, b_loss, b_gradients)) = (run(false)?, run(true)?);
        let is_last = world.rank() + 1 == world.size();
        ensure((a != b) == is_last && (a_exact != b_exact) == is_last, || {
            format!("{schedule}: evaluation is as before")
        })?;
        same(&format!("{schedule}: loss of training"), &a_loss, &b_loss)?;
        same_bits(&format!("{schedule}: gradients"), &b_gradients, &a_gradients)?;
    }
    Ok(())
}

/// This rank's gradients of a step of `model`, as they are.
fn gradients(model: &mut LayerParallel<<BlockNetConfig as Family>::Net>) -> Result<Gradients, String> {
    let family = family();
    let samples: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
    let (input, target) = (BlockNetConfig::inputs(&samples), BlockNetConfig::targets(&samples));
    let loss = model.forward(4, Some(&input)).and_then(|f| f.loss(|output| (family.task().loss)(output, &target)));
    Ok(loss.and_then(|loss| loss.backward()).map_err(text)?.gradients)
}

/// By any optimizer and learning rate.
fn an_update_takes_a_tenth_of_the_batch(world: &Communicator) -> Checked {
    let all = [
        OptimizerConfig::Sgd { momentum: 0.0 },
        OptimizerConfig::Sgd { momentum: 0.9 },
        OptimizerConfig::Adam,
        OptimizerConfig::AdamW { weight_decay: 0.3 },
    ];
    same("momentum", &MOMENTUM, &0.1)?;
    for config in all {
        let mut optimizer = Optimizer::new(config, 0.5).map_err(text)?;
        let mut model = model_of(&family(), &Schedule::sequential(), world).map_err(text)?;
        with_other_statistics(&mut model);
        for step in 0..2 {
            let before = parameters(model.network());
            let gradients = gradients(&mut model)?;
            let added = by_name(model.network(), &gradients);
            optimizer.step(&mut model, gradients);
            let after = parameters(model.network());
            let expected = weighted_sum(&[(0.9, statistics(&before)), (0.1, statistics(&added))]);
            near(&format!("{config:?}, step {step}"), &statistics(&after), &expected)?;
            let moved = distance(&after, &before);
            ensure(moved > 1e-3, || format!("{config:?}, step {step}: parameters moved by {moved:e} only"))?;
        }
    }
    Ok(())
}

fn what_measures_and_clips_leaves_statistics_alone(world: &Communicator) -> Checked {
    let schedule = Schedule::layer_parallel(SolveConfig::new(2));
    let mut model = model_of(&family(), &schedule, world).map_err(text)?;
    let mut own = gradients(&mut model)?;
    let before = by_name(model.network(), &own);
    // The norm.
    let norm = gradient_norm(model.network(), &own, world).map_err(text)?;
    let trained = before.iter().filter(|(name, _)| !is_statistic(name));
    let squares = world.all_gather(trained.map(|(_, g)| dot(g, g)).sum::<f64>(), &()).map_err(text)?;
    let plain = squares.iter().sum::<f64>().sqrt();
    ensure((norm / plain - 1.0).abs() < 1e-6, || format!("norm {norm}, computed plainly {plain}"))?;
    // Clipping.
    same("clipped", &clip(&mut own, norm, 0.1 * norm), &true)?;
    let clipped = by_name(model.network(), &own);
    same_bits("statistics of a clipped step", &statistics(&clipped), &statistics(&before))?;
    let clipped = gradient_norm(model.network(), &own, world).map_err(text)?;
    ensure((clipped / norm - 0.1).abs() < 1e-4, || format!("clipped to {clipped}, of {norm}"))?;
    compares_gradients(&mut model, &before, world)?;
    // Penalty and spread.
    let (penalty, spread, pulled) = penalty_and_spread(&model)?;
    with_other_statistics(&mut model);
    let (other, other_spread, other_pulled) = penalty_and_spread(&model)?;
    same("penalty and spread", &(other, other_spread), &(penalty, spread))?;
    same_bits("pulls of the penalty", &other_pulled, &pulled)?;
    ensure(statistics(&pulled).values().flatten().all(|v| *v == 1.0), || "a statistic is pulled".to_owned())
}

/// The gradient error is that of trained parameters, whose gradients are `before`.
fn compares_gradients(
    model: &mut LayerParallel<<BlockNetConfig as Family>::Net>,
    before: &Values,
    world: &Communicator,
) -> Checked {
    let samples: Vec<_> = (0..4).map(|n| family().sample(n)).collect();
    let (input, target) = (BlockNetConfig::inputs(&samples), BlockNetConfig::targets(&samples));
    let own = gradients(model)?;
    let loss = |output| (family().task().loss)(output, &target);
    let error = model.gradient_error(4, Some(&input), loss, &own).map_err(text)?;
    let exact = fresh_gradient(&family(), &Mesh::alone(), &Schedule::sequential(), (4, 1), None).map_err(text)?;
    let mut sums = [0.0; 2];
    for (name, g) in before.iter().filter(|(name, _)| name.starts_with("layers.") && !is_statistic(name)) {
        let e = &exact.gradients[name];
        let difference: Vec<f32> = g.iter().zip(e).map(|(g, e)| g - e).collect();
        sums[0] += dot(&difference, &difference);
        sums[1] += dot(e, e);
    }
    let all = world.all_gather(sums.to_vec(), &()).map_err(text)?;
    let [distance, size] = [0, 1].map(|n| all.iter().map(|sums| sums[n]).sum::<f64>());
    let plain = (distance / size).sqrt();
    ensure(plain > 1e-3 && (error.relative / plain - 1.0).abs() < 1e-3, || {
        format!("{error:?}, computed plainly {plain}")
    })
}

/// What the penalty on jumps adds to gradients that are all 1, with its value and the spread within runs.
fn penalty_and_spread<N: Network>(model: &LayerParallel<N>) -> Result<(f64, Option<f64>, Values), String> {
    let mut ones = Gradients::new();
    model.network().visit_parameters(|p| {
        let ones_like = p.values.ones_like();
        ones.push(match p.is_statistic {
            true => braidnet_nn::Gradient::statistic(p.id, ones_like),
            false => braidnet_nn::Gradient::new(p.id, ones_like),
        });
    });
    let penalty = Continuity { gamma: 0.7, dt: 0.25 }.add(model, &mut ones).map_err(text)?;
    Ok((penalty, spread_within_runs(model).map_err(text)?, by_name(model.network(), &ones)))
}
