//! The training engine: meshes of layer ranks x data ranks, the pipeline against its bubble, activations stored and recomputed.
//!
//! Variants take turns, as in the bench `step`. On up to four threads by default; started by `mpirun -n 4` (build with
//! `--features mpi`) the ranks are processes. Arguments: `mesh`, `pipeline`,
//! `activations` pick a table, numbers the layers.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use benches::{BATCH, batch};
use braidnet::comm::mpi_world_size;
use braidnet::prelude::*;
use braidnet::train::Shard;
use braidnet::train::data::Micro;

/// Layers, channels, coarsening factor, rounds and steps per round.
const CASES: [(usize, usize, usize, usize, usize); 3] = [(36, 3, 4, 5, 4), (64, 4, 8, 4, 3), (128, 12, 8, 2, 2)];

struct Variant {
    name: String,
    schedule: Schedule,
    /// Layer ranks, data ranks, micro-batches.
    shape: [usize; 3],
    times: Vec<Duration>,
    /// Part of `ranks x step` in which no rank of the layer axis works, step by step.
    idle: Vec<f64>,
}

impl Variant {
    fn new(name: &str, schedule: Schedule, shape: [usize; 3]) -> Self {
        Self { name: name.to_owned(), schedule, shape, times: Vec::new(), idle: Vec::new() }
    }
}

fn main() -> Result<(), LaunchError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let layers: Vec<usize> = args.iter().filter_map(|a| a.parse().ok()).collect();
    let tables = ["mesh", "pipeline", "activations"];
    let chosen: Vec<&str> = tables.into_iter().filter(|table| args.iter().any(|a| a == table)).collect();
    let wanted = |table: &str| chosen.is_empty() || chosen.contains(&table);
    launch(&Launch::ranks(mpi_world_size().or(Some(4))), |world| -> Result<(), TrainError> {
        for case in CASES.iter().filter(|c| layers.is_empty() || layers.contains(&c.0)) {
            for table in tables.into_iter().filter(|table| wanted(table)) {
                compare(case, table, &world)?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn variants(table: &str, cfactor: usize) -> Vec<Variant> {
    let parallel = Schedule::layer_parallel(SolveConfig::new(cfactor));
    let sequential = Schedule::sequential();
    let pipeline = Schedule::new(ScheduleKind::Pipeline, SolveConfig::sequential(), SolveConfig::sequential());
    let recomputed = |schedule: &Schedule| Schedule { activations: Activations::Recompute, ..schedule.clone() };
    match table {
        "mesh" => vec![
            Variant::new("sequential", sequential, [1, 1, 1]),
            Variant::new("data-parallel", parallel.clone(), [1, 2, 1]),
            Variant::new("layer-parallel", parallel.clone(), [2, 1, 1]),
            Variant::new("hybrid", parallel, [2, 2, 1]),
        ],
        "pipeline" => {
            let of = |m| Variant::new("pipeline", pipeline.clone(), [2, 1, m]);
            let mut all = vec![Variant::new("layer-parallel", parallel, [2, 1, 1])];
            all.extend([1, 2, 4, 8, 16].map(of));
            all
        }
        _ => {
            let both = |name: &str, schedule: &Schedule, ranks| {
                let again = format!("{name}, recomputed");
                [
                    Variant::new(name, schedule.clone(), [ranks, 1, 1]),
                    Variant::new(&again, recomputed(schedule), [ranks, 1, 1]),
                ]
            };
            let ranks = [1, 2, 4].into_iter();
            ranks.flat_map(|n| both("layer-parallel", &parallel, n)).chain(both("sequential", &sequential, 1)).collect()
        }
    }
}

fn compare(
    &(layers, channels, cfactor, rounds, steps): &(usize, usize, usize, usize, usize),
    table: &str,
    world: &Communicator,
) -> Result<(), TrainError> {
    let mut variants = variants(table, cfactor);
    variants.retain(|v| v.shape[0] * v.shape[1] <= world.size());
    for _ in 0..rounds {
        for variant in &mut variants {
            if let Some(comm) = world.first_ranks(variant.shape[0] * variant.shape[1])? {
                measure(variant, (layers, channels), &comm, steps)?;
            }
            world.barrier()?;
        }
    }
    if world.rank() == 0 {
        print(&format!("{table}: {layers} layers x {channels} channels, cfactor {cfactor}, batch {BATCH}"), &variants);
    }
    Ok(())
}

/// Some steps of a fresh model, after one that is not counted.
fn measure(
    variant: &mut Variant,
    (layers, channels): (usize, usize),
    comm: &Communicator,
    steps: usize,
) -> Result<(), TrainError> {
    let [layer_ranks, data_ranks, n_micro] = variant.shape;
    let degrees = MeshConfig { layer_ranks: Degree::Exactly(layer_ranks), data_ranks: Degree::Exactly(data_ranks) };
    let mesh = Mesh::new(comm, &degrees, layers)?;
    let mut model = benches::model(layers, channels, &variant.schedule, mesh.layer())?;
    let mut reducer = GradientReducer::new(model.network(), &variant.schedule, mesh.data(), &Device::flex())?;
    let mut optimizer = Optimizer::new(OptimizerConfig::Sgd { momentum: 0.9 }, 0.01)?;
    let task = Task::classification();
    let (input, target) = batch(&Device::flex());
    let share = BATCH / data_ranks;
    let micro: Vec<_> = (0..n_micro)
        .map(|m| {
            let at = mesh.data_rank() * share;
            let (start, end) = (at + m * share / n_micro, at + (m + 1) * share / n_micro);
            let (input, target) = (input.clone().slice(start..end), target.clone().slice(start..end));
            Micro { size: end - start, first: start, input: Some(input), target: Some(target) }
        })
        .filter(|micro| micro.size > 0)
        .collect();
    let mut step = || -> Result<(Duration, f64), TrainError> {
        comm.barrier()?;
        let start = Instant::now();
        let shard = Shard { micro: &micro, global: BATCH };
        let report = model.train_step(shard, &task, &mut reducer, &mut |_| Ok(()))?;
        let gradients = reducer.finish()?;
        optimizer.step(&mut model, gradients);
        let took = start.elapsed();
        Ok((took, report.seconds_waiting))
    };
    step()?;
    for _ in 0..steps {
        let (took, waiting) = step()?;
        // A step takes as long as its slowest rank; what ranks wait for each other, or for the slowest to end, is idle.
        let all = comm.all_gather(vec![took.as_secs_f64(), waiting], &())?;
        let slowest = all.iter().map(|rank| rank[0]).fold(0.0, f64::max);
        let busy: f64 = all.iter().map(|rank| rank[0] - rank[1]).sum();
        variant.times.push(Duration::from_secs_f64(slowest));
        variant.idle.push(1.0 - busy / (slowest * comm.size() as f64));
    }
    Ok(())
}

fn print(title: &str, variants: &[Variant]) {
    println!("\n{title}");
    println!(
        "{:<28} {:>14} {:>7} {:>24} {:>9} {:>9} {:>8}",
        "", "layer x data", "micro", "ms per step (10-90 %)", "speed-up", "idle", "bubble"
    );
    let median = |times: &[Duration], part: f64| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        sorted.get(((sorted.len() - 1) as f64 * part).round() as usize).map_or(f64::NAN, |d| 1e3 * d.as_secs_f64())
    };
    let first = variants.first().map_or(f64::NAN, |v| median(&v.times, 0.5));
    for v in variants {
        let [layer, data, micro] = v.shape;
        let mut idle = v.idle.clone();
        idle.sort_unstable_by(f64::total_cmp);
        let bubble = (layer as f64 - 1.0) / (micro + layer - 1) as f64;
        println!(
            "{:<28} {:>14} {micro:>7} {:>24} {:>9.2} {:>9} {:>8}",
            v.name,
            format!("{layer} x {data}"),
            format!("{:.1} ({:.1}-{:.1})", median(&v.times, 0.5), median(&v.times, 0.1), median(&v.times, 0.9)),
            first / median(&v.times, 0.5),
            format!("{:.1} %", 100.0 * idle.get(idle.len() / 2).copied().unwrap_or(f64::NAN)),
            if v.name == "pipeline" { format!("{:.1} %", 100.0 * bubble) } else { String::new() },
        );
    }
}
