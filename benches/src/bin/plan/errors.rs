//! Gradient errors of proposals, at the initial parameters.

use benches::{At, Built, Case, Variant, Visit, measure_errors};
use braidnet::comm::{keep_freed_memory, under_mpi};
use braidnet::prelude::*;
use braidnet::train::predict::Kind;

use crate::candidates::{Planned, way};
use crate::measure::on_devices;
use crate::{Options, PlanError};

/// Most ranks that errors are measured on, where they depend on the ranks.
const MOST_RANKS: usize = 16;

/// Measures the errors of the fastest schedules of each kind and number of ranks, until one is small enough.
pub fn measure(case: Case, planned: &mut Planned, options: &Options) -> Result<(), PlanError> {
    keep_freed_memory();
    // What was measured: schedule, ranks where these count, error.
    let mut known: Vec<(Schedule, usize, Option<f64>)> = Vec::new();
    for at in &mut planned.counts {
        for kind in Kind::ALL {
            let of_kind = at.candidates.iter_mut().filter(|candidate| candidate.proposal.kind == kind);
            for candidate in of_kind.take(options.errors_of) {
                if candidate.error.is_some() {
                    // It is exact.
                    break;
                }
                let setup = &candidate.proposal.setup;
                let depends = way(&candidate.proposal).depends_on_ranks();
                let ranks = if depends { setup.layer_ranks } else { 1 };
                let found = known.iter().find(|(schedule, n, _)| (schedule, *n) == (&setup.schedule, ranks));
                candidate.error = match found {
                    Some((.., error)) => *error,
                    None => {
                        let error = error_of(case, &setup.schedule, ranks, options)?;
                        known.push((setup.schedule.clone(), ranks, error));
                        error
                    }
                };
                if candidate.error.is_some_and(|error| error <= options.max_error / 100.0) {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Relative error of the gradients; nothing where it takes more ranks than can be had.
fn error_of(case: Case, schedule: &Schedule, ranks: usize, options: &Options) -> Result<Option<f64>, PlanError> {
    if ranks > MOST_RANKS || (ranks > 1 && under_mpi()) {
        return Ok(None);
    }
    if ranks == 1 {
        let (world, device) = (&Communicator::alone(), options.device.device(&Mesh::alone())?);
        return Ok(Some(case.visit(1, &device, Errors { world, schedule })?));
    }
    let errors = on_devices(ranks, options, |world, device| case.visit(1, device, Errors { world, schedule }))?;
    Ok(errors.first().copied())
}

struct Errors<'a> {
    world: &'a Communicator,
    schedule: &'a Schedule,
}

impl Visit for Errors<'_> {
    type Out = f64;

    fn visit<N: Network + 'static>(self, built: Built<N>) -> Result<f64, TrainError> {
        let mut variants = [Variant::new(self.schedule.clone().into(), self.world.size())];
        measure_errors(self.world, &[built], &mut variants, At::Start)?;
        Ok(variants[0].errors.map_or(f64::NAN, |errors| errors.gradient))
    }
}
