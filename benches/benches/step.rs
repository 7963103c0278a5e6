//! A training step: sequential on one rank, layer-parallel and mixed on two.
//!
//! Variants take turns, so that a machine that slows down slows all of them. On threads by default; started by
//! `mpirun -n 2` (build with `--features mpi`) the two ranks are processes. Criterion would measure each rank on its own and
//! the variants one after the other, so this bench does its own timing: medians, deciles and ratios of one run.
#![allow(missing_docs)]

use std::time::Duration;

use benches::{BATCH, Batch, batch, deciles, errors, model, time_steps};
use braidnet::comm::{mpi_world_size, under_mpi};
use braidnet::prelude::*;

/// Layers, channels, coarsening factor, rounds and steps per round.
const CASES: [(usize, usize, usize, usize, usize); 3] = [(36, 3, 4, 6, 5), (64, 4, 8, 4, 3), (128, 12, 8, 2, 2)];

fn main() -> Result<(), LaunchError> {
    // Criterion's arguments, such as --bench, mean nothing here; a number picks a case by its layers.
    let wanted: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let kind = if under_mpi() { "processes (MPI)" } else { "threads" };
    launch(&Launch::ranks(mpi_world_size().or(Some(2))), |world| -> Result<(), TrainError> {
        for case in CASES.iter().filter(|c| wanted.is_empty() || wanted.contains(&c.0)) {
            compare(case, kind, &world)?;
        }
        Ok(())
    })?;
    Ok(())
}

struct Variant {
    name: String,
    schedule: Schedule,
    ranks: usize,
    times: Vec<Duration>,
    error: Option<f64>,
}

fn compare(
    &(layers, channels, cfactor, rounds, steps): &(usize, usize, usize, usize, usize),
    kind: &str,
    world: &Communicator,
) -> Result<(), TrainError> {
    let solve = SolveConfig::new(cfactor);
    let parallel = Schedule::layer_parallel(solve.clone());
    let mixed = Schedule::new(ScheduleKind::Mixed, solve.clone(), solve);
    let ranks = world.size();
    let variant = |name: String, schedule, ranks| Variant { name, schedule, ranks, times: Vec::new(), error: None };
    let mut variants = [
        variant("sequential, 1 rank".to_owned(), Schedule::sequential(), 1),
        variant(format!("sequential, {ranks} {kind}"), Schedule::sequential(), ranks),
        variant(format!("layer-parallel, {ranks} {kind}"), parallel, ranks),
        variant(format!("mixed, {ranks} {kind}"), mixed, ranks),
    ];
    let (input, target) = batch(&Device::flex());
    let images = Batch { size: BATCH, input, target };
    for _ in 0..rounds {
        for variant in &mut variants {
            if let Some(comm) = world.first_ranks(variant.ranks)? {
                let mut model = model(layers, channels, &variant.schedule, &comm)?;
                variant.times.extend(time_steps(&mut model, &images, &comm, steps)?);
                variant.error = variant.error.or(Some(errors(&mut model, &images)?[0]));
            }
            world.barrier()?;
        }
    }
    if world.rank() == 0 {
        println!("training step, {layers} layers x {channels} channels, cfactor {cfactor}, batch {BATCH}");
        print(&mut variants);
    }
    Ok(())
}

fn print(variants: &mut [Variant]) {
    let mut first = None;
    for Variant { name, times, error, .. } in variants {
        let [low, median, high] = deciles(times);
        let base = *first.get_or_insert(median);
        println!(
            "  {name:<34} {median:8.1} ms ({low:.1}-{high:.1})  {:.2} x  gradient error {:.2} %",
            base / median,
            100.0 * error.unwrap_or(f64::NAN),
        );
    }
}
