//! Ways of a training step side by side: any network, any ranks, every schedule.
//!
//! `cargo bench -p benches --bench study -- --network conv:36x3 --ranks 1,2 --preset strong`; under `mpirun -n 2` (build with
//! `--features mpi`) the ranks are processes. Variants take turns, so that a machine that slows down slows all of them. Errors are
//! those of the first batch: at the initial parameters, and after `--train-steps N` steps done layer by layer.
#![allow(missing_docs)]

use std::num::NonZeroUsize;
use std::process::{Command, ExitCode};

use benches::{Built, Case, CompareArgs, Group, Preset, Rates, Variant, Visit, Way, compare, on_ranks};
use braidnet::comm::{mpi_world_size, under_mpi};
use braidnet::monitor::Measurement;
use braidnet::prelude::*;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

#[derive(Debug, Clone, Parser)]
#[command(name = "study", about = "Times ways of a training step, in turns")]
struct Options {
    /// Networks: conv:LAYERSxCHANNELS, encoder:LAYERS, gru:LENGTH, blocks:LAYERS_PER_BLOCK or voxels:SIDExLAYERS, and @BATCH
    #[arg(long, value_delimiter = ',', default_value = "conv:36x3")]
    network: Vec<Case>,
    /// Ranks that variants are timed on [default: 2, under mpirun all]
    #[arg(long, value_delimiter = ',')]
    ranks: Vec<NonZeroUsize>,
    /// Variants, each on all ranks: seq, lp:LEVELS/CFACTOR/FORWARD/BACKWARD, mixed:LEVELS/CFACTOR/BACKWARD, dp,
    /// pipe:MICRO_BATCHES; with +fcf, +join, +recompute, +dp:COPIES
    #[arg(long, value_delimiter = ',', conflicts_with = "preset")]
    variants: Vec<Way>,
    /// A list of variants
    #[arg(long, value_enum, default_value_t = Preset::Quick)]
    preset: Preset,
    /// Measures the peak memory of all ranks together in a process of its own for every variant. A single variant's is always
    /// measured; under MPI it is that of the largest process
    #[arg(long)]
    memory: bool,
    /// Measures the device's memory and arithmetic, and tells which part of each time they account for
    #[arg(long)]
    floor: bool,
    #[command(flatten)]
    compare: CompareArgs,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut ranks: Vec<usize> = options.ranks.iter().map(|n| n.get()).collect();
    if ranks.is_empty() {
        ranks.push(mpi_world_size().unwrap_or(2));
    }
    let most = ranks.iter().copied().max().unwrap_or(1);
    let n_ranks = mpi_world_size().unwrap_or(most);
    if most > n_ranks {
        refuse(format!("--ranks {most}, but mpirun started {n_ranks} processes: start as many"));
    }
    if options.memory && under_mpi() {
        refuse(
            "--memory starts a program per variant, which ranks of MPI cannot: time one variant per start".to_owned(),
        );
    }
    let groups: Vec<Group> = options.network.iter().flat_map(|case| groups(&options, *case, &ranks)).collect();
    let peaks: Result<Vec<_>, _> = match options.memory {
        true => groups.iter().map(|group| peaks(&options, group)).collect(),
        false => Ok(vec![Vec::new(); groups.len()]),
    };
    let peaks = match peaks {
        Ok(peaks) => peaks,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    on_ranks(Some(n_ranks), &options.compare, |world, device| {
        let rates = if options.floor { rates(world, device)? } else { None };
        groups.iter().zip(&peaks).try_for_each(|((case, ways), peaks)| {
            let mut variants: Vec<_> = ways.iter().map(|(way, ranks)| Variant::new(way.clone(), *ranks)).collect();
            variants.iter_mut().zip(peaks).for_each(|(variant, peak)| variant.peak_bytes = *peak);
            case.visit(
                options.compare.n_batches(),
                device,
                Study { case: *case, rates, args: &options.compare, world, variants },
            )
        })
    })
}

/// What the device of the first rank does at most, which that rank measures while the others wait.
fn rates(world: &Communicator, device: &Device) -> Result<Option<Rates>, TrainError> {
    let mut rates = None;
    if world.rank() == 0 {
        let measured = Rates::measure(device).map_err(|reason| world.abort(&reason))?;
        println!("{:.4} GB/s, {:.4} GFLOP/s in single precision", 1e-9 * measured.bytes, 1e-9 * measured.operations);
        rates = Some(measured);
    }
    world.barrier()?;
    Ok(rates)
}

/// Ends with what is wrong with the options.
fn refuse(reason: String) -> ! {
    Options::command().error(ErrorKind::ValueValidation, reason).exit()
}

fn groups(options: &Options, case: Case, ranks: &[usize]) -> Vec<Group> {
    if options.variants.is_empty() {
        return options.preset.groups(case, ranks);
    }
    let on = |&n: &usize| options.variants.iter().map(move |way| (way.clone(), n));
    vec![(case, ranks.iter().flat_map(on).collect())]
}

/// Peak memory of every variant of a group.
fn peaks(options: &Options, (case, ways): &Group) -> Result<Vec<Option<u64>>, Box<dyn std::error::Error>> {
    ways.iter().map(|(way, ranks)| peak(options, *case, way, *ranks)).collect()
}

/// Peak memory of this program, started for one variant alone.
fn peak(options: &Options, case: Case, way: &Way, ranks: usize) -> Result<Option<u64>, Box<dyn std::error::Error>> {
    let json = std::env::temp_dir().join(format!("braidnet-study-{}.jsonl", std::process::id()));
    let device = options.compare.device.device;
    let args = [
        ("--network", case.to_string()),
        ("--variants", way.to_string()),
        ("--ranks", ranks.to_string()),
        ("--device", device.to_string()),
    ];
    let mut program = Command::new(std::env::current_exe()?);
    program.args(args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    let output = program.args(["--rounds", "1", "--steps", "1", "--no-errors", "--json"]).arg(&json).output()?;
    if !output.status.success() {
        return Err(format!("{way} on {ranks}: {}", String::from_utf8_lossy(&output.stderr).trim_end()).into());
    }
    let measured = Measurement::read(&json)?;
    std::fs::remove_file(&json)?;
    Ok(measured.first().and_then(|measurement| measurement.peak_bytes))
}

/// Measures the variants of a network.
struct Study<'a> {
    case: Case,
    rates: Option<Rates>,
    args: &'a CompareArgs,
    world: &'a Communicator,
    variants: Vec<Variant>,
}

impl Visit for Study<'_> {
    type Out = ();

    fn visit<N: Network + 'static>(mut self, mut built: Built<N>) -> Result<(), TrainError> {
        if let Some(rates) = self.rates {
            built.floor = self.case.work(built.n_parameters()?).map(|work| work.floor(&rates));
        }
        compare("study", self.world, &mut [built], &mut self.variants, self.args)
    }
}
