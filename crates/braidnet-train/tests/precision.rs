//! Solves in 16 bits: gradients are those of single precision but for rounding, and what sums stays in single precision.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fmt::Debug;

use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::{OnNonFinite, Tolerance};
use braidnet_nn::{BlockNetConfig, Gradient, NormKind, Pooling};
use braidnet_train::{LayerParallel, Optimizer, OptimizerConfig, Precision, Schedule, SolveConfig, TrainError};
use burn::tensor::{FloatDType, Tensor};

use common::blocks::blocks;
use common::compare::{Values, by_name, distance, parameters};
use common::families::{Family, decoder, encoder, gradient_of, model_of, pair};
use common::recurrent::{gru, gru_of_tokens};
use common::{BATCH, batch, config, loss, model, pipeline};

const LOW: [Precision; 2] = [Precision::Bf16, Precision::F16];

fn schedules() -> [Schedule; 3] {
    let solve = SolveConfig { max_iters: 2, skip_downcycle: false, ..SolveConfig::new(2) };
    [Schedule::sequential(), Schedule::layer_parallel(solve), pipeline()]
}

fn gradient<F: Family>(family: &F, schedule: &Schedule, precision: Precision) -> Result<(f64, Values), TrainError> {
    let mesh = Mesh::alone();
    let mut model = model_of(family, schedule, mesh.layer())?;
    model.set_precision(precision)?;
    let gradient = gradient_of(&mut model, family, &mesh, schedule, (4, 2))?;
    Ok((gradient.loss, gradient.gradients))
}

/// That losses and gradients of `family` are within so many units of round-off, in bf16 and in f16, of those of single precision,
/// but not the same.
fn rounds<F: Family + Debug>(family: &F, units: [f64; 2]) {
    for schedule in schedules() {
        let (loss, all) = gradient(family, &schedule, Precision::F32).unwrap();
        for (precision, units) in LOW.into_iter().zip(units) {
            let (low_loss, low) = gradient(family, &schedule, precision).unwrap();
            let unit = precision.unit_roundoff();
            let errors = [distance(&low, &all) / unit, (low_loss - loss).abs() / loss / unit];
            println!("{precision}, {schedule}: {errors:.3?} units");
            assert!(errors[0] > 0.05, "{precision}, {schedule}: {errors:?} units: not computed in the type");
            assert!(errors.iter().all(|error| *error < units), "{precision}, {schedule}: {errors:?} units");
        }
    }
}

#[test]
fn convolutions_round() {
    rounds(&config(6), [4.0; 2]);
}

#[test]
fn norms_of_channels_round() {
    for kind in [NormKind::Group(2), NormKind::Layer, NormKind::Batch] {
        // A mean, as the largest of numbers that round to the same may be another one. A ReLU still jumps where rounding changes a
        // sign, which counts for more units the smaller they are.
        let family = BlockNetConfig { pooling: Pooling::Average, ..blocks(&[3, 2], Some(kind)) };
        rounds(&family, [12.0, 40.0]);
    }
}

#[test]
fn transformers_round() {
    rounds(&encoder(6), [4.0; 2]);
    rounds(&decoder(6), [4.0; 2]);
    rounds(&pair(3, false), [4.0; 2]);
}

#[test]
fn recurrent_networks_round() {
    rounds(&gru_of_tokens(8, 2), [8.0; 2]);
    rounds(&gru(8, 1), [8.0; 2]);
}

#[test]
fn single_precision_is_what_it_is_without_a_choice() {
    let schedule = &schedules()[1];
    let (input, target) = batch(0);
    let mut model = model(&config(6), schedule, &Communicator::alone()).unwrap();
    let mut values = |precision: Option<Precision>| {
        precision.map_or(Ok(()), |precision| model.set_precision(precision)).unwrap();
        let forward = model.forward(BATCH, Some(&input)).unwrap();
        let gradients = forward.loss(loss(target.clone())).unwrap().backward().unwrap().gradients;
        assert!(gradients.iter().all(|g| g.values.dtype() == FloatDType::F32.into()));
        by_name(model.network(), &gradients)
    };
    let before = values(None);
    assert_ne!(values(Some(Precision::Bf16)), before);
    assert_eq!(values(Some(Precision::F32)), before);
}

/// A value rounded to bf16 and back.
fn rounded(values: &[f32]) -> Vec<f32> {
    let n = values.len();
    let values = Tensor::<1>::from_floats(values, &burn::tensor::Device::flex()).reshape([n]);
    values.cast(FloatDType::BF16).cast(FloatDType::F32).into_data().iter::<f32>().collect()
}

#[test]
fn master_weights_add_up_updates_that_are_smaller_than_the_types_spacing() {
    let mut model = model(&config(4), &Schedule::sequential(), &Communicator::alone()).unwrap();
    model.set_precision(Precision::Bf16).unwrap();
    let (input, _) = batch(0);
    let output = |model: &mut LayerParallel<_>| {
        model.evaluate(BATCH, Some(&input)).unwrap().unwrap().into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let (start, seen) = (parameters(model.network()), output(&mut model));
    // Each update is a thousandth of the parameter, a quarter of the spacing at most.
    let mut gradients = Vec::new();
    model.network().visit_parameters(|p| {
        if p.name.starts_with("layers.") {
            gradients.push(Gradient::new(p.id, p.values.clone() * -1e-3));
        }
    });
    let mut optimizer = Optimizer::new(OptimizerConfig::Sgd { momentum: 0.0 }, 1.0).unwrap();
    for _ in 0..20 {
        optimizer.step(&mut model, gradients.clone());
    }
    for (name, end) in parameters(model.network()).iter().filter(|(name, _)| name.starts_with("layers.")) {
        let (start, n) = (rounded(&start[name]), end.len());
        let stuck = rounded(&start.iter().map(|value| value * 1.001).collect::<Vec<_>>());
        assert_eq!(stuck, start, "{name}: without master weights no update would be seen");
        let moved = rounded(end).iter().zip(&start).filter(|(end, start)| end != start).count();
        assert_eq!(moved, n, "{name}");
    }
    assert_ne!(output(&mut model), seen, "solves do not see the updates");
}

/// The gradient's distance from that of single precision for inputs and a linear loss of such sizes; what is reported as not
/// finite is an error.
fn error_at((inputs, scale): (f64, f64), choice: OnNonFinite) -> Result<f64, String> {
    let input = batch(0).0 * inputs;
    let mut model = model(&config(6), &schedules()[1], &Communicator::alone()).unwrap();
    model.set_on_non_finite(choice);
    let mut values = |precision| {
        model.set_precision(precision).unwrap();
        let forward = model.forward(BATCH, Some(&input)).map_err(|e| e.to_string())?;
        let linear = |output: Tensor<2>| output.sum() * scale;
        let backward = forward.loss(linear).and_then(|loss| loss.backward()).map_err(|e| e.to_string())?;
        match backward.backward.not_finite {
            Some(found) => Err(format!("{} of layer {} is not finite", found.what, found.layer)),
            None => Ok(by_name(model.network(), &backward.gradients)),
        }
    };
    let exact = values(Precision::F32)?;
    Ok(distance(&values(Precision::F16)?, &exact))
}

#[test]
fn small_derivatives_do_not_vanish_in_a_small_range() {
    // Unscaled, all of them would be subnormal or 0.
    for scale in [1e-5, 3e-6] {
        let error = error_at((1.0, scale), OnNonFinite::Fail).unwrap();
        assert!(error < 8.0 * Precision::F16.unit_roundoff(), "{error} at {scale}");
    }
}

#[test]
fn what_overflows_a_small_range_is_reported() {
    for choice in [OnNonFinite::Fail, OnNonFinite::Report] {
        let all: Vec<_> = (0..16).map(|n| error_at((64.0, 2f64.powi(n - 4)), choice)).collect();
        for result in &all {
            match result {
                Ok(error) => assert!(*error < 4.0 * Precision::F16.unit_roundoff(), "{choice:?}: {all:?}"),
                Err(message) => assert!(message.contains("not finite"), "{message}"),
            }
        }
        assert!(all[0].is_ok() && all[15].is_err(), "{choice:?}: {all:?}");
        let of = |what: &str| all.iter().any(|result| result.as_ref().is_err_and(|message| message.contains(what)));
        assert!(of("gradient"), "no gradient overflows before the adjoint: {all:?}");
    }
}

#[test]
fn residuals_and_tolerances_of_the_adjoint_are_those_of_its_true_size() {
    let solve =
        |tolerance| SolveConfig { max_iters: 4, skip_downcycle: false, norms: true, tolerance, ..SolveConfig::new(3) };
    let report = |precision, tolerance| {
        let schedule = Schedule::layer_parallel(solve(tolerance));
        let (input, target) = batch(0);
        let mut model = model(&config(9), &Schedule::sequential(), &Communicator::alone()).unwrap();
        model.set_precision(precision).unwrap();
        model.set_schedule(&schedule).unwrap();
        model.forward(BATCH, Some(&input)).unwrap().loss(loss(target)).unwrap().backward().unwrap().backward
    };
    let [single, half] = [Precision::F32, Precision::F16].map(|precision| report(precision, None).residuals);
    let (first, second) = (single[0].unwrap(), single[1].unwrap());
    assert!((half[0].unwrap() / first - 1.0).abs() < 0.01, "{half:?}, {single:?}");
    // Between the first two residuals: reached by the second iteration.
    let tolerance = Some(Tolerance::Absolute((first * second).sqrt()));
    assert_eq!([Precision::F32, Precision::F16].map(|precision| report(precision, tolerance).iterations), [2, 2]);
}

#[test]
fn tolerances_that_a_type_cannot_reach_are_told() {
    let solve = SolveConfig { tolerance: Some(Tolerance::Relative(1e-3)), ..SolveConfig::new(4) };
    let schedule = Schedule::new(braidnet_train::ScheduleKind::LayerParallel, SolveConfig::new(4), solve);
    assert!(Precision::F32.unreachable(&schedule).is_empty());
    let told = Precision::Bf16.unreachable(&schedule);
    assert!(told.len() == 1 && told[0].contains("backward") && told[0].contains("bf16"), "{told:?}");
    assert!(Precision::Bf16.unreachable(&Schedule::sequential()).is_empty());
}
