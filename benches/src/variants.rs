//! Schedules of one network side by side.

use std::time::Duration;

use braidnet::prelude::*;

use crate::{Batch, deciles, errors, parameters, time_steps, with_parameters};

/// A schedule, on so many ranks, and what was measured of it.
pub struct Variant {
    name: String,
    schedule: Schedule,
    ranks: usize,
    /// Which of several networks with the same parameters.
    case: usize,
    times: Vec<Duration>,
    errors: [f64; 2],
}

impl Variant {
    /// Nothing measured yet.
    pub fn new(name: impl Into<String>, schedule: Schedule, ranks: usize) -> Self {
        Self { name: name.into(), schedule, ranks, case: 0, times: Vec::new(), errors: [f64::NAN; 2] }
    }

    /// Of the network `case` in place of the first.
    pub fn of_case(self, case: usize) -> Self {
        Self { case, ..self }
    }
}

/// Measures the errors of all variants on the ranks of `model`; they do not depend on how many there are.
///
/// # Errors
/// A failed solve.
pub fn measure_errors<N: Network>(
    model: &mut LayerParallel<N>,
    batch: &Batch<N::Input>,
    variants: &mut [Variant],
) -> Result<(), TrainError> {
    for variant in variants {
        model.set_schedule(&variant.schedule)?;
        variant.errors = errors(model, batch)?;
    }
    Ok(())
}

/// As [`measure_errors`], of networks that `make` makes of a case and a schedule and that get the parameters of `trained`.
///
/// # Errors
/// A failed solve.
pub fn measure_errors_of<N: Network>(
    trained: &LayerParallel<N>,
    batch: &Batch<N::Input>,
    variants: &mut [Variant],
    make: impl Fn(usize, &Schedule, &Communicator) -> Result<LayerParallel<N>, TrainError>,
) -> Result<(), TrainError> {
    let values = parameters(trained.network());
    for variant in variants {
        let mut model = make(variant.case, &variant.schedule, trained.comm())?;
        with_parameters(&mut model, &values)?;
        variant.errors = errors(&mut model, batch)?;
    }
    Ok(())
}

/// Times training steps of all variants, which take turns: `rounds` times `steps` of each, on models that `make` makes.
///
/// # Errors
/// A failed step.
pub fn time_in_turns<N: Network>(
    world: &Communicator,
    variants: &mut [Variant],
    (rounds, steps): (usize, usize),
    batch: &Batch<N::Input>,
    make: impl Fn(usize, &Schedule, &Communicator) -> Result<LayerParallel<N>, TrainError>,
) -> Result<(), TrainError> {
    for _ in 0..rounds {
        for variant in variants.iter_mut() {
            if let Some(comm) = world.first_ranks(variant.ranks)? {
                let mut model = make(variant.case, &variant.schedule, &comm)?;
                variant.times.extend(time_steps(&mut model, batch, &comm, steps)?);
            }
            world.barrier()?;
        }
    }
    Ok(())
}

/// One line per variant: median and deciles of the times, speed-up over the first, errors.
pub fn print(variants: &mut [Variant]) {
    let mut first = None;
    for Variant { name, times, errors: [gradient, state], .. } in variants {
        let [low, median, high] = deciles(times);
        let base = *first.get_or_insert(median);
        println!(
            "  {name:<44} {median:8.1} ms ({low:.1}-{high:.1})  {:.2} x  state error {:8.3} %  gradient error {:8.2} %",
            base / median,
            100.0 * *state,
            100.0 * *gradient,
        );
    }
}
