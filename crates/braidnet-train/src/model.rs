//! A network spread over the layer axis.

use braidnet_comm::Communicator;
use braidnet_grid::{Partition, TimeGrid};
use braidnet_mgrit::{Differentiable, Guess, Linearized, Mgrit, MgritOptions, SolveReport, solve_adjoint};
use braidnet_nn::{Closed, Gradients, Network, OpeningPullback};
use burn::tensor::Tensor;

use crate::{Schedule, TrainError};

type LinearizedBlock<N> = Linearized<<<N as Network>::Block as Differentiable>::Linearization>;

/// The two solvers of a schedule.
pub(crate) struct Solvers<N: Network> {
    pub forward: Mgrit<N::State>,
    pub adjoint: Mgrit<N::State>,
}

impl<N: Network> Solvers<N> {
    pub fn new(
        grid: &TimeGrid,
        partition: &Partition,
        [forward, backward]: [MgritOptions; 2],
        comm: &Communicator,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            forward: Mgrit::new(grid, partition, forward, comm)?,
            adjoint: Mgrit::reversed(grid, partition, backward, comm)?,
        })
    }
}

/// A network whose layers are spread over the ranks of a communicator.
///
/// Every rank holds the part of the network with its own layers and calls the same methods in the same order.
pub struct LayerParallel<N: Network> {
    pub(crate) network: N,
    pub(crate) comm: Communicator,
    pub(crate) partition: Partition,
    pub(crate) grid: TimeGrid,
    pub(crate) solvers: Solvers<N>,
    /// Made when the gradient error is first asked for.
    pub(crate) exact: Option<Solvers<N>>,
}

impl<N: Network> LayerParallel<N> {
    /// Spreads a network over the ranks of `comm`; `network` has the layers that `partition` gives to this rank.
    ///
    /// # Errors
    /// An invalid schedule, a partition for another number of ranks or layers, or a coarse operator that the partition
    /// rules out; before any communication.
    pub fn new(
        network: N,
        grid: &TimeGrid,
        partition: &Partition,
        schedule: &Schedule,
        comm: &Communicator,
    ) -> Result<Self, TrainError> {
        let options = [schedule.forward.options("forward")?, schedule.backward.options("backward")?];
        let solvers = Solvers::new(grid, partition, options, comm)?;
        solvers.forward.check(network.block())?;
        solvers.adjoint.check(network.block())?;
        let (comm, partition, grid) = (comm.clone(), partition.clone(), grid.clone());
        Ok(Self { network, comm, partition, grid, solvers, exact: None })
    }

    /// This rank's part of the network.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// Replaces this rank's part of the network, for instance by its optimizer's update.
    pub fn update(&mut self, f: impl FnOnce(N) -> N) {
        self.network = f(self.network.clone());
    }

    /// The communicator of the layer axis.
    pub fn comm(&self) -> &Communicator {
        &self.comm
    }

    /// Whether this rank has the opening layer and needs the inputs.
    pub fn is_first(&self) -> bool {
        self.comm.rank() == 0
    }

    /// Whether this rank has the closing layer and needs the targets.
    pub fn is_last(&self) -> bool {
        self.comm.rank() + 1 == self.comm.size()
    }

    /// Length in layers of the longest coarse step of either solve.
    pub fn longest_run(&self) -> usize {
        self.solvers.forward.hierarchy().longest_run().max(self.solvers.adjoint.hierarchy().longest_run())
    }

    /// The output of the network, shape `[batch, classes]`, on the last rank; no gradients.
    ///
    /// # Errors
    /// [`TrainError::NoInput`], [`TrainError::EmptyBatch`], or a failed solve.
    ///
    /// # Communication
    /// As [`Mgrit::solve`].
    pub fn evaluate(&mut self, batch: usize, input: Option<&N::Input>) -> Result<Option<Tensor<2>>, TrainError> {
        let first = self.first_state(batch, input, |network, input| network.open(input))?;
        evaluate(&self.network, &mut self.solvers, batch, first)
    }

    /// As [`LayerParallel::evaluate`], layer by layer: what the network is, not what the schedule makes of it.
    ///
    /// # Errors
    /// As [`LayerParallel::evaluate`].
    ///
    /// # Communication
    /// As [`Mgrit::solve`] on one level.
    pub fn evaluate_exact(&mut self, batch: usize, input: Option<&N::Input>) -> Result<Option<Tensor<2>>, TrainError> {
        let first = self.first_state(batch, input, |network, input| network.open(input))?;
        self.make_exact()?;
        let solvers = self.exact.as_mut().unwrap_or(&mut self.solvers);
        evaluate(&self.network, solvers, batch, first)
    }

    /// Solves for the states of a batch of `batch` samples, whose inputs the first rank must give, and linearises every
    /// layer there.
    ///
    /// # Errors
    /// As [`LayerParallel::evaluate`].
    ///
    /// # Communication
    /// As [`Mgrit::solve`].
    pub fn forward(&mut self, batch: usize, input: Option<&N::Input>) -> Result<Forward<'_, N>, TrainError> {
        let opened = self.first_state(batch, input, |network, input| network.open_recorded(input))?;
        forward(&self.network, &mut self.solvers, batch, opened)
    }

    fn first_state<T>(
        &self,
        batch: usize,
        input: Option<&N::Input>,
        open: impl FnOnce(&N, &N::Input) -> Option<T>,
    ) -> Result<Option<T>, TrainError> {
        if batch == 0 {
            return Err(TrainError::EmptyBatch);
        }
        if !self.is_first() {
            return Ok(None);
        }
        let input = input.ok_or(TrainError::NoInput { rank: self.comm.rank() })?;
        Ok(open(&self.network, input))
    }

    /// As [`LayerParallel::forward`], by the exact solvers.
    pub(crate) fn exact_forward(
        &mut self,
        batch: usize,
        input: Option<&N::Input>,
    ) -> Result<Forward<'_, N>, TrainError> {
        let opened = self.first_state(batch, input, |network, input| network.open_recorded(input))?;
        self.make_exact()?;
        let solvers = self.exact.as_mut().unwrap_or(&mut self.solvers);
        forward(&self.network, solvers, batch, opened)
    }

    /// Makes the exact solvers, unless they exist.
    fn make_exact(&mut self) -> Result<(), TrainError> {
        if self.exact.is_none() {
            let options = [MgritOptions::sequential(), MgritOptions::sequential()];
            self.exact = Some(Solvers::new(&self.grid, &self.partition, options, &self.comm)?);
        }
        Ok(())
    }
}

fn evaluate<N: Network>(
    network: &N,
    solvers: &mut Solvers<N>,
    batch: usize,
    first: Option<N::State>,
) -> Result<Option<Tensor<2>>, TrainError> {
    let zero = network.zero_state(batch);
    solvers.forward.solve(network.block(), first, Guess::From(&|_| zero.clone()))?;
    Ok(solvers.forward.last_state().and_then(|u| network.close(u)))
}

fn forward<'a, N: Network>(
    network: &'a N,
    solvers: &'a mut Solvers<N>,
    batch: usize,
    opened: Option<(N::State, OpeningPullback<N::State>)>,
) -> Result<Forward<'a, N>, TrainError> {
    let (first, opening) = opened.unzip();
    let zero = network.zero_state(batch);
    let guess = |_| zero.clone();
    let (report, linearized) = solvers.forward.solve_linearized(network.block(), first, Guess::From(&guess))?;
    Ok(Forward { network, solvers, zero, opening, linearized, report })
}

/// A batch whose states are known.
pub struct Forward<'a, N: Network> {
    network: &'a N,
    solvers: &'a mut Solvers<N>,
    zero: N::State,
    opening: Option<OpeningPullback<N::State>>,
    linearized: LinearizedBlock<N>,
    /// How the forward solve went.
    pub report: SolveReport,
}

impl<'a, N: Network> Forward<'a, N> {
    /// The loss that `loss` makes of the output, shape `[batch, classes]`, on the last rank; elsewhere nothing is done
    /// and `loss` is not called.
    ///
    /// # Errors
    /// [`TrainError::LossNotFinite`].
    pub fn loss(self, loss: impl FnOnce(Tensor<2>) -> Tensor<1>) -> Result<Loss<'a, N>, TrainError> {
        let closed = self.solvers.forward.last_state().and_then(|u| self.network.close_recorded(u, loss));
        match &closed {
            Some(Closed { loss, .. }) if !loss.is_finite() => Err(TrainError::LossNotFinite { loss: *loss }),
            _ => Ok(Loss { forward: self, closed }),
        }
    }
}

/// A batch whose loss is known, on the last rank.
pub struct Loss<'a, N: Network> {
    forward: Forward<'a, N>,
    closed: Option<Closed<N::State>>,
}

impl<N: Network> Loss<'_, N> {
    /// The loss, on the last rank.
    pub fn value(&self) -> Option<f64> {
        self.closed.as_ref().map(|c| c.loss)
    }

    /// The output, on the last rank.
    pub fn output(&self) -> Option<&Tensor<2>> {
        self.closed.as_ref().map(|c| &c.output)
    }

    /// Solves the adjoint and forms the gradients of this rank's parameters.
    ///
    /// # Errors
    /// A failed solve.
    ///
    /// # Communication
    /// As [`Mgrit::solve`].
    pub fn backward(self) -> Result<Backward, TrainError> {
        let Forward { network, solvers, zero, opening, linearized, report: forward } = self.forward;
        let (loss, lambda, mut gradients) = match self.closed {
            Some(closed) => (Some(closed.loss), Some(closed.lambda), closed.gradients),
            None => (None, None, Gradients::new()),
        };
        let guess = |_| zero.clone();
        let Solvers { forward: states, adjoint } = solvers;
        let guess = Guess::From(&guess);
        let (backward, layers) = solve_adjoint(adjoint, network.block(), states, linearized, lambda, guess)?;
        gradients.extend(layers.into_iter().flat_map(|layer| layer.gradients));
        if let (Some(pullback), Some(lambda)) = (opening, adjoint.last_state()) {
            gradients.extend(pullback(lambda.clone()));
        }
        Ok(Backward { loss, gradients, forward, backward })
    }
}

/// Gradients of a batch.
pub struct Backward {
    /// The loss, on the last rank.
    pub loss: Option<f64>,
    /// Gradients of this rank's parameters.
    pub gradients: Gradients,
    /// How the forward solve went.
    pub forward: SolveReport,
    /// How the backward solve went.
    pub backward: SolveReport,
}
