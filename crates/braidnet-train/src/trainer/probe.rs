//! A look at how good the schedule's gradients are: their error, and how fast the solves converge.

use braidnet_comm::ReduceOp;
use braidnet_mgrit::{Mgrit, MgritOptions, SolveReport, State, TemporalNorm};
use braidnet_nn::Network;

use crate::data::Micro;
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
    /// Compares the gradients of `schedule`, which is that of the solvers, for one micro-batch with the exact ones, and
    /// solves once more with norms for two residuals each way.
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
        let gradient_error = self.error_of(micro, task)?;
        self.set_solves(schedule, two_norms)?;
        let [up, down] = self.solve_once(micro, task)?;
        self.set_solves(schedule, |options| options)?;
        Ok(Probe { gradient_error, rho_forward: up.rho(), rho_backward: down.rho() })
    }

    /// The gradient error of the solvers as they are, for one micro-batch.
    pub(crate) fn error_of<T>(
        &mut self,
        micro: &Micro<N::Input, T>,
        task: &Task<T>,
    ) -> Result<GradientError, TrainError> {
        let loss = |output| weighted(task, output, micro.target.as_ref(), 1.0);
        let gradients = self.forward_of(micro, task)?.try_loss(loss)?.backward()?.gradients;
        let exact = self.exact_forward_of(micro)?.try_loss(loss)?.backward()?.gradients;
        self.forget_exact();
        self.distance(&gradients, exact)
    }

    /// Solves both ways for one micro-batch; the gradients are dropped.
    pub(crate) fn solve_once<T>(
        &mut self,
        micro: &Micro<N::Input, T>,
        task: &Task<T>,
    ) -> Result<[SolveReport; 2], TrainError> {
        let loss = |output| weighted(task, output, micro.target.as_ref(), 1.0);
        let (forward, backward) = self.forward_of(micro, task)?.try_loss(loss)?.backward_into(|_| Ok(()))?;
        Ok([forward, backward])
    }

    /// The 2-norms of the states of the last two solves, forward and adjoint, over the points that residuals are of (all
    /// C-points but the first), and the elements of one sample's state.
    ///
    /// # Communication
    /// Collective over the layer axis: one all-reduce.
    pub(crate) fn state_norms(&self) -> Result<([f64; 2], usize), TrainError> {
        let squares = |solver: &Mgrit<N::State>| -> f64 {
            let (finest, own) = (solver.hierarchy().finest(), solver.layout().share(0).steps.clone());
            // Those that this rank computes: a point at a border is held by both ranks.
            let points = (own.start + 1..=own.end).filter(|point| finest.is_c_point(*point));
            points.filter_map(|point| solver.state(point)).map(State::norm_squared).sum()
        };
        let mut sums = [squares(&self.solvers.forward), squares(&self.solvers.adjoint)];
        sums[1] /= self.precision().loss_scale().powi(2);
        self.comm.all_reduce(&mut sums, ReduceOp::Sum)?;
        let one = self.network.state_bytes(0, &self.network.largest_batch(1)) / size_of::<f32>();
        Ok((sums.map(f64::sqrt), one))
    }
}

/// One more iteration, and enough of them for two residual norms.
pub(super) fn two_norms(options: MgritOptions) -> MgritOptions {
    let enough = 2 + usize::from(options.skip_downcycle);
    MgritOptions {
        max_iters: (options.max_iters + 1).max(enough),
        norm: Some(TemporalNorm::Two),
        tolerance: None,
        ..options
    }
}
