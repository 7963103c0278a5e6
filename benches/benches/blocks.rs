//! Schedules of an ODENet of blocks with batch norm: time, state error and gradient error, layers shared out by count and by cost,
//! and what the measured costs of its layers say of more ranks.
//!
//! `cargo bench -p benches --bench blocks -- [options]`; under `mpirun -n 2` (build with `--features mpi`) the two ranks are
//! processes. Variants take turns, so that a machine that slows down slows all of them. With `--after N` the network is trained
//! layer by layer for `N` steps of the optimizer before the errors are measured.
#![allow(missing_docs)]

use benches::{Batch, Variant, measure_errors_of, print, time_in_turns, train};
use braidnet::comm::{mpi_world_size, under_mpi};
use braidnet::data::pictures::{self, Pictures};
use braidnet::data::textures;
use braidnet::nn::{BlockNet, BlockNetConfig, NormKind};
use braidnet::prelude::*;
use braidnet::train::Balance;
use clap::Parser;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Layers of every block.
    #[arg(value_delimiter = ',', default_values_t = [16, 16, 16, 16])]
    blocks: Vec<usize>,
    /// Channels of the first block.
    #[arg(long, default_value_t = 8)]
    channels: usize,
    /// Samples of a batch.
    #[arg(long, default_value_t = 20)]
    batch: usize,
    /// Classes of the generated pictures.
    #[arg(long, default_value_t = 20)]
    classes: usize,
    /// Sum of all time steps.
    #[arg(long, default_value_t = 1.0)]
    final_time: f64,
    /// Group norm in groups of four channels in place of batch norm.
    #[arg(long)]
    group_norm: bool,
    /// Exact training steps before the errors are measured.
    #[arg(long, default_value_t = 0)]
    after: usize,
    /// Learning rate of those.
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Rounds in which every variant is timed.
    #[arg(long, default_value_t = 4)]
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
        compare(&options, &world)
    })?;
    Ok(())
}

/// `k/l`: iterations forward and backward. Case 0 has equal costs on the ranks, case 1 equal counts.
fn variants(ranks: usize) -> Vec<Variant> {
    let mut all = vec![
        Variant::new("sequential, 1 rank", Schedule::sequential(), 1),
        Variant::new("sequential", Schedule::sequential(), ranks),
    ];
    let solve = |cfactor, max_iters| SolveConfig { max_iters, ..SolveConfig::new(cfactor) };
    for (cfactor, forward, backward) in [(4, 1, 1), (8, 1, 1), (4, 2, 1), (4, 2, 2)] {
        let [forward_solve, backward_solve] = [forward, backward].map(|n| solve(cfactor, n));
        let schedule = Schedule { forward: forward_solve, backward: backward_solve, ..Schedule::sequential() };
        let name = format!("layer-parallel, cfactor {cfactor}, {forward}/{backward}");
        if (cfactor, forward) == (4, 1) {
            all.push(Variant::new(format!("{name}, by count"), schedule.clone(), ranks).of_case(1));
        }
        all.push(Variant::new(name, schedule, ranks));
    }
    for (cfactor, backward) in [(4, 1), (8, 1)] {
        let schedule = Schedule::new(ScheduleKind::Mixed, SolveConfig::sequential(), solve(cfactor, backward));
        all.push(Variant::new(format!("mixed, cfactor {cfactor}, -/{backward}"), schedule, ranks));
    }
    all
}

/// Generated pictures, batch by batch.
fn batches(options: &Options) -> Result<Vec<Batch<Tensor<4>>>, braidnet::data::DataError> {
    let n = options.batch * (options.after + 1);
    let set = textures::generated(0, n.div_ceil(options.classes), 0, options.classes)?.train;
    let device = Device::flex();
    let batch = |first: usize| {
        let samples = first..first + options.batch;
        let pixels = samples.clone().flat_map(|i| set.picture(i)).map(|byte| f32::from(*byte) / 127.5 - 1.0).collect();
        let classes: Vec<i64> = samples.map(|i| set.label(i) as i64).collect();
        let shape = [options.batch, pictures::CHANNELS, pictures::SIDE, pictures::SIDE];
        Batch {
            size: options.batch,
            input: Tensor::from_data(TensorData::new::<f32, _>(pixels, shape), &device),
            target: Tensor::from_data(TensorData::new(classes, [options.batch]), &device),
        }
    };
    Ok((0..=options.after).map(|step| batch(step * options.batch)).collect())
}

/// The network on the ranks of `comm`, with equal counts, or as `costs` has it.
fn model(
    config: &BlockNetConfig,
    costs: Option<&[f64]>,
    schedule: &Schedule,
    comm: &Communicator,
) -> Result<LayerParallel<BlockNet>, TrainError> {
    let grid = config.grid()?;
    let partition = match costs {
        Some(costs) => schedule.partition_by_cost(&grid, comm.size(), config.coarse, costs)?,
        None => schedule.partition(&grid, comm.size(), config.coarse)?,
    };
    let network = config.init(partition.layers(comm.rank()), 4, 0, &Device::flex())?;
    LayerParallel::new(network, &grid, &partition, schedule, comm)
}

/// What the cost model of a training step on two levels says of so many ranks: the layers of the dearest one, and the coarse solves,
/// whose steps are one after the other. A midpoint step costs two forward passes, its pullback one: together about what a layer
/// costs forward and back.
fn predicted(costs: &[f64], ranks: usize, cfactor: usize) -> Option<f64> {
    let partition = Partition::by_cost(costs, ranks).ok()?;
    let fine = (0..ranks).map(|rank| costs[partition.layers(rank)].iter().sum::<f64>()).fold(0.0, f64::max);
    Some(fine + costs.iter().step_by(cfactor).sum::<f64>())
}

fn compare(options: &Options, world: &Communicator) -> Result<(), TrainError> {
    let failed = |e: braidnet::data::DataError| TrainError::BadTarget { reason: e.to_string() };
    let config = BlockNetConfig {
        classes: options.classes,
        final_time: options.final_time,
        norm: Some(if options.group_norm { NormKind::Group(4) } else { NormKind::Batch }),
        ..BlockNetConfig::new(options.blocks.clone(), options.channels)
    };
    let mut batches = batches(options).map_err(failed)?;
    let Some(batch) = batches.pop() else { return Ok(()) };
    let mut variants = variants(world.size());
    let mut trained = model(&config, None, &Schedule::sequential(), world)?;
    let costs = trained.layer_costs(options.batch)?;
    let schedule = Schedule::layer_parallel(SolveConfig::new(4));
    let balance = Balance::new(costs.clone(), &schedule, &config.grid()?, world.size(), config.coarse)?;
    let make = |case, schedule: &Schedule, comm: &Communicator| {
        model(&config, (case == 0).then_some(&costs[..]), schedule, comm)
    };
    let loss = train(&mut trained, batches, (OptimizerConfig::Adam, options.learning_rate))?;
    measure_errors_of(&trained, &batch, &mut variants, |_, schedule, comm| model(&config, None, schedule, comm))?;
    drop(trained);
    time_in_turns(world, &mut variants, (options.rounds, options.steps), &batch, make)?;
    if world.rank() == 0 {
        let Options { blocks, channels, batch, after, .. } = options;
        println!(
            "ODENet of blocks of {blocks:?} layers, {channels} channels and twice as many from block to block, {:?}, batch {batch}, final time {}, {} {}; errors after {after} steps (loss {loss:.3})",
            config.norm,
            config.final_time,
            world.size(),
            if under_mpi() { "processes (MPI)" } else { "threads" },
        );
        println!("{balance}");
        print(&mut variants);
        scaling(&costs);
    }
    Ok(())
}

/// Strong scaling, and weak scaling with as many times more layers as ranks, by the cost model.
fn scaling(costs: &[f64]) {
    let all: f64 = costs.iter().sum();
    println!("  by the cost model, of {:.1} ms for all layers one after the other:", 1e3 * all);
    println!("  {:>5}  {:^32}  {:^32}", "ranks", "speed-up, cfactor 4 / 8 / 16", "weak efficiency, 4 / 8 / 16");
    for ranks in [1, 2, 4, 8, 16, 32] {
        let deeper = costs.repeat(ranks);
        let strong = [4, 8, 16].map(|cfactor| predicted(costs, ranks, cfactor).map_or(f64::NAN, |t| all / t));
        let weak = [4, 8, 16].map(|cfactor| predicted(&deeper, ranks, cfactor).map_or(f64::NAN, |t| all / t));
        let [strong, weak] = [strong, weak].map(|of| of.map(|x| format!("{x:.2}")).join(" / "));
        println!("  {ranks:>5}  {strong:^32}  {weak:^32}");
    }
}
