//! The solver's own cost: a scalar problem with a million points, three levels, cfactor 4, FCF.
//!
//! `cargo bench -p benches --bench solver -- [--repeats N] [--json FILE]`, on one thread.
#![allow(missing_docs)]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use braidnet::comm::Communicator;
use braidnet::grid::{Coarsening, LastInterval, Partition, TimeGrid};
use braidnet::mgrit::model::{Dahlquist, Method};
use braidnet::mgrit::{Guess, Mgrit, MgritError, MgritOptions, Relaxation, ResidualForm};
use braidnet::monitor::{Measurement, Seconds, Transport};
use braidnet::train::memory;
use clap::Parser;

const POINTS: usize = 1_000_000;
const CYCLES: usize = 5;

#[derive(Debug, Parser)]
struct Options {
    /// Solves that are timed, after one that is not
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,
    /// Appends a line of JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn solver(iterations: usize) -> Result<Mgrit<f64>, MgritError> {
    let grid = TimeGrid::uniform(POINTS, 0.0, POINTS as f64 / 2.0)?;
    let coarsening = Coarsening { max_levels: 3, cfactors: vec![4], min_coarse: 2, last_interval: LastInterval::Tail };
    let options = MgritOptions {
        relaxation: vec![Relaxation::Fcf(1)],
        skip_downcycle: false,
        ..MgritOptions::network(coarsening, iterations)
    };
    Mgrit::new(&grid, &Partition::even(POINTS, 1)?, options, &Communicator::alone())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let problem = Dahlquist { lambda: -1.0, method: Method::BackwardEuler, residual: ResidualForm::OneStep };
    memory::reset_peak();
    let before = memory::peak();
    let mut solver = solver(CYCLES)?;
    let mut times = Vec::new();
    for repeat in 0..=options.repeats {
        let start = Instant::now();
        black_box(solver.solve(&problem, Some(1.0), Guess::From(&|_| 0.456))?);
        if repeat > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    let seconds = Seconds::of(times).ok_or("nothing was timed: give --repeats above 0")?;
    let each = |seconds: f64| 1e6 * seconds / (POINTS * CYCLES) as f64;
    let [low, median, high] = [seconds.first_decile, seconds.median, seconds.last_decile].map(each);
    println!(
        "scalar, {POINTS} points, 3 levels, cfactor 4, FCF: {median:.4} us per point and cycle ({low:.4}-{high:.4})"
    );
    let peak_bytes = memory::peak().zip(before).map(|(peak, before)| peak.saturating_sub(before));
    if let Some(bytes) = peak_bytes {
        println!("memory: {:.1} bytes per point", bytes as f64 / POINTS as f64);
    }
    if let Some(path) = options.json {
        let measurement = Measurement {
            bench: "solver".to_owned(),
            case: format!("scalar:{POINTS}, {CYCLES} cycles"),
            variant: "3 levels, cfactor 4, FCF".to_owned(),
            ranks: 1,
            transport: Transport::None,
            device: "cpu".to_owned(),
            seconds: Some(seconds),
            peak_bytes,
            ..Measurement::default()
        };
        measurement.append(path)?;
    }
    Ok(())
}
