//! Predicts training steps on ranks that need not be there, and proposes schedules.
//!
//! `plan --network conv:36x3 --ranks 1..64` measures what the network's parts and a message cost here; `--machine FILE` reads that. Each
//! step is then simulated on virtual clocks, by the code that trains ([`braidnet::train::predict`]).
#![allow(missing_docs)]

mod candidates;
mod errors;
mod measure;
mod ranks;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use benches::{Case, Way};
use braidnet::prelude::*;
use braidnet::train::predict::{MachineFile, PredictError};
use clap::Parser;

use candidates::Planned;
use ranks::RankCounts;

#[derive(Debug, Clone, Parser)]
#[command(name = "plan", about = "Predicts training steps on ranks that need not be there, and proposes schedules")]
pub struct Options {
    /// The network, as conv:36x3, encoder:32, gru:128, blocks:16 or voxels:31x128; with --machine, that of the file
    #[arg(long, required_unless_present = "machine")]
    network: Option<Case>,
    /// Numbers of ranks: 4, or 1,2,4, or 1..1024 for powers of two
    #[arg(long)]
    ranks: RankCounts,
    /// Reads costs and links from this file in place of measuring them
    #[arg(long, conflicts_with_all = ["validate", "save_machine"])]
    machine: Option<PathBuf>,
    /// Writes what was measured to this file
    #[arg(long)]
    save_machine: Option<PathBuf>,
    /// Samples of the global batch [default: that of the network, or of the file]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Largest gradient error of a proposal at the initial parameters, in per cent, where it can be measured
    #[arg(long, default_value_t = 5.0, value_parser = per_cent)]
    max_error: f64,
    /// Schedules per kind and number of ranks whose gradient error is measured, the fastest first; 0: none
    #[arg(long, default_value_t = 6)]
    errors_of: usize,
    /// Predicts these schedules alone, as seq,dp,pipe:8,lp:3/4/2/1,mixed:3/4/1+fcf,lp:2/8/1/1+dp:2, in place of proposing some
    #[arg(long, value_delimiter = ',')]
    variants: Vec<Way>,
    /// Runs real steps on 1 and 2 ranks, in turns with the measuring, and compares
    #[arg(long)]
    validate: bool,
    /// Rounds of measuring
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    #[command(flatten)]
    device: DeviceArgs,
    /// Appends a line of JSON per prediction to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

fn per_cent(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| format!("{text:?} is no error: use a number of per cent, at least 0"))
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
enum PlanError {
    #[error(transparent)]
    Predict(#[from] PredictError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Device(#[from] braidnet::device::DeviceError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Monitor(#[from] braidnet::monitor::MonitorError),
    #[error("the machine file is of {file}, but --network says {network}: leave one of them out")]
    OtherNetwork { file: String, network: Case },
}

fn main() -> ExitCode {
    match plan(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plan: {error}");
            ExitCode::from(if matches!(error, PlanError::Launch(_)) { 1 } else { 2 })
        }
    }
}

fn plan(options: &Options) -> Result<(), PlanError> {
    let mut case = options.network;
    if let (Some(case), Some(batch)) = (&mut case, options.batch) {
        case.batch = batch as usize;
    }
    let Some(file) = machine(options, case)? else { return Ok(()) };
    let batch = case.map_or(file.costs.batch, |case| case.batch);
    let batch = options.batch.map_or(batch, |n| n as usize);
    report::machine(&file, batch);
    let mut planned = Planned::new(&file, batch, options)?;
    match case.filter(|_| options.errors_of > 0) {
        Some(case) => errors::measure(case, &mut planned, options)?,
        None => println!("\nGradient errors are not known: the network is not run here."),
    }
    report::ranks(&planned, options.max_error / 100.0);
    report::curve(&planned, options.max_error / 100.0);
    if let Some(path) = &options.json {
        report::json(&planned, &file, path)?;
    }
    Ok(())
}

/// What was measured or read; nothing on the other processes of an MPI job.
fn machine(options: &Options, case: Option<Case>) -> Result<Option<MachineFile>, PlanError> {
    let Some(path) = &options.machine else {
        let Some(file) = case.map(|case| measure::run(case, options)).transpose()?.flatten() else { return Ok(None) };
        if let Some(path) = &options.save_machine {
            file.write(path)?;
        }
        return Ok(Some(file));
    };
    let file = MachineFile::read(path)?;
    let without_batch = |name: &str| name.split('@').next().unwrap_or_default().to_owned();
    match case {
        Some(network) if without_batch(&network.to_string()) != without_batch(&file.costs.network) => {
            Err(PlanError::OtherNetwork { file: file.costs.network, network })
        }
        _ => Ok(Some(file)),
    }
}
