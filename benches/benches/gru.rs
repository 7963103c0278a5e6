//! Ways of a training step of other recurrent networks than the bench `study` has, and Newton's method: time, state error and
//! gradient error.
//!
//! `cargo bench -p benches --bench gru -- [LENGTH] [options]`; under `mpirun -n 2` (build with `--features mpi`) the two ranks
//! are processes.
#![allow(missing_docs)]

use std::process::ExitCode;

use benches::{Built, CompareArgs, Variant, Way, compare, on_ranks, samples};
use braidnet::comm::mpi_world_size;
use braidnet::data::motion;
use braidnet::nn::gru::{GruCoarse, GruConfig, GruForm, GruNet};
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
    #[command(flatten)]
    compare: CompareArgs,
}

fn main() -> ExitCode {
    let options = Options::parse();
    on_ranks(mpi_world_size().or(Some(2)), &options.compare, |world, device| {
        for length in &options.length {
            let networks = &mut [built(&options, *length, device)?];
            compare("gru", world, networks, &mut variants(&options, world.size()), &options.compare)?;
        }
        Ok(())
    })
}

fn variants(options: &Options, ranks: usize) -> Vec<Variant> {
    let alone = [Way::sequential(), Way::parallel(2, 8, [1, 1]), Way::parallel(2, 32, [1, 1])];
    let mut all: Vec<_> = alone.map(|way| Variant::new(way, 1)).into();
    all.push(Variant::new(Way::sequential(), ranks));
    let few = [(2, 8, 1, 1), (2, 16, 1, 1), (2, 16, 2, 1), (2, 16, 2, 2), (3, 4, 2, 1)];
    let more = [(2, 4, 1, 1), (2, 4, 2, 2), (2, 8, 2, 1), (2, 8, 2, 2), (2, 32, 1, 1), (2, 32, 2, 2)];
    let mixed = [(2, 8, 0, 1), (2, 16, 0, 1), (2, 16, 0, 2)];
    for (levels, cfactor, forward, backward) in
        few.into_iter().chain(more.into_iter().filter(|_| options.many)).chain(mixed)
    {
        all.push(Variant::new(Way::parallel(levels, cfactor, [forward, backward]), ranks));
    }
    for (forward, backward) in [(2, 1), (4, 2), (8, 4)].into_iter().filter(|_| options.newton) {
        let [forward_solve, backward_solve] = [forward, backward].map(SolveConfig::newton);
        let schedule = Schedule { forward: forward_solve, backward: backward_solve, ..Schedule::sequential() };
        all.push(Variant::new(schedule.into(), ranks).named(format!("Newton, {forward}/{backward}")));
    }
    all
}

fn built(options: &Options, length: usize, device: &Device) -> Result<Built<GruNet>, TrainError> {
    let config = GruConfig {
        form: if options.explicit { GruForm::Explicit } else { GruForm::Implicit },
        coarse: if options.rediscretised { GruCoarse::Rediscretised } else { GruCoarse::Frozen },
        coarse_parts: options.parts,
        final_time: options.final_time.unwrap_or(length as f64),
        coarse_input: if options.mean_input { CoarseOperator::Mean } else { CoarseOperator::FirstLayer },
        ..GruConfig::new(length, motion::CHANNELS, options.hidden, options.cells, motion::CLASSES)
    };
    let name = format!(
        "gru:{length}@{}, {:?}, final time {}, {} cells of {}, coarse steps {:?} in {} parts, input {:?}",
        options.batch,
        config.form,
        config.final_time,
        options.cells,
        options.hidden,
        config.coarse,
        config.coarse_parts,
        config.coarse_input,
    );
    let samples = samples::windows(length, options.batch * options.compare.n_batches(), device);
    let grid = config.grid()?;
    let device = device.clone();
    let init = move |range| config.init(range, 0, &device);
    // A coarse step reads the inputs of its whole run.
    Ok(Built::new((name, options.batch), grid, CoarseOperator::Mean, init, samples))
}
