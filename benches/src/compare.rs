//! All of a bench of training steps: times, errors, a table.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use braidnet::describe;
use braidnet::prelude::*;
use braidnet::train::memory;
use clap::Args;

use crate::{At, Built, Variant, kind_of_ranks, measure_errors, report, time_in_turns, train};

/// Options of every bench that compares ways of a training step.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Rounds in which every variant is timed
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Steps per round that are timed, after at least two that are not: as many as it takes until they become no faster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// Measures no errors
    #[arg(long)]
    no_errors: bool,
    /// Steps of training, layer by layer, after which errors are measured again, if any
    #[arg(long, default_value_t = 0, conflicts_with = "no_errors")]
    train_steps: usize,
    /// Learning rate of those, by Adam
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Appends a line of JSON per variant to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    /// Where tensors are.
    #[command(flatten)]
    pub device: DeviceArgs,
}

impl CompareArgs {
    /// Batches that must be there: the one that is measured, and one per step of training.
    pub fn n_batches(&self) -> usize {
        self.train_steps + 1
    }
}

/// Runs `program` on so many ranks, threads or under `mpirun` processes, each with its device, and says what went wrong.
pub fn on_ranks(
    n_ranks: Option<usize>,
    args: &CompareArgs,
    program: impl Fn(&Communicator, &Device) -> Result<(), TrainError> + Send + Sync,
) -> ExitCode {
    let on_rank = |world: Communicator| {
        let device = own_device(&args.device, &world).map_err(|error| describe(error.as_ref()))?;
        program(&world, &device).map_err(|error| error.to_string())
    };
    match launch(&Launch::ranks(n_ranks), on_rank) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The device of this rank.
///
/// # Errors
/// Those of [`Mesh::new`] and [`DeviceArgs::device`].
///
/// # Communication
/// Collective over `world`.
pub fn own_device(args: &DeviceArgs, world: &Communicator) -> Result<Device, Box<dyn Error>> {
    // Of all ranks, only to know which share a machine.
    let all = MeshConfig { layer_ranks: Degree::Auto, data_ranks: Degree::Exactly(1) };
    Ok(args.device(&Mesh::new(world, &all, world.size())?)?)
}

/// Times all variants in turns, measures their errors, and reports on the first rank. `networks` have the same parameters; the
/// first one is trained. Layers that differ are shared out by cost, of which all ranks measure their own at the same time.
///
/// # Errors
/// A failed step, ranks that a variant cannot be spread over, or a file that cannot be written.
///
/// # Communication
/// Collective over `world`.
pub fn compare<N: Network>(
    bench: &str,
    world: &Communicator,
    networks: &mut [Built<N>],
    variants: &mut [Variant],
    args: &CompareArgs,
) -> Result<(), TrainError> {
    for built in networks.iter_mut().filter(|built| built.layers_differ) {
        built.measure_costs(world)?;
    }
    // Before errors are measured, which need more.
    memory::reset_peak();
    time_in_turns(world, networks, variants, (args.rounds.into(), args.steps.into()))?;
    if let [only] = variants {
        let peaks = world.all_gather(memory::peak().unwrap_or(0), &())?;
        only.peak_bytes = peaks.into_iter().max().filter(|bytes| *bytes > 0);
    }
    let mut errors = "not measured".to_owned();
    if !args.no_errors {
        measure_errors(world, networks, variants, At::Start)?;
        errors = "at the start".to_owned();
    }
    if let (Some(first), true) = (networks.first(), args.train_steps > 0) {
        let adam = (OptimizerConfig::Adam, args.learning_rate);
        let (loss, parameters) = train(world, first, args.train_steps, adam)?;
        measure_errors(world, networks, variants, At::Trained(&parameters))?;
        errors += &format!(" and after {} steps (loss {loss:.3})", args.train_steps);
    }
    if let (Some(first), 0) = (networks.first(), world.rank()) {
        println!("{}, {} {}; errors {errors}", first.name, world.size(), kind_of_ranks());
        report(bench, networks, variants, (args.json.as_deref(), args.device.device))?;
    }
    Ok(())
}
