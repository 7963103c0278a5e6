//! Schedules of an encoder's training step: time, state error and gradient error, at the start and after training.
//!
//! `cargo bench -p benches --bench transformer -- [LAYERS] [options]`; under `mpirun -n 2` (build with `--features mpi`) the
//! two ranks are processes. Variants take turns, so that a machine that slows down slows all of them. With `--after N` the network
//! is trained layer by layer for `N` steps before the errors are measured. `--final-time T`, `--piecewise` and `--decoder`
//! choose the network.
#![allow(missing_docs)]

use benches::{Batch, Variant, measure_errors, print, time_in_turns, train};
use braidnet::comm::{mpi_world_size, under_mpi};
use braidnet::prelude::*;
use clap::Parser;

const SAMPLES: usize = 8;
const LENGTH: usize = 64;
const D_MODEL: usize = 128;
const VOCABULARY: usize = 1000;
const CLASSES: usize = 49;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Layers.
    #[arg(default_values_t = [32, 64])]
    layers: Vec<usize>,
    /// Sum of all time steps. [default: the number of layers]
    #[arg(long)]
    final_time: Option<f64>,
    /// Layers of a coarse step start equal.
    #[arg(long)]
    piecewise: bool,
    /// Operator of coarse steps: first-layer, midpoint or centred.
    #[arg(long, default_value = "centred", value_parser = ["first-layer", "midpoint", "centred"])]
    operator: String,
    /// Causal attention.
    #[arg(long)]
    decoder: bool,
    /// Exact training steps before the errors are measured.
    #[arg(long, default_value_t = 0)]
    after: usize,
    /// Rounds in which every variant is timed.
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Steps per round that are timed.
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), LaunchError> {
    let options = Options::parse();
    launch(&Launch::ranks(mpi_world_size().or(Some(2))), |world| -> Result<(), TrainError> {
        options.layers.iter().try_for_each(|layers| compare(&options, *layers, &world))
    })?;
    Ok(())
}

/// `k/l`: iterations forward and backward.
fn variants(ranks: usize) -> Vec<Variant> {
    let solve = |cfactor, iterations| SolveConfig { max_iters: iterations, ..SolveConfig::new(cfactor) };
    let mut all = vec![
        Variant::new("sequential, 1 rank", Schedule::sequential(), 1),
        Variant::new("sequential", Schedule::sequential(), ranks),
    ];
    for (cfactor, forward, backward) in [(8, 1, 1), (8, 2, 1), (4, 1, 1), (4, 2, 1), (4, 2, 2), (2, 1, 1), (2, 2, 1)] {
        let schedule =
            Schedule { forward: solve(cfactor, forward), backward: solve(cfactor, backward), ..Schedule::sequential() };
        all.push(Variant::new(format!("layer-parallel, cfactor {cfactor}, {forward}/{backward}"), schedule, ranks));
    }
    for (cfactor, backward) in [(8, 1), (8, 2), (4, 1), (4, 2), (2, 1), (2, 2)] {
        let backward_solve = solve(cfactor, backward);
        let schedule = Schedule::new(ScheduleKind::Mixed, backward_solve.clone(), backward_solve);
        all.push(Variant::new(format!("mixed, cfactor {cfactor}, -/{backward}"), schedule, ranks));
    }
    all
}

fn config(options: &Options, layers: usize) -> TransformerConfig {
    let piecewise = DepthInit::Piecewise { period: Some(8), noise: 0.0 };
    TransformerConfig {
        max_length: LENGTH,
        final_time: options.final_time.unwrap_or(layers as f64),
        causal: options.decoder,
        pad: None,
        coarse: match options.operator.as_str() {
            "first-layer" => CoarseOperator::FirstLayer,
            "midpoint" => CoarseOperator::Midpoint,
            _ => CoarseOperator::Centred,
        },
        depth_init: if options.piecewise { piecewise } else { DepthInit::Independent },
        ..TransformerConfig::encoder(layers, D_MODEL, VOCABULARY, CLASSES)
    }
}

/// Tokens drawn by a generator, and classes that depend on two of them.
fn batch(n: usize) -> Batch<Tensor<2, Int>> {
    let mut state = n as u64 + 1;
    let tokens: Vec<i64> = (0..SAMPLES * LENGTH)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i64 % 60
        })
        .collect();
    let before = |i: usize| if i.is_multiple_of(LENGTH) { 0 } else { tokens[i - 1] };
    let classes: Vec<i64> = (0..tokens.len()).map(|i| (tokens[i] + before(i) % 3) % CLASSES as i64).collect();
    let device = Device::flex();
    Batch {
        size: SAMPLES,
        input: Tensor::from_data(TensorData::new(tokens, [SAMPLES, LENGTH]), &device),
        target: Tensor::from_data(TensorData::new(classes, [SAMPLES * LENGTH]), &device),
    }
}

fn model(
    config: &TransformerConfig,
    schedule: &Schedule,
    comm: &Communicator,
) -> Result<LayerParallel<Transformer>, TrainError> {
    // The longest run of all variants.
    let partition =
        Schedule::layer_parallel(SolveConfig::new(8)).partition(&config.grid()?, comm.size(), config.coarse)?;
    let network = config.init(partition.layers(comm.rank()), 8, 0, &Device::flex())?;
    LayerParallel::new(network, &config.grid()?, &partition, schedule, comm)
}

fn compare(options: &Options, layers: usize, world: &Communicator) -> Result<(), TrainError> {
    let (config, batch) = (config(options, layers), batch(0));
    let mut variants = variants(world.size());
    let mut trained = model(&config, &Schedule::sequential(), world)?;
    // On other batches than the one measured.
    let loss = train(&mut trained, (1..=options.after).map(self::batch), (OptimizerConfig::Adam, 5e-4))?;
    let loss = Some(loss).filter(|loss| loss.is_finite());
    measure_errors(&mut trained, &batch, &mut variants)?;
    drop(trained);
    let make = |_, schedule: &Schedule, comm: &Communicator| model(&config, schedule, comm);
    time_in_turns(world, &mut variants, (options.rounds, options.steps), &batch, make)?;
    if world.rank() == 0 {
        let kind = if under_mpi() { "processes (MPI)" } else { "threads" };
        println!(
            "encoder, {layers} layers, d {D_MODEL}, {SAMPLES} x {LENGTH} tokens, {} {kind}, final time {}, {}, {:?}{}; errors after {} steps{}",
            world.size(),
            config.final_time,
            config.depth_init,
            config.coarse,
            if config.causal { ", causal" } else { "" },
            options.after,
            loss.map_or(String::new(), |loss| format!(" (loss {loss:.3})")),
        );
        print(&mut variants);
    }
    Ok(())
}
