//! Solves on ranks, their results put together.

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::{Partition, TimeGrid};
use braidnet_mgrit::{Guess, Mgrit, MgritError, MgritOptions, Propagator, SolveReport, State};

/// A solve as seen from outside: all states, counts added up over the ranks.
pub struct Solved<S> {
    /// Point of the first state.
    pub first: usize,
    pub states: Vec<S>,
    pub report: SolveReport,
}

/// States of the points that this rank produces, and of point 0 where it is held.
pub fn own_states<S: State>(solver: &Mgrit<S>) -> Vec<S> {
    let share = solver.layout().share(0);
    let first = usize::from(share.steps.start > 0);
    share.points().skip(first).filter_map(|n| solver.state(n).cloned()).collect()
}

/// Solves on `comm`; every rank gets its own states and the summed report.
pub fn on<P: Propagator>(
    comm: &Communicator,
    setup: (&TimeGrid, &Partition, &MgritOptions),
    problem: &P,
    initial: P::State,
    guess: &dyn Fn(usize) -> P::State,
) -> Result<Solved<P::State>, MgritError> {
    let (grid, partition, options) = setup;
    let mut solver = Mgrit::new(grid, partition, options.clone(), comm)?;
    let report = solver.solve(problem, Some(initial), Guess::From(guess))?;
    let first = solver.layout().share(0).steps.start;
    let first = if first == 0 { 0 } else { first + 1 };
    Ok(Solved { first, states: own_states(&solver), report: report.over_all_ranks(comm)? })
}

/// Solves on as many threads as the partition has ranks.
pub fn on_threads<P>(
    setup: (&TimeGrid, &Partition, &MgritOptions),
    problem: &P,
    initial: &P::State,
    guess: &(dyn Fn(usize) -> P::State + Sync),
) -> Solved<P::State>
where
    P: Propagator + Sync,
    P::State: Sync,
{
    let ranks = Some(setup.1.n_ranks());
    let all = launch(&Launch::ranks(ranks), |comm| on(&comm, setup, problem, initial.clone(), guess)).unwrap();
    let report = all[0].report.clone();
    Solved { first: 0, states: all.into_iter().flat_map(|solved| solved.states).collect(), report }
}

/// Solves on one rank, from a constant guess.
pub fn alone<P>(
    grid: &TimeGrid,
    options: &MgritOptions,
    problem: &P,
    initial: P::State,
    guess: P::State,
) -> Solved<P::State>
where
    P: Propagator,
{
    let partition = Partition::even(grid.n_steps(), 1).unwrap();
    on(&Communicator::alone(), (grid, &partition, options), problem, initial, &|_| guess.clone()).unwrap()
}
