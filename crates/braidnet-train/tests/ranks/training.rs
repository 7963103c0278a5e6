//! Training with the parts of a step: results do not depend on the number of layer ranks.

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_nn::{At, Network, RightHandSide, Samples, TensorState};
use braidnet_train::{Optimizer, OptimizerConfig, Schedule, SolveConfig, TrainError};
use burn::tensor::Tensor;

use crate::common::compare::{Checked, Values, parameters, same_bits, text};
use crate::common::{BATCH, batch, config, loss, model, schedules};

pub const TESTS: &[RankTest] = &[
    ("training_is_bit_identical", training_is_bit_identical),
    ("one_level_is_the_plain_loop_to_the_bit", one_level_is_the_plain_loop_to_the_bit),
    (
        "the_gradient_error_is_zero_for_exact_and_small_for_inexact",
        the_gradient_error_is_zero_for_exact_and_small_for_inexact,
    ),
    ("a_bad_input_ends_all_ranks_with_its_place", a_bad_input_ends_all_ranks_with_its_place),
];

/// Losses of a few steps, known on the last rank, and the parameters of this rank afterwards.
fn train(schedule: &Schedule, comm: &Communicator) -> Result<(Vec<f64>, Values), TrainError> {
    let mut model = model(&config(10), schedule, comm)?;
    let mut optimizer = Optimizer::new(OptimizerConfig::Sgd { momentum: 0.9 }, 0.05)?;
    let mut losses = Vec::new();
    for _ in 0..4 {
        let (input, target) = batch(0);
        let backward = model.forward(BATCH, Some(&input))?.loss(loss(target))?.backward()?;
        losses.extend(backward.loss);
        optimizer.step(&mut model, backward.gradients);
    }
    Ok((losses, parameters(model.network())))
}

fn training_is_bit_identical(comm: &Communicator) -> Checked {
    for schedule in schedules() {
        let (losses, own) = train(&schedule, comm).map_err(text)?;
        let (expected, all) = train(&schedule, &Communicator::alone()).map_err(text)?;
        let last = comm.rank() + 1 == comm.size();
        if last && losses != expected {
            return Err(format!("{schedule}: losses {losses:?}, on one rank {expected:?}"));
        }
        let falls = expected.len() == 4 && expected[3] < expected[0];
        if !falls {
            return Err(format!("{schedule}: losses {expected:?} do not fall"));
        }
        same_bits(&schedule.to_string(), &own, &all)?;
    }
    Ok(())
}

/// A plain forward pass, without solver and ranks.
fn plain_output() -> Result<Vec<f32>, String> {
    let network = model(&config(10), &Schedule::sequential(), &Communicator::alone()).map_err(text)?;
    let network = network.network();
    let samples = Samples { n: BATCH, is_training: false };
    let mut u = network.open(&batch(0).0, &samples).ok_or("no opening layer")?.0;
    for (layer, rhs) in network.block.layers() {
        let f = rhs.evaluate(TensorState(u.clone()), At { layers: layer.into(), dt: 0.1, batch: &samples });
        u = f.0 * 0.1 + u;
    }
    let output: Tensor<2> = network.close(&TensorState(u), &samples).ok_or("no closing layer")?;
    Ok(output.to_data().iter::<f32>().collect())
}

fn one_level_is_the_plain_loop_to_the_bit(comm: &Communicator) -> Checked {
    let mut model = model(&config(10), &Schedule::sequential(), comm).map_err(text)?;
    let output = model.evaluate(BATCH, Some(&batch(0).0)).map_err(text)?;
    match output.map(|o| o.to_data().iter::<f32>().collect::<Vec<_>>()) {
        Some(output) if output != plain_output()? => Err("one level differs from the plain loop".to_owned()),
        Some(_) => Ok(()),
        None if comm.rank() + 1 < comm.size() => Ok(()),
        None => Err("no output on the last rank".to_owned()),
    }
}

fn the_gradient_error_is_zero_for_exact_and_small_for_inexact(comm: &Communicator) -> Checked {
    let inexact = Schedule::layer_parallel(SolveConfig::new(4));
    let better = SolveConfig { max_iters: 3, ..SolveConfig::new(4) };
    let mut errors = Vec::new();
    for schedule in [Schedule::sequential(), inexact, Schedule::layer_parallel(better)] {
        let mut model = model(&config(10), &schedule, comm).map_err(text)?;
        let (input, target) = batch(1);
        let forward = model.forward(BATCH, Some(&input)).map_err(text)?;
        let backward = forward.loss(loss(target.clone())).and_then(|l| l.backward()).map_err(text)?;
        let error = model.gradient_error(BATCH, Some(&input), loss(target), &backward.gradients).map_err(text)?;
        errors.push((error.relative, error.cosine));
    }
    let [(exact, cosine), (one, _), (three, _)] = errors[..] else { return Err("three errors expected".to_owned()) };
    match exact == 0.0 && (cosine - 1.0).abs() < 1e-9 && one > 1e-4 && one < 0.3 && three < 0.2 * one {
        true => Ok(()),
        false => Err(format!("gradient errors {errors:?}")),
    }
}

fn a_bad_input_ends_all_ranks_with_its_place(comm: &Communicator) -> Checked {
    // On communicators of their own: the failure must not end the test.
    let alone = Communicator::alone();
    let mut model = model(&config(6), &Schedule::sequential(), &alone).map_err(text)?;
    let nan = batch(0).0 * f64::NAN;
    let message = match model.forward(BATCH, Some(&nan)) {
        Ok(_) => return Err("a NaN in the input was not noticed".to_owned()),
        Err(error) => error.to_string(),
    };
    if !(message.contains("not finite") && message.contains("layer 0") && message.contains("rank 0")) {
        return Err(format!("unhelpful message: {message}"));
    }
    let missing = model.forward(BATCH, None).err().map(|e| e.to_string()).unwrap_or_default();
    let empty = model.evaluate(0, Some(&batch(0).0)).err().map(|e| e.to_string()).unwrap_or_default();
    match missing.contains("no input") && empty.contains("0 samples") && comm.size() > 0 {
        true => Ok(()),
        false => Err(format!("unhelpful messages: {missing} / {empty}")),
    }
}
