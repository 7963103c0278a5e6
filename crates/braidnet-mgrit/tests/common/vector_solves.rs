//! Forward and adjoint solves of a [`Network`], and how far they are from the sequential ones.

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::{Partition, TimeGrid};
use braidnet_mgrit::model::Vector;
use braidnet_mgrit::{
    Activations, Guess, LayerGradients, Mgrit, MgritError, MgritOptions, SolveReport, Sources, checkpoints,
    solve_adjoint,
};
use nalgebra::DMatrix;

use super::vectors::Network;

/// Where a solve begins, and which loss it is the adjoint of.
#[derive(Clone, Copy)]
pub struct Ends<'a> {
    pub initial: &'a Vector,
    /// The guess of the states, by point.
    pub guess: &'a (dyn Fn(usize) -> Vector + Sync),
    /// `dLoss/du_N`.
    pub lambda_end: &'a Vector,
    /// The guess of the adjoint, by (forward) point.
    pub lambda_guess: &'a (dyn Fn(usize) -> Vector + Sync),
    /// `dLoss/du_n` of points inside.
    pub sources: &'a [(usize, Vector)],
}

/// What all ranks find together.
pub struct Found {
    pub states: Vec<Vector>,
    pub lambda_0: Vector,
    pub gradients: Vec<DMatrix<f64>>,
    pub reports: [SolveReport; 2],
}

/// States, `dLoss/du_0`, gradients and reports of both solves, counts added up over the ranks.
pub type OfRank = (Vec<Vector>, Option<Vector>, Vec<LayerGradients<DMatrix<f64>>>, [SolveReport; 2]);

/// Every rank gets its own states and gradients.
pub fn on(
    comm: &Communicator,
    (grid, options, activations): (&TimeGrid, [&MgritOptions; 2], Activations),
    network: &Network,
    ends: Ends<'_>,
) -> Result<OfRank, MgritError> {
    let n = grid.n_steps();
    let partition = Partition::even(n, comm.size()).unwrap();
    let mut solver = Mgrit::new(grid, &partition, options[0].clone(), comm)?;
    let mut adjoint = Mgrit::reversed(grid, &partition, options[1].clone(), comm)?;
    if activations == Activations::Recompute {
        solver.keep_only(checkpoints(&solver, &adjoint));
        adjoint.keep_only(Vec::new());
    }
    let (up, linearized) = solver.solve_linearized(network, Some(ends.initial.clone()), Guess::From(&ends.guess))?;
    let end = Some(ends.lambda_end.clone());
    let guess = |point: usize| (ends.lambda_guess)(n - point);
    let sources = Sources::new(ends.sources.iter().cloned());
    let (down, gradients) =
        solve_adjoint(&mut adjoint, network, &solver, linearized, end, sources, Guess::From(&guess))?;
    let reports = [up.over_all_ranks(comm)?, down.over_all_ranks(comm)?];
    Ok((super::run::own_states(&solver), adjoint.last_state().cloned(), gradients, reports))
}

/// On threads; all states are kept where activations are stored.
pub fn solve(
    n_ranks: usize,
    setup: (&TimeGrid, [&MgritOptions; 2], Activations),
    network: &Network,
    ends: Ends<'_>,
) -> Found {
    let all = launch(&Launch::ranks(Some(n_ranks)), |comm| on(&comm, setup, network, ends)).unwrap();
    let reports = all[0].3.clone();
    let lambda_0 = all[0].1.clone().unwrap();
    let states = all.iter().flat_map(|of_rank| of_rank.0.clone()).collect();
    let layers = all.into_iter().flat_map(|of_rank| of_rank.2);
    let gradients = layers.enumerate().map(|(n, g)| {
        assert_eq!(g.layer, n);
        g.gradients
    });
    Found { states, lambda_0, gradients: gradients.collect(), reports }
}

/// By the plain loops, on one rank.
pub fn sequential(grid: &TimeGrid, network: &Network, ends: Ends<'_>) -> Found {
    let options = MgritOptions::sequential();
    solve(1, (grid, [&options, &options], Activations::Store), network, ends)
}

impl Found {
    /// Largest distance of the adjoint at layer 0 and of the gradients.
    pub fn adjoint_error(&self, expected: &Self) -> f64 {
        assert_eq!(self.gradients.len(), expected.gradients.len());
        let pairs = self.gradients.iter().zip(&expected.gradients);
        let apart = pairs.map(|(got, expected)| (got - expected).norm());
        apart.fold((&self.lambda_0.0 - &expected.lambda_0.0).norm(), f64::max)
    }

    /// Largest distance of the states.
    pub fn state_error(&self, expected: &Self) -> f64 {
        assert_eq!(self.states.len(), expected.states.len());
        let pairs = self.states.iter().zip(&expected.states);
        pairs.map(|(got, expected)| (&got.0 - &expected.0).norm()).fold(0.0, f64::max)
    }
}
