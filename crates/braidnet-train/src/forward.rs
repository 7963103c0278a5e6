//! A batch on its way: states, loss, gradients.

use std::cell::Cell;

use braidnet_comm::{Communicator, Transfer};
use braidnet_grid::Partition;
use braidnet_mgrit::{
    Guess, LayerGradients, Linearized, MgritError, NotFinite, OnNonFinite, SolveReport, solve_adjoint_into,
};
use braidnet_nn::{ByPoint, Closed, Gradients, Network, OpeningPullback};
use burn::tensor::Tensor;

use crate::guess::ClassMeans;
use crate::model::Opened;
use crate::solvers::Solvers;
use crate::working::Working;
use crate::{GivenGuess, InitialGuess, TrainError, reading, sum_copies};

/// What a forward solve begins with.
pub(crate) enum StateGuess<'a, N: Network> {
    Zero,
    Carried,
    /// Means by the classes of the samples; the solve adds to them.
    Means(&'a mut ClassMeans<N::State>, &'a [usize]),
    Given(&'a GivenGuess<N>),
}

/// Solves for the states of a batch, and linearises every layer there.
pub(crate) fn forward<'a, N: Network>(
    (network, comm, partition): (Working<'a, N>, &'a Communicator, &'a Partition),
    solvers: &'a mut Solvers<N::State>,
    guess: StateGuess<'_, N>,
    batch: N::Batch,
    opened: Opened<N>,
    on_non_finite: OnNonFinite,
) -> Result<Forward<'a, N>, TrainError> {
    let (first, opening) = opened.unzip();
    let zeros = network.zero_states(&batch);
    let wrong = Cell::new(None);
    let at = |point| match &guess {
        StateGuess::Given(given) => {
            let (guess, zero) = (network.lowered(given(point, &batch)), zeros.at(point));
            let (got, expected) = (guess.n_bytes(), zero.n_bytes());
            // What an empty pair has no bytes of is zero.
            if got == expected || !network.layers.has_samples() {
                return guess;
            }
            wrong.set(Some(TrainError::WrongGuess { point, got, expected }));
            zero.clone()
        }
        StateGuess::Means(means, classes) => {
            let zero = zeros.at(point);
            means.guess(network.layers, point, classes, zero).unwrap_or_else(|| zero.clone())
        }
        StateGuess::Zero | StateGuess::Carried => zeros.at(point).clone(),
    };
    let start = if matches!(guess, StateGuess::Carried) { Guess::Carried } else { Guess::From(&at) };
    let (report, linearized) = solvers.forward.solve_linearized(&network.layers.block(&batch), first, start)?;
    if let Some(wrong) = wrong.take() {
        return Err(wrong);
    }
    if let StateGuess::Means(means, classes) = guess {
        means.take_up(network.layers, &solvers.forward, classes);
    }
    Ok(Forward { network, comm, partition, solvers, batch, zeros, opening, linearized, on_non_finite, report })
}

/// A batch whose states are known.
pub struct Forward<'a, N: Network> {
    network: Working<'a, N>,
    comm: &'a Communicator,
    partition: &'a Partition,
    solvers: &'a mut Solvers<N::State>,
    batch: N::Batch,
    zeros: ByPoint<N::State>,
    opening: Option<OpeningPullback<N::State>>,
    linearized: Linearized<N::Tape>,
    on_non_finite: OnNonFinite,
    /// How the forward solve went.
    pub report: SolveReport,
}

impl<'a, N: Network> Forward<'a, N> {
    /// The loss that `loss` makes of the output, shape `[batch, classes]`, on the last rank; elsewhere nothing is done
    /// and `loss` is not called.
    ///
    /// # Errors
    /// [`TrainError::LossNotFinite`], unless that is only to be reported ([`LayerParallel::set_on_non_finite`](crate::LayerParallel::set_on_non_finite)).
    pub fn loss(self, loss: impl FnOnce(Tensor<2>) -> Tensor<1>) -> Result<Loss<'a, N>, TrainError> {
        self.try_loss(|output| Ok(loss(output)))
    }

    /// As [`Forward::loss`], with a loss that may refuse its targets.
    pub(crate) fn try_loss(
        self,
        loss: impl FnOnce(Tensor<2>) -> Result<Tensor<1>, TrainError>,
    ) -> Result<Loss<'a, N>, TrainError> {
        let read =
            reading::read((self.network.layers, &self.batch), (self.comm, self.partition), &self.solvers.forward)?;
        let closed = match read {
            Some(u) => close(self.network, u, &self.batch, loss)?,
            None => None,
        };
        match &closed {
            Some(Closed { loss, .. }) if !loss.is_finite() && self.on_non_finite == OnNonFinite::Fail => {
                Err(TrainError::LossNotFinite { loss: *loss })
            }
            _ => Ok(Loss { forward: self, closed }),
        }
    }
}

/// The end of a forward pass, with a loss that may refuse its targets.
pub(crate) fn close<N: Network>(
    network: Working<'_, N>,
    state: N::State,
    batch: &N::Batch,
    loss: impl FnOnce(Tensor<2>) -> Result<Tensor<1>, TrainError>,
) -> Result<Option<Closed<N::State>>, TrainError> {
    let mut refused = None;
    let loss = |output: Tensor<2>| {
        loss(output.clone()).unwrap_or_else(|error| {
            refused = Some(error);
            output.sum()
        })
    };
    let closed = network.close_recorded(state, batch, loss).map_err(TrainError::Closing)?;
    refused.map_or(Ok(closed), Err)
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
    /// As [`Mgrit::solve`](braidnet_mgrit::Mgrit::solve); [`sum_copies`] where ranks have copies of parameters.
    pub fn backward(self) -> Result<Backward, TrainError> {
        let loss = self.value();
        let (network, comm) = (self.forward.network, self.forward.comm);
        let mut gradients = Gradients::new();
        let (forward, backward) = self.backward_into(|more| {
            gradients.extend(more);
            Ok(())
        })?;
        sum_copies(network.layers, comm, &mut gradients)?;
        Ok(Backward { loss, gradients, forward, backward })
    }

    /// As [`Loss::backward`], and hands gradients to `sink` as soon as they are formed: closing layer, layers in the order
    /// of the sweep, what layers share, opening layer. Returns the reports of the forward and the backward solve.
    ///
    /// # Errors
    /// A failed solve, or what `sink` returns.
    ///
    /// # Communication
    /// As [`Mgrit::solve`](braidnet_mgrit::Mgrit::solve).
    pub fn backward_into(
        self,
        mut sink: impl FnMut(Gradients) -> Result<(), TrainError>,
    ) -> Result<(SolveReport, SolveReport), TrainError> {
        let Forward { network, comm, partition, solvers, batch, zeros, opening, linearized, on_non_finite, report } =
            self.forward;
        let n_steps = partition.n_layers();
        let lambda = match self.closed {
            Some(closed) => {
                sink(closed.gradients)?;
                Some(closed.lambda)
            }
            None => None,
        };
        let (lambda, sources) = reading::unread(network.layers, (comm, partition), lambda)?;
        let guess = |point| zeros.at(n_steps - point).clone();
        let Solvers { forward: states, adjoint, guesses } = solvers;
        let guess = if guesses[1] == InitialGuess::Carried { Guess::Carried } else { Guess::From(&guess) };
        // The solver's sink cannot fail; the first error waits for the end of the sweep.
        let (mut sunk, mut overflow) = (Ok(()), network.overflow());
        let sink_layer = |LayerGradients { layer, gradients }: LayerGradients<Gradients>| {
            if sunk.is_ok() {
                overflow.note(layer, &gradients);
                sunk = sink(network.gradients(gradients));
            }
        };
        let block = network.layers.block(&batch);
        let backward = solve_adjoint_into(adjoint, &block, states, linearized, lambda, sources, guess, sink_layer)?;
        sunk?;
        let shared = network.layers.complete(&batch);
        overflow.note(partition.layers(comm.rank()).start, &shared);
        sink(network.gradients(shared))?;
        let backward = network.report(backward, overflow);
        if let (OnNonFinite::Fail, Some(NotFinite { what, layer })) = (on_non_finite, backward.not_finite) {
            return Err(MgritError::NonFinite { what, layer, level: 0, rank: comm.rank() }.into());
        }
        if let (Some(pullback), Some(lambda)) = (opening, adjoint.last_state()) {
            sink(pullback(lambda.clone()).map_err(TrainError::Opening)?)?;
        }
        Ok((report, backward))
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
