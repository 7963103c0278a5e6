//! Compares networks with PyTorch: loss, output and every gradient, for every schedule and rank count.

#[path = "reference/mod.rs"]
mod reference;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use braidnet::comm::mpi_world_size;
use braidnet::describe;
use braidnet::monitor::logging;
use braidnet::prelude::*;
use clap::Parser;

use reference::{Family, File, compare, schedules};

/// Exit code where a file's family is not built yet and nothing else is wrong.
const NOT_BUILT: u8 = 2;

/// Builds the network that each file's metadata describes, loads its parameters and compares loss, output and gradients.
#[derive(Debug, Parser)]
struct Options {
    /// safetensors files written by PyTorch.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Rank counts, one after the other; under mpirun at most the ranks started, and all of them by default.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    ranks: Vec<usize>,
    #[command(flatten)]
    device: DeviceArgs,
}

fn main() -> ExitCode {
    compare_all().unwrap_or_else(|error| {
        eprintln!("error: {}", describe(error.as_ref()));
        ExitCode::FAILURE
    })
}

fn compare_all() -> anyhow::Result<ExitCode> {
    let mut options = Options::parse();
    logging::init(None)?;
    if let Some(size) = mpi_world_size() {
        let given = std::env::args().any(|a| a.starts_with("--ranks"));
        options.ranks = if given { options.ranks } else { vec![size] };
    }
    let files = options.files.iter().map(|path| File::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let is_built = |file: &File| Family::BUILT.contains(&file.case.family.as_str());
    let (built, not_built): (Vec<File>, Vec<File>) = files.into_iter().partition(is_built);
    for File { name, case, .. } in &not_built {
        eprintln!("{name}: the family {:?} is not built yet ({} are)", case.family, Family::BUILT.join(", "));
    }
    for file in &built {
        Family::of(file)?;
    }
    let most = options.ranks.iter().copied().max().unwrap_or(1);
    ensure!(!options.ranks.contains(&0), "0 ranks: every rank count must be at least 1");
    let failures = launch(&Launch::ranks(mpi_world_size().or(Some(most))), |world| {
        run(&world, &built, &options).map_err(|error| describe(error.as_ref()))
    })?;
    Ok(match (failures.into_iter().max().unwrap_or(0), not_built.is_empty()) {
        (1.., _) => ExitCode::FAILURE,
        (0, false) => ExitCode::from(NOT_BUILT),
        (0, true) => ExitCode::SUCCESS,
    })
}

/// Returns the number of failures, the same on all ranks that took part.
fn run(world: &Communicator, files: &[File], options: &Options) -> anyhow::Result<usize> {
    let mut failures = 0;
    // Of all ranks, only to know which share a machine.
    let all = MeshConfig { layer_ranks: Degree::Auto, data_ranks: Degree::Exactly(1) };
    let device = options.device.device(&Mesh::new(world, &all, world.size())?)?;
    for file in files {
        let family = Family::of(file)?;
        for &n in &options.ranks {
            let Some(comm) = world.first_ranks(n)? else { continue };
            for (name, schedule) in schedules() {
                let Some(outcome) = compare(file, &family, &schedule, (&comm, &device))? else { continue };
                let verdict = if outcome.passes() { "ok" } else { "FAILS" };
                failures += usize::from(!outcome.passes());
                let ranks = if n == 1 { "rank" } else { "ranks" };
                println!("{:<16} {n} {ranks:<5} {name:<36} {outcome}  {verdict}", file.name);
            }
        }
    }
    let total = world.all_gather(failures, &())?.into_iter().sum();
    if world.rank() == 0 && !files.is_empty() {
        println!("{} files, {total} comparisons fail", files.len());
    }
    Ok(total)
}
