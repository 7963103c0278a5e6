//! Schedules of an ODENet on voxels, with coarser grids on coarse levels and without: time, state error and gradient error, at the
//! start and after training.
//!
//! `cargo bench -p benches --bench voxels -- [SIDE] [options]`; under `mpirun -n 2` (build with `--features mpi`) the two ranks are
//! processes. Variants take turns, so that a machine that slows down slows all of them. With `--after N` the network is trained
//! layer by layer for `N` steps of the optimizer before the errors are measured.
#![allow(missing_docs)]

use benches::{Batch, Variant, measure_errors_of, print, time_in_turns, train};
use braidnet::comm::{mpi_world_size, under_mpi};
use braidnet::data::{solids, voxels::VoxelSet};
use braidnet::nn::{OdeNet3d, OdeNet3dConfig, Restriction, SpaceCoarsening};
use braidnet::prelude::*;
use braidnet::train::InitialGuess;
use clap::Parser;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Voxels along an edge.
    #[arg(default_values_t = [31])]
    side: Vec<usize>,
    #[arg(long, default_value_t = 128)]
    layers: usize,
    #[arg(long, default_value_t = 4)]
    channels: usize,
    /// Sum of all time steps.
    #[arg(long, default_value_t = 1.0)]
    final_time: f64,
    /// Samples of a batch.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Coarsening factor.
    #[arg(long, default_value_t = 4)]
    cfactor: usize,
    /// FCF-relaxation of the finest level too.
    #[arg(long)]
    fcf: bool,
    /// Schedules: a few, or many.
    #[arg(long)]
    many: bool,
    /// Exact training steps before the errors are measured.
    #[arg(long, default_value_t = 0)]
    after: usize,
    /// Learning rate of those.
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Rounds in which every variant is timed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Steps per round that are timed.
    #[arg(long, default_value_t = 2)]
    steps: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), LaunchError> {
    let options = Options::parse();
    launch(&Launch::ranks(mpi_world_size().or(Some(2))), |world| -> Result<(), TrainError> {
        options.side.iter().try_for_each(|side| compare(&options, *side, &world))
    })?;
    Ok(())
}

/// The networks: from which levels they coarsen, and how.
fn cases() -> [(&'static str, Vec<usize>, Restriction); 5] {
    use Restriction::{FullWeighting, Injection};
    [
        ("", vec![], FullWeighting),
        (", grids 0 to 1", vec![0], FullWeighting),
        (", grids 0 to 1 to 2", vec![0, 1], FullWeighting),
        (", grids 1 to 2", vec![1], FullWeighting),
        (", grids 0 to 1, injection", vec![0], Injection),
    ]
}

/// `k/l`: iterations forward and backward.
fn variants(options: &Options, ranks: usize) -> Vec<Variant> {
    let mut all = vec![
        Variant::new("sequential, 1 rank", Schedule::sequential(), 1),
        Variant::new("sequential", Schedule::sequential(), ranks),
    ];
    // No iterations: layer by layer.
    let mut add = |ranks, levels, [forward, backward]: [usize; 2], guess, case: usize| {
        let [forward_solve, backward_solve] = [forward, backward].map(|max_iters| SolveConfig {
            max_levels: if max_iters == 0 { 1 } else { levels },
            max_iters: max_iters.max(1),
            guess,
            relaxation: if options.fcf { Relaxation::Fcf(1) } else { Relaxation::F },
            ..SolveConfig::new(options.cfactor)
        });
        let schedule = Schedule { forward: forward_solve, backward: backward_solve, ..Schedule::sequential() };
        let carried = if guess == InitialGuess::Carried { ", carried" } else { "" };
        let on = if ranks == 1 { ", 1 rank" } else { "" };
        let name = format!("{levels} levels, {forward}/{backward}{}{carried}{on}", cases()[case].0);
        all.push(Variant::new(name, schedule, ranks).of_case(case));
    };
    use InitialGuess::{Carried, Zero};
    for ranks in [1, ranks] {
        add(ranks, 2, [1, 1], Zero, 0);
        add(ranks, 3, [1, 1], Zero, 0);
        for case in 1..=3 {
            add(ranks, 3, [1, 1], Carried, case);
        }
    }
    add(ranks, 2, [1, 1], Carried, 1);
    add(ranks, 2, [0, 1], Zero, 0);
    for case in 0..=3 {
        add(ranks, 3, [0, 1], if case == 0 { Zero } else { Carried }, case);
    }
    if options.many {
        for case in 1..=3 {
            add(ranks, 3, [1, 1], Zero, case);
        }
        add(ranks, 3, [1, 1], Carried, 4);
        for case in 0..=3 {
            add(ranks, 3, [2, 2], if case == 0 { Zero } else { Carried }, case);
        }
    }
    all
}

fn config(options: &Options, side: usize, case: usize) -> OdeNet3dConfig {
    let (_, levels, restriction) = cases()[case].clone();
    OdeNet3dConfig {
        channels: options.channels,
        final_time: options.final_time,
        space: (!levels.is_empty()).then_some(SpaceCoarsening { restriction, levels }),
        ..OdeNet3dConfig::new(options.layers, side)
    }
}

/// Generated solids, batch by batch.
fn batches(options: &Options, side: usize) -> Result<Vec<Batch<Tensor<5>>>, braidnet::data::DataError> {
    let n = options.batch * (options.after + 1);
    let set = solids::generated(0, n.div_ceil(solids::CLASSES), 0, side)?.train;
    let device = Device::flex();
    let batch = |first: usize| {
        let samples = first..first + options.batch;
        let voxels = samples.clone().map(|i| set.voxels(i)).collect::<Result<Vec<_>, _>>()?.concat();
        let voxels: Vec<f32> = voxels.into_iter().map(f32::from).collect();
        let classes: Vec<i64> = samples.map(|i| set.label(i) as i64).collect();
        Ok(Batch {
            size: options.batch,
            input: Tensor::from_data(TensorData::new(voxels, [options.batch, 1, side, side, side]), &device),
            target: Tensor::from_data(TensorData::new(classes, [options.batch]), &device),
        })
    };
    (0..=options.after).map(|step| batch(step * options.batch)).collect()
}

fn model(
    config: &OdeNet3dConfig,
    run: usize,
    schedule: &Schedule,
    comm: &Communicator,
) -> Result<LayerParallel<OdeNet3d>, TrainError> {
    let partition = Partition::even(config.layers, comm.size())?;
    let network = config.init(partition.layers(comm.rank()), run, 0, &Device::flex())?;
    LayerParallel::new(network, &config.grid()?, &partition, schedule, comm)
}

fn compare(options: &Options, side: usize, world: &Communicator) -> Result<(), TrainError> {
    let failed = |e: braidnet::data::DataError| TrainError::BadTarget { reason: e.to_string() };
    let mut batches = batches(options, side).map_err(failed)?;
    let Some(batch) = batches.pop() else { return Ok(()) };
    let mut variants = variants(options, world.size());
    let make = |case, schedule: &Schedule, comm: &Communicator| {
        model(&config(options, side, case), options.cfactor, schedule, comm)
    };
    let mut trained = make(0, &Schedule::sequential(), world)?;
    let loss = train(&mut trained, batches, (OptimizerConfig::Adam, options.learning_rate))?;
    measure_errors_of(&trained, &batch, &mut variants, make)?;
    drop(trained);
    time_in_turns(world, &mut variants, (options.rounds, options.steps), &batch, make)?;
    if world.rank() == 0 {
        let Options { layers, channels, final_time, batch, cfactor, after, fcf, .. } = options;
        println!(
            "ODENet, {layers} layers of {channels} channels, {side}^3 voxels, batch {batch}, final time {final_time}, cfactor {cfactor}, {} on the finest level, {} {}; errors after {after} steps (loss {loss:.3})",
            if *fcf { "FCF" } else { "F" },
            world.size(),
            if under_mpi() { "processes (MPI)" } else { "threads" },
        );
        print(&mut variants);
    }
    Ok(())
}
