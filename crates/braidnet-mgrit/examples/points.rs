//! Solves a scalar problem with so many points and cycles: the solver's own work, for tools that count instructions.

use anyhow::ensure;
use braidnet_comm::Communicator;
use braidnet_grid::{Coarsening, LastInterval, Partition, TimeGrid};
use braidnet_mgrit::model::{Dahlquist, Method};
use braidnet_mgrit::{Guess, Mgrit, MgritOptions, Relaxation, ResidualForm};
use clap::Parser;

/// Solves u' = -u by backward Euler: three levels, coarsening factor 4, FCF-relaxation, on one rank.
///
/// Every cycle does the same work, so that runs that differ only in their cycles tell what a cycle costs.
#[derive(Debug, Parser)]
struct Options {
    /// Time points.
    #[arg(long, default_value_t = 100_000)]
    points: usize,
    /// Multigrid cycles.
    #[arg(long, default_value_t = 5)]
    cycles: usize,
}

fn main() -> anyhow::Result<()> {
    let Options { points, cycles } = Options::parse();
    ensure!(points >= 64, "{points} points are too few for three levels; give at least 64");
    ensure!(cycles >= 1, "no cycles; give at least 1");
    let grid = TimeGrid::uniform(points, 0.0, points as f64 / 2.0)?;
    let coarsening = Coarsening { max_levels: 3, cfactors: vec![4], min_coarse: 2, last_interval: LastInterval::Tail };
    let options = MgritOptions {
        relaxation: vec![Relaxation::Fcf(1)],
        skip_downcycle: false,
        ..MgritOptions::network(coarsening, cycles)
    };
    let problem = Dahlquist { lambda: -1.0, method: Method::BackwardEuler, residual: ResidualForm::OneStep };
    let mut solver = Mgrit::new(&grid, &Partition::even(points, 1)?, options, &Communicator::alone())?;
    let report = solver.solve(&problem, Some(1.0), Guess::From(&|_| 0.456))?;
    println!("{points} points, {} cycles", report.iterations);
    Ok(())
}
