//! Bad options and bad grids: refused before any communication, with the value and the remedy in the message.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

mod common;

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::{Coarsening, GridError, LastInterval, Partition, TimeGrid};
use braidnet_mgrit::{Cycle, Guess, Mgrit, MgritError, MgritOptions, Sources, TemporalNorm, Tolerance, solve_adjoint};

use common::problems::Scalar;
use common::tunable::Tunable;
use common::v_cycles;

const N: usize = 12;

fn network() -> MgritOptions {
    MgritOptions::network(Coarsening::network(2, 4), 1)
}

fn solver(options: MgritOptions, partition: &Partition) -> Result<Mgrit<f64>, MgritError> {
    Mgrit::new(&TimeGrid::uniform(N, 0.0, 1.0).unwrap(), partition, options, &Communicator::alone())
}

fn one_rank() -> Partition {
    Partition::even(N, 1).unwrap()
}

fn message<T>(result: Result<T, MgritError>) -> String {
    result.err().map_or_else(|| "no error".to_owned(), |error| error.to_string())
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn every_invalid_option_names_value_and_remedy() {
    let f_cycles = Cycle::F { v_cycles: 0, iterations: None };
    let norm = Some(TemporalNorm::Two);
    let levels = |coarsening| MgritOptions { coarsening, ..network() };
    let factors = |cfactors| levels(Coarsening { cfactors, ..Coarsening::network(3, 2) });
    let cases: [(MgritOptions, &[&str]); 11] = [
        (MgritOptions { max_iters: 0, ..network() }, &["max_iters is 0", "use at least 1"]),
        (MgritOptions { c_weights: vec![0.0], ..network() }, &["weight 0", "finite and above 0"]),
        (MgritOptions { c_weights: vec![1.0, -0.5], ..network() }, &["weight -0.5", "finite and above 0"]),
        (MgritOptions { c_weights: vec![f64::INFINITY], ..network() }, &["weight inf", "finite and above 0"]),
        (MgritOptions { c_weights: vec![f64::NAN], ..network() }, &["weight NaN", "finite and above 0"]),
        (MgritOptions { cycle: f_cycles, ..network() }, &["at least 1 V-cycle", "got 0"]),
        (MgritOptions { tolerance: Some(Tolerance::Absolute(1.0)), ..network() }, &["norm", "choose one, or drop"]),
        (MgritOptions { tolerance: Some(Tolerance::Relative(f64::NAN)), norm, ..network() }, &["tolerance is NaN"]),
        (levels(Coarsening::network(0, 2)), &["max_levels is 0", "use 1 for a sequential solve"]),
        (factors(vec![]), &["no coarsening factor", "max_levels is 3", "give at least one"]),
        (factors(vec![2, 0]), &["factor of level 1 is 0", "at least 1"]),
    ];
    for (options, parts) in cases {
        assert_says(&message(options.validate()), parts);
        assert_says(&message(solver(options.clone(), &one_rank())), parts);
        let grid = TimeGrid::uniform(N, 0.0, 1.0).unwrap();
        assert_says(&message(Mgrit::<f64>::reversed(&grid, &one_rank(), options, &Communicator::alone())), parts);
    }
}

#[test]
fn all_problems_come_together() {
    let bad = MgritOptions {
        max_iters: 0,
        c_weights: vec![-2.0],
        cycle: Cycle::F { v_cycles: 0, iterations: None },
        tolerance: Some(Tolerance::Absolute(f64::NAN)),
        ..network()
    };
    let Err(MgritError::Options { problems }) = bad.validate() else { panic!("accepted") };
    assert_eq!(problems.len(), 5, "{problems:?}");
}

#[test]
fn too_many_levels_are_refused() {
    let options = MgritOptions { coarsening: Coarsening::network(300, 1), ..network() };
    assert_says(&message(solver(options, &one_rank())), &["300 levels", "at most 200", "lower max_levels"]);
    let most = MgritOptions { coarsening: Coarsening::network(200, 1), ..network() };
    assert!(solver(most, &one_rank()).is_ok());
}

#[test]
fn partitions_for_something_else_are_refused() {
    let ranks = message(solver(network(), &Partition::even(N, 3).unwrap()));
    assert_says(&ranks, &["3 ranks", "communicator has 1", "same ranks"]);
    let layers = message(solver(network(), &Partition::even(7, 1).unwrap()));
    assert_says(&layers, &["7 layers", "grid has 12", "same network"]);
    let too_many = message(Partition::even(3, 4).map_err(MgritError::from));
    assert_says(&too_many, &["4 layer ranks for 3 layers", "at most 3 ranks"]);
    assert!(matches!(TimeGrid::uniform(0, 0.0, 1.0), Err(GridError::NoSteps)));
}

#[test]
fn a_warm_start_needs_a_solve_and_point_0_a_state() {
    let problem = Scalar::generic(N);
    let mut cold = solver(network(), &one_rank()).unwrap();
    assert_says(&message(cold.solve(&problem, Some(1.0), Guess::Warm)), &["earlier solve", "pass an initial guess"]);
    let missing = cold.solve(&problem, None, Guess::From(&|_| 0.0));
    assert_says(&message(missing), &["rank 0 holds point 0", "no initial state", "pass it"]);
    assert!(cold.solve(&problem, Some(1.0), Guess::From(&|_| 0.0)).is_ok());
    assert!(cold.solve(&problem, Some(1.0), Guess::Warm).is_ok());
}

#[test]
fn the_adjoint_must_start_where_point_n_is() {
    let outcome = launch(&Launch::ranks(3), |comm| {
        let grid = TimeGrid::uniform(N, 0.0, 1.0).unwrap();
        let mut solver = Mgrit::reversed(&grid, &Partition::even(N, 3).unwrap(), network(), &comm)?;
        let initial = (comm.rank() == 0).then_some(1.0);
        solver.solve(&Scalar::generic(N), initial, Guess::From(&|_| 0.0)).map(drop)
    });
    assert_says(&outcome.unwrap_err().to_string(), &["rank 2 holds point 0", "pass it to solve on that rank"]);
}

#[test]
fn a_tail_has_no_adjoint() {
    let tail = |max_levels, cfactors: Vec<usize>| {
        let last_interval = LastInterval::Tail;
        let coarsening = Coarsening { max_levels, cfactors, min_coarse: 1, last_interval };
        let grid = TimeGrid::uniform(N, 0.0, 1.0).unwrap();
        let options = MgritOptions { coarsening, ..network() };
        Mgrit::<f64>::reversed(&grid, &one_rank(), options, &Communicator::alone())
    };
    assert_says(&message(tail(2, vec![5])), &["level 0 ends in a tail", "use LastInterval::Short"]);
    assert_says(&message(tail(3, vec![3, 3])), &["level 1 ends in a tail", "use LastInterval::Short"]);
    assert!(tail(2, vec![4]).is_ok());
    assert!(tail(1, vec![5]).is_ok());
    assert!(tail(2, vec![3, 3]).is_ok());
}

#[test]
fn forward_and_adjoint_must_own_the_same_layers() {
    let network_of = |comm: Communicator| -> Result<(), MgritError> {
        let tunable = Tunable::new(Scalar::generic(N), true);
        let grid = tunable.layers.grid(0.1);
        let (even, costs) = (Partition::even(N, 2)?, [[5.0; 6], [1.0; 6]].concat());
        let other = Partition::by_cost(&costs, 2)?;
        let mut forward = Mgrit::new(&grid, &even, network(), &comm)?;
        let mut adjoint = Mgrit::reversed(&grid, &other, network(), &comm)?;
        let (_, linearized) = forward.solve_linearized(&tunable, Some(1.0), Guess::From(&|_| 0.0))?;
        solve_adjoint(&mut adjoint, &tunable, &forward, linearized, Some(1.0), Sources::none(), Guess::From(&|_| 0.0))
            .map(drop)
    };
    let outcome = launch(&Launch::ranks(2), network_of);
    assert_says(&outcome.unwrap_err().to_string(), &["owns layers", "in the adjoint", "use one partition for both"]);
}

#[test]
fn a_tolerance_below_zero_runs_all_iterations() {
    let options = MgritOptions { tolerance: Some(Tolerance::Absolute(-1.0)), ..v_cycles(2, 3, 0, 9) };
    let mut solver = solver(options, &one_rank()).unwrap();
    let report = solver.solve(&Scalar::generic(N), Some(1.0), Guess::From(&|_| 0.0)).unwrap();
    assert_eq!((report.iterations, report.stop), (9, braidnet_mgrit::Stop::MaxIters));
}
