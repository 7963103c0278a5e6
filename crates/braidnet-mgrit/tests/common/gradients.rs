//! Forward solve, adjoint and gradients of the loss `|u_N|^2 / 2`.

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::{Partition, TimeGrid};
use braidnet_mgrit::{
    Activations, Differentiable, Guess, LayerGradients, Linearization, Mgrit, MgritError, MgritOptions, SolveReport,
    Sources, State, checkpoints, solve_adjoint,
};

/// Gradients of one layer of a network.
pub type Gradients<D> = <<D as Differentiable>::Linearization as Linearization>::Gradients;

/// Options of the forward and of the adjoint solve.
pub type Both<'a> = [&'a MgritOptions; 2];

/// What one rank finds, or all of them together.
pub struct Found<S, G> {
    pub gradients: Vec<LayerGradients<G>>,
    /// `dLoss/du_0`, where layer 0 is.
    pub lambda_0: Option<S>,
    /// Reports of both solves, counts added up over the ranks.
    pub reports: [SolveReport; 2],
    /// States of the forward solve.
    pub states: Vec<S>,
}

pub fn gradients_on<D: Differentiable>(
    comm: &Communicator,
    setup: (&TimeGrid, &Partition, Both<'_>),
    network: &D,
    initial: &D::State,
) -> Result<Found<D::State, Gradients<D>>, MgritError> {
    gradients_with(Activations::Store, comm, setup, network, initial)
}

pub fn gradients_with<D: Differentiable>(
    activations: Activations,
    comm: &Communicator,
    setup: (&TimeGrid, &Partition, Both<'_>),
    network: &D,
    initial: &D::State,
) -> Result<Found<D::State, Gradients<D>>, MgritError> {
    gradients_of_sum(Sources::none(), activations, comm, setup, network, initial)
}

/// Of `|u_N|^2 / 2` and what the sources are the gradients of.
pub fn gradients_of_sum<D: Differentiable>(
    sources: Sources<D::State>,
    activations: Activations,
    comm: &Communicator,
    (grid, partition, [forward, backward]): (&TimeGrid, &Partition, Both<'_>),
    network: &D,
    initial: &D::State,
) -> Result<Found<D::State, Gradients<D>>, MgritError> {
    let mut solver = Mgrit::new(grid, partition, forward.clone(), comm)?;
    let mut adjoint = Mgrit::reversed(grid, partition, backward.clone(), comm)?;
    if activations == Activations::Recompute {
        solver.keep_only(checkpoints(&solver, &adjoint));
        adjoint.keep_only(Vec::new());
    }
    let guess = |_| initial.clone();
    let mut zero = initial.clone();
    zero.scale(0.0);
    let (up, linearized) = solver.solve_linearized(network, Some(initial.clone()), Guess::From(&guess))?;
    let lambda_end = solver.last_state().cloned();
    let (down, gradients) =
        solve_adjoint(&mut adjoint, network, &solver, linearized, lambda_end, sources, Guess::From(&|_| zero.clone()))?;
    let reports = [up.over_all_ranks(comm)?, down.over_all_ranks(comm)?];
    Ok(Found { gradients, lambda_0: adjoint.last_state().cloned(), reports, states: super::run::own_states(&solver) })
}

/// On as many threads as the partition has ranks; gradients of all layers, in the order of the ranks.
pub fn gradients<D>(
    setup: (&TimeGrid, &Partition, Both<'_>),
    network: &D,
    initial: &D::State,
) -> Found<D::State, Gradients<D>>
where
    D: Differentiable + Sync,
    D::State: Sync,
{
    let ranks = Some(setup.1.n_ranks());
    let all = launch(&Launch::ranks(ranks), |comm| gradients_on(&comm, setup, network, initial)).unwrap();
    let mut all = all.into_iter();
    let mut found = all.next().unwrap();
    for of_rank in all {
        assert!(of_rank.lambda_0.is_none());
        found.gradients.extend(of_rank.gradients);
        found.states.extend(of_rank.states);
    }
    found
}
