//! Schedules of a recurrent network's training step: time, state error and gradient error, at the start and after training.
//!
//! `cargo bench -p benches --bench gru -- [LENGTH] [options]`; under `mpirun -n 2` (build with `--features mpi`) the two ranks
//! are processes. Variants take turns, so that a machine that slows down slows all of them. With `--after N` the network is
//! trained step by step of the sequence for `N` steps of the optimizer before the errors are measured.
#![allow(missing_docs)]

use benches::{Batch, Variant, measure_errors, print, time_in_turns, train};
use braidnet::comm::{mpi_world_size, under_mpi};
use braidnet::data::motion;
use braidnet::nn::gru::{GruCoarse, GruConfig, GruForm, GruNet, Sequences};
use braidnet::prelude::*;
use clap::Parser;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Steps of a sequence.
    #[arg(default_values_t = [128])]
    length: Vec<usize>,
    /// Sum of all time steps: the longer a sequence, the shorter its steps. [default: the length]
    #[arg(long)]
    final_time: Option<f64>,
    /// Features of a state.
    #[arg(long, default_value_t = 100)]
    hidden: usize,
    /// Cells above each other.
    #[arg(long, default_value_t = 2)]
    cells: usize,
    /// Sequences of a batch.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// The classic cell in place of the implicit one.
    #[arg(long)]
    explicit: bool,
    /// Coarse steps with m dt in place of dt, instead of m steps with frozen gates.
    #[arg(long)]
    rediscretised: bool,
    /// Parts that a coarse step is taken in.
    #[arg(long, default_value_t = 4)]
    parts: usize,
    /// Coarse steps read the mean input of their run.
    #[arg(long)]
    mean_input: bool,
    /// Schedules: a few, or many.
    #[arg(long)]
    many: bool,
    /// Newton's method too.
    #[arg(long)]
    newton: bool,
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
        options.length.iter().try_for_each(|length| compare(&options, *length, &world))
    })?;
    Ok(())
}

/// `k/l`: iterations forward and backward.
fn variants(options: &Options, ranks: usize) -> Vec<Variant> {
    let solve = |levels, cfactor, iterations| SolveConfig {
        max_levels: levels,
        max_iters: iterations,
        ..SolveConfig::new(cfactor)
    };
    let mut all = vec![
        Variant::new("sequential, 1 rank", Schedule::sequential(), 1),
        Variant::new("sequential", Schedule::sequential(), ranks),
    ];
    for cfactor in [8, 32] {
        let schedule = Schedule::layer_parallel(solve(2, cfactor, 1));
        all.push(Variant::new(format!("layer-parallel, cfactor {cfactor}, 1/1, 1 rank"), schedule, 1));
    }
    let few = [(2, 8, 1, 1), (2, 16, 1, 1), (2, 16, 2, 1), (2, 16, 2, 2), (3, 4, 2, 1)];
    let more = [(2, 4, 1, 1), (2, 4, 2, 2), (2, 8, 2, 1), (2, 8, 2, 2), (2, 32, 1, 1), (2, 32, 2, 2)];
    let chosen = few.iter().chain(more.iter().filter(|_| options.many));
    for &(levels, cfactor, forward, backward) in chosen {
        let [forward_solve, backward_solve] = [forward, backward].map(|n| solve(levels, cfactor, n));
        let schedule = Schedule { forward: forward_solve, backward: backward_solve, ..Schedule::sequential() };
        let name = format!("layer-parallel, {levels} levels, cfactor {cfactor}, {forward}/{backward}");
        all.push(Variant::new(name, schedule, ranks));
    }
    for (forward, backward) in [(2, 1), (4, 2), (8, 4)].into_iter().filter(|_| options.newton) {
        let [forward_solve, backward_solve] = [forward, backward].map(SolveConfig::newton);
        let schedule = Schedule { forward: forward_solve, backward: backward_solve, ..Schedule::sequential() };
        all.push(Variant::new(format!("Newton, {forward}/{backward}"), schedule, ranks));
    }
    for (cfactor, backward) in [(8, 1), (16, 1), (16, 2)] {
        let solve = solve(2, cfactor, backward);
        let schedule = Schedule::new(ScheduleKind::Mixed, solve.clone(), solve);
        all.push(Variant::new(format!("mixed, cfactor {cfactor}, -/{backward}"), schedule, ranks));
    }
    all
}

fn config(options: &Options, length: usize) -> GruConfig {
    GruConfig {
        form: if options.explicit { GruForm::Explicit } else { GruForm::Implicit },
        coarse: if options.rediscretised { GruCoarse::Rediscretised } else { GruCoarse::Frozen },
        coarse_parts: options.parts,
        final_time: options.final_time.unwrap_or(length as f64),
        coarse_input: if options.mean_input { CoarseOperator::Mean } else { CoarseOperator::FirstLayer },
        ..GruConfig::new(length, motion::CHANNELS, options.hidden, options.cells, motion::CLASSES)
    }
}

/// Windows of generated motion, batch by batch.
fn batches(options: &Options, length: usize) -> Vec<Batch<Sequences>> {
    let data = motion::generated(0, options.batch * (options.after + 1), 1, length).train;
    let device = Device::flex();
    let signals = data.signals.chunks_exact(options.batch * length * motion::CHANNELS);
    let batch = |(signals, labels): (&[f32], &[u8])| {
        let shape = [options.batch, length, motion::CHANNELS];
        let input = Tensor::<3>::from_data(TensorData::new(signals.to_vec(), shape), &device);
        let classes: Vec<i64> = labels.iter().map(|class| i64::from(*class)).collect();
        let target = Tensor::from_data(TensorData::new(classes, [options.batch]), &device);
        Batch { size: options.batch, input: input.into(), target }
    };
    signals.zip(data.labels.chunks_exact(options.batch)).map(batch).collect()
}

fn model(config: &GruConfig, schedule: &Schedule, comm: &Communicator) -> Result<LayerParallel<GruNet>, TrainError> {
    // The longest run of all variants.
    let longest = Schedule::layer_parallel(SolveConfig::new(32));
    let partition = longest.partition(&config.grid()?, comm.size(), CoarseOperator::Mean)?;
    let network = config.init(partition.layers(comm.rank()), 0, &Device::flex())?;
    LayerParallel::new(network, &config.grid()?, &partition, schedule, comm)
}

fn compare(options: &Options, length: usize, world: &Communicator) -> Result<(), TrainError> {
    let (config, mut batches) = (config(options, length), batches(options, length));
    let Some(batch) = batches.pop() else { return Ok(()) };
    let mut variants = variants(options, world.size());
    let mut trained = model(&config, &Schedule::sequential(), world)?;
    let loss = train(&mut trained, batches, (OptimizerConfig::Adam, 2e-3))?;
    measure_errors(&mut trained, &batch, &mut variants)?;
    drop(trained);
    let make = |_, schedule: &Schedule, comm: &Communicator| model(&config, schedule, comm);
    time_in_turns(world, &mut variants, (options.rounds, options.steps), &batch, make)?;
    if world.rank() == 0 {
        let Options { hidden, cells, batch, after, .. } = options;
        println!(
            "GRU, {:?}, length {length}, final time {}, {cells} cells of {hidden}, batch {batch}, {} {}, coarse steps {:?} in {} parts, input {:?}; errors after {after} steps (loss {loss:.3})",
            config.form,
            config.final_time,
            world.size(),
            if under_mpi() { "processes (MPI)" } else { "threads" },
            config.coarse,
            config.coarse_parts,
            config.coarse_input,
        );
        print(&mut variants);
    }
    Ok(())
}
