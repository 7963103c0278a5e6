//! Where a solve starts from.

use std::cell::RefCell;

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_grid::LastInterval;
use braidnet_mgrit::{Guess, Mgrit, MgritOptions};

use crate::common::problems::Scalar;
use crate::common::run::{on, own_states};
use crate::common::v_cycles;
use crate::forward::same_as_alone;
use crate::{Checked, bits, even, same, text};

pub const TESTS: &[RankTest] = &[
    ("a_warm_start_goes_on_where_the_last_solve_ended", a_warm_start_goes_on_where_the_last_solve_ended),
    ("a_second_solve_forgets_the_first", a_second_solve_forgets_the_first),
    ("a_guess_is_asked_for_the_points_held", a_guess_is_asked_for_the_points_held),
];

fn options(max_iters: usize) -> MgritOptions {
    let mut options = v_cycles(3, 3, 1, max_iters);
    options.coarsening.last_interval = LastInterval::Short;
    options
}

fn guess(n: usize) -> f64 {
    (n as f64).cos()
}

fn a_warm_start_goes_on_where_the_last_solve_ended(comm: &Communicator) -> Checked {
    let Some(partition) = even(20, comm) else { return Ok(()) };
    let problem = Scalar::generic(20);
    let grid = problem.grid(0.2);
    let whole = on(comm, (&grid, &partition, &options(3)), &problem, 0.5, &guess).map_err(text)?;
    let mut solver = Mgrit::new(&grid, &partition, options(1), comm).map_err(text)?;
    solver.solve(&problem, Some(0.5), Guess::From(&guess)).map_err(text)?;
    let before: Vec<_> = own_states(&solver).iter().map(bits).collect();
    for k in 1..3 {
        let report = solver.solve(&problem, Some(0.5), Guess::Warm).map_err(text)?;
        same("the first norm", report.residuals[0], whole.report.residuals[k])?;
    }
    let (got, expected): (Vec<_>, Vec<_>) =
        (own_states(&solver).iter().map(bits).collect(), whole.states.iter().map(bits).collect());
    same("states", &got, &expected)?;
    if got == before && comm.rank() + 1 == comm.size() {
        return Err("the warm iterations changed nothing".to_owned());
    }
    Ok(())
}

/// Right-hand sides and states of an earlier solve leave no trace.
fn a_second_solve_forgets_the_first(comm: &Communicator) -> Checked {
    let Some(partition) = even(20, comm) else { return Ok(()) };
    let problem = Scalar::generic(20);
    let grid = problem.grid(0.2);
    for skip_downcycle in [false, true] {
        let options = MgritOptions { skip_downcycle, ..options(2) };
        let mut solver = Mgrit::new(&grid, &partition, options, comm).map_err(text)?;
        let first = solver.solve(&problem, Some(0.5), Guess::From(&guess)).map_err(text)?;
        let expected: Vec<_> = own_states(&solver).iter().map(bits).collect();
        solver.solve(&problem, Some(-3.0), Guess::From(&|_| 7.0)).map_err(text)?;
        let again = solver.solve(&problem, Some(0.5), Guess::From(&guess)).map_err(text)?;
        same("states", own_states(&solver).iter().map(bits).collect(), expected)?;
        same("evaluations", again.evaluations, first.evaluations)?;
        same("messages", again.messages, first.messages)?;
    }
    Ok(())
}

fn a_guess_is_asked_for_the_points_held(comm: &Communicator) -> Checked {
    let Some(partition) = even(20, comm) else { return Ok(()) };
    let problem = Scalar::generic(20);
    let grid = problem.grid(0.2);
    let asked = RefCell::new(Vec::new());
    let record = |n| {
        asked.borrow_mut().push(n);
        guess(n)
    };
    on(comm, (&grid, &partition, &options(1)), &problem, 0.5, &record).map_err(text)?;
    let layers = partition.layers(comm.rank());
    same("points asked for", asked.into_inner(), (layers.start..=layers.end).collect())?;
    for guess in [guess as fn(usize) -> f64, |n| 3.0 / (1.0 + n as f64)] {
        same_as_alone(comm, (&grid, &partition, &options(1)), &problem, &0.5, &guess)?;
    }
    Ok(())
}
