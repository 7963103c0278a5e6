//! Compares the solver with recorded XBraid runs, digit by digit.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use braidnet_comm::{Communicator, Launch, launch, mpi_world_size};
use braidnet_mgrit::model::{Case, CaseFile, Comparison, Verdict};
use clap::Parser;

/// Solves the model problems of a file of XBraid runs and compares iterations, residual norms and solutions.
#[derive(Debug, Parser)]
struct Options {
    /// JSON file of cases.
    file: PathBuf,
    /// Rank counts to run every case on, one after the other; under mpirun at most the ranks started, and all of
    /// them by default.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    ranks: Vec<usize>,
}

/// How many cases agree, differ as known, and fail.
type Counts = [usize; 3];

fn main() -> ExitCode {
    compare_all().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn compare_all() -> anyhow::Result<ExitCode> {
    let mut options = Options::parse();
    let text =
        std::fs::read_to_string(&options.file).with_context(|| format!("cannot read {}", options.file.display()))?;
    let CaseFile { cases } = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a file of model problem cases", options.file.display()))?;
    if cases.is_empty() {
        bail!("{} holds no cases", options.file.display());
    }
    if let Some(size) = mpi_world_size() {
        let given = std::env::args().any(|a| a.starts_with("--ranks"));
        options.ranks = if given { options.ranks } else { vec![size] };
    }
    if let Some(n) = options.ranks.iter().find(|n| **n == 0) {
        bail!("{n} ranks: every rank count must be at least 1");
    }
    let mut failed = 0;
    for n in options.ranks.clone() {
        failed += run_on(n, &cases, &options.file)?;
    }
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs all cases on `n` ranks and returns the number of failures.
fn run_on(n: usize, cases: &[Case], file: &Path) -> anyhow::Result<usize> {
    let outcome =
        launch(&Launch::ranks(mpi_world_size().or(Some(n))), |world| -> Result<Counts, braidnet_comm::CommError> {
            let Some(comm) = world.first_ranks(n)? else { return Ok([0; 3]) };
            let quiet = comm.rank() > 0;
            let mut counts = [0; 3];
            if !quiet {
                println!("{} on {n} {}", file.display(), if n == 1 { "rank" } else { "ranks" });
            }
            for case in cases {
                let line = compare(case, &comm, &mut counts);
                if !quiet {
                    println!("{line}");
                }
            }
            if !quiet {
                let [agree, known, fail] = counts;
                println!("{} cases: {agree} agree, {known} known differences, {fail} fail", cases.len());
            }
            Ok(counts)
        });
    Ok(outcome?.iter().map(|c| c[2]).max().unwrap_or(0))
}

fn compare(case: &Case, comm: &Communicator, counts: &mut Counts) -> String {
    match Comparison::run(case, comm) {
        Ok(comparison) => {
            let index = match comparison.verdict {
                Verdict::Agrees => 0,
                Verdict::KnownDifference(_) => 1,
                Verdict::Fails(_) => 2,
            };
            counts[index] += 1;
            comparison.to_string()
        }
        Err(error) => {
            counts[2] += 1;
            format!("{:<32} FAILS: {error}", case.name)
        }
    }
}
