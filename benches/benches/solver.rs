//! The solver's own cost: a scalar problem with a million points, three levels, cfactor 4, FCF.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use braidnet::comm::Communicator;
use braidnet::grid::{Coarsening, LastInterval, Partition, TimeGrid};
use braidnet::mgrit::model::{Dahlquist, Method};
use braidnet::mgrit::{Guess, Mgrit, MgritError, MgritOptions, Relaxation, ResidualForm};
use braidnet::train::memory;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const POINTS: usize = 1_000_000;
const CYCLES: usize = 5;

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

fn cycles(c: &mut Criterion) {
    let problem = Dahlquist { lambda: -1.0, method: Method::BackwardEuler, residual: ResidualForm::OneStep };
    memory::reset_peak();
    let before = memory::peak().unwrap_or(0);
    let Ok(mut solver) = solver(CYCLES) else { return eprintln!("the options of this bench are invalid") };
    let mut group = c.benchmark_group("scalar, 1e6 points, 3 levels, cfactor 4, FCF");
    group.throughput(Throughput::Elements((POINTS * CYCLES) as u64)).sample_size(10);
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("points x cycles", |b| {
        b.iter(|| black_box(solver.solve(&problem, Some(1.0), Guess::From(&|_| 0.456))).is_ok());
    });
    group.finish();
    if let Some(peak) = memory::peak() {
        println!("memory: {:.1} bytes per point", (peak.saturating_sub(before)) as f64 / POINTS as f64);
    }
}

criterion_group!(benches, cycles);
criterion_main!(benches);
