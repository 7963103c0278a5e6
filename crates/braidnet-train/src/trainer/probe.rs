//! A look at how good the schedule's gradients are: their error, and how fast the solves converge.

use braidnet_mgrit::{Guess, MgritOptions, TemporalNorm, solve_adjoint_into};
use braidnet_nn::Network;

use crate::data::Micro;
use crate::model::Solvers;
use crate::step::weighted;
use crate::{GradientError, LayerParallel, Schedule, Task, TrainError};

/// What a probe finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probe {
    /// Distance of the gradients from the exact ones.
    pub gradient_error: GradientError,
    /// Convergence factor of the forward solve; none if it is sequential.
    pub rho_forward: Option<f64>,
    /// Convergence factor of the adjoint solve, likewise.
    pub rho_backward: Option<f64>,
}

impl<N: Network> LayerParallel<N> {
    /// Compares the gradients of `schedule` for one micro-batch with the exact ones, and solves once more with norms for
    /// two residuals each way.
    ///
    /// # Errors
    /// A failed solve.
    ///
    /// # Communication
    /// Collective over the layer axis.
    ///
    /// # Cost
    /// A step as scheduled, a sequential one, and one with one or two more iterations.
    pub fn probe<T>(
        &mut self,
        schedule: &Schedule,
        micro: &Micro<N::Input, T>,
        task: &Task<T>,
    ) -> Result<Probe, TrainError> {
        let (input, target) = (micro.input.as_ref(), micro.target.as_ref());
        let forward = self.forward(micro.size, input)?;
        let backward = forward.loss(|output| weighted(task, output, target, 1.0))?.backward()?;
        let loss = |output| weighted(task, output, target, 1.0);
        let gradient_error = self.gradient_error(micro.size, input, loss, &backward.gradients)?;
        let options = [schedule.forward.options("forward")?, schedule.backward.options("backward")?];
        let solvers = Solvers::new(&self.grid, &self.partition, options.map(two_norms), &self.comm)?;
        let mut solvers = solvers.set_up(self.activations, self.on_non_finite);
        let opened = self.first_state(micro.size, input, |network, input| network.open(input))?;
        let block = self.network.block();
        let zero = self.network.zero_state(micro.size);
        let guess = |_| zero.clone();
        let (up, linearized) = solvers.forward.solve_linearized(block, opened, Guess::From(&guess))?;
        let closed = solvers
            .forward
            .last_state()
            .and_then(|u| self.network.close_recorded(u, |output| weighted(task, output, target, 1.0)));
        let lambda = closed.map(|closed| closed.lambda);
        let Solvers { forward, adjoint } = &mut solvers;
        let down = solve_adjoint_into(adjoint, block, forward, linearized, lambda, Guess::From(&guess), |_| ())?;
        Ok(Probe { gradient_error, rho_forward: up.rho(), rho_backward: down.rho() })
    }
}

/// One more iteration, and enough of them for two residual norms.
fn two_norms(options: MgritOptions) -> MgritOptions {
    let enough = 2 + usize::from(options.skip_downcycle);
    MgritOptions {
        max_iters: (options.max_iters + 1).max(enough),
        norm: Some(TemporalNorm::Two),
        tolerance: None,
        ..options
    }
}
