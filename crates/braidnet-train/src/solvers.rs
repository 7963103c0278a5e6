//! The two solvers of a schedule.

use braidnet_comm::Communicator;
use braidnet_grid::{Partition, TimeGrid};
use braidnet_mgrit::{Activations, Mgrit, MgritOptions, OnNonFinite, State, checkpoints};

use crate::{InitialGuess, Schedule, TrainError};

/// The two solvers of a schedule.
pub(crate) struct Solvers<S: State> {
    pub forward: Mgrit<S>,
    pub adjoint: Mgrit<S>,
    /// What they begin with.
    pub guesses: [InitialGuess; 2],
}

impl<S: State> Solvers<S> {
    pub fn new(
        grid: &TimeGrid,
        partition: &Partition,
        [forward, backward]: [MgritOptions; 2],
        comm: &Communicator,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            forward: Mgrit::new(grid, partition, forward, comm)?,
            adjoint: Mgrit::reversed(grid, partition, backward, comm)?,
            guesses: [InitialGuess::Zero; 2],
        })
    }

    /// Begins with what `schedule` says.
    pub fn starting_as(self, schedule: &Schedule) -> Self {
        Self { guesses: [schedule.forward.guess, schedule.backward.guess], ..self }
    }

    /// Keeps what `activations` says between the solves, and does at a NaN what `choice` says.
    pub fn set_up(mut self, activations: Activations, choice: OnNonFinite) -> Self {
        if activations == Activations::Recompute {
            self.forward.keep_only(checkpoints(&self.forward, &self.adjoint));
            self.adjoint.keep_only(Vec::new());
        }
        self.forward.set_on_non_finite(choice);
        self.adjoint.set_on_non_finite(choice);
        self
    }
}
