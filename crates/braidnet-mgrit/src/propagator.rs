//! What the solver asks of a network.

use braidnet_comm::Transfer;
use braidnet_grid::Step;

use crate::{State, StepError};

/// The layers of a network as steps `u[n+1] = Phi_n(u[n])`, on every level.
///
/// A rank is only ever asked for steps whose [`Step::layer`] it owns.
pub trait Propagator {
    /// What the steps act on.
    type State: State;

    /// Applies `steps[i]` to `states[i]` in place, for all `i`; the pairs are independent of each other.
    ///
    /// Should give the same bits however the pairs are grouped into calls: where round-off depends on that, so do results on the number of
    /// ranks. The states of one call may differ in shape.
    ///
    /// # Errors
    /// Whatever keeps a step from being applied; the solver adds level, layer and rank.
    fn step(&self, steps: &[Step], states: &mut [Self::State]) -> Result<(), StepError>;

    /// As [`Propagator::step`], and returns the diagonals of the steps' Jacobians `dPhi/du` at the states before, in the order
    /// of the pairs: what [`Method::Newton`](crate::Method::Newton) needs.
    ///
    /// # Errors
    /// As [`Propagator::step`]; the default, that there are none.
    fn step_with_diagonal(&self, steps: &[Step], states: &mut [Self::State]) -> Result<Vec<Self::State>, StepError> {
        let _ = (steps, states);
        Err(NoDiagonal.into())
    }

    /// Whether `step` can be done by the rank that is asked; may be called once per step before anything else.
    ///
    /// # Errors
    /// Why not, and what to change.
    fn supports(&self, step: &Step) -> Result<(), StepError> {
        let _ = step;
        Ok(())
    }

    /// How many pairs one call of [`Propagator::step`], or of another method for many pairs, should get at most: 1 where a loop is as good as a
    /// batch (CPUs), more where one large call beats many small ones.
    fn batch(&self) -> usize {
        1
    }

    /// What a receiving rank needs to rebuild a state.
    fn context(&self) -> <Self::State as Transfer>::Context;

    /// Coarsens a state (or a residual) of `level` to `level + 1` inside the layer. Shapes may differ from point to point,
    /// so it goes by that of the state given. The default keeps it.
    ///
    /// A level that coarsens needs at least one FC sweep ([`Relaxation::Fcf`](crate::Relaxation::Fcf)): what C-points have
    /// outside of the range of [`Propagator::prolong`] is changed by C-relaxation alone, so without it on that level or a
    /// finer one the iteration ends elsewhere than in the sequential solution. How fast it converges depends on how much
    /// of that part the layers of an interval damp: what they keep moves on by one interval per FC sweep, no faster than
    /// the sequential solve.
    fn restrict(&self, level: usize, state: &Self::State) -> Self::State {
        let _ = level;
        state.clone()
    }

    /// Refines a correction of `level + 1` to `level`; the counterpart of [`Propagator::restrict`]. `fine` is the state that
    /// will be corrected: the result has its shape, which the correction does not tell (2n and 2n + 1 points may both have n
    /// coarse ones).
    fn prolong(&self, level: usize, correction: Self::State, fine: &Self::State) -> Self::State {
        let _ = (level, fine);
        correction
    }

    /// Whether the residual is the default `u_next - Phi(u)` or the propagator's own.
    fn residual_form(&self) -> ResidualForm {
        ResidualForm::OneStep
    }

    /// `A(u_next, u)` of [`ResidualForm::Own`]: zero where `u_next = Phi(u)`. Writes the result into `u`.
    ///
    /// # Errors
    /// As [`Propagator::step`].
    fn residual(&self, step: &Step, u_next: &Self::State, u: &mut Self::State) -> Result<(), StepError> {
        self.step(std::slice::from_ref(step), std::slice::from_mut(u))?;
        u.scale(-1.0);
        u.axpy(1.0, u_next);
        Ok(())
    }
}

/// A Newton solve of something that is not made for it.
#[derive(Debug, thiserror::Error)]
#[error("these layers offer no diagonal of their Jacobian, which a Newton solve needs: use multigrid")]
struct NoDiagonal;

/// Which residual a propagator has, and with it where the FAS right-hand side `f` enters a coarse step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResidualForm {
    /// `A = u_next - Phi(u)`; a coarse step is `Phi(u) + f`.
    OneStep,
    /// [`Propagator::residual`]; a coarse step, which must solve `A(u_next, u) = f`, is `Phi(u + f)`.
    Own,
}

/// A propagator that can be linearised, so that its adjoint can be solved.
pub trait Differentiable: Propagator {
    /// The linearisation of one step.
    type Linearization: Linearization<State = Self::State>;

    /// Applies `step` to `state` in place and returns its linearisation at the state before.
    ///
    /// # Errors
    /// As [`Propagator::step`].
    fn linearize(&self, step: &Step, state: &mut Self::State, output: Output)
    -> Result<Self::Linearization, StepError>;

    /// [`Differentiable::linearize`] of `steps[i]` at `states[i]` for all `i`, at most [`Propagator::batch`] pairs, independent
    /// of each other; the linearisations in the order of the pairs.
    ///
    /// Bits as for [`Propagator::step`]. The default loops.
    ///
    /// # Errors
    /// As [`Propagator::step`].
    fn linearize_batch(
        &self,
        steps: &[Step],
        states: &mut [Self::State],
        output: Output,
    ) -> Result<Vec<Self::Linearization>, StepError> {
        steps.iter().zip(states).map(|(step, state)| self.linearize(step, state, output)).collect()
    }

    /// [`Linearization::pullback`] of all pairs at once, as in [`Differentiable::linearize_batch`].
    ///
    /// # Errors
    /// As [`Linearization::pullback`].
    fn pullback_batch(
        &self,
        steps: &[Step],
        tapes: &[&Self::Linearization],
        lambdas: &mut [Self::State],
    ) -> Result<(), StepError> {
        steps.iter().zip(tapes).zip(lambdas).try_for_each(|((step, tape), lambda)| tape.pullback(step, lambda))
    }

    /// [`Linearization::pullback_with_gradients`] of all pairs at once, as in [`Differentiable::linearize_batch`]; every
    /// layer has gradients of its own.
    ///
    /// # Errors
    /// As [`Linearization::pullback`].
    fn pullback_batch_with_gradients(
        &self,
        steps: &[Step],
        tapes: Vec<Self::Linearization>,
        lambdas: &mut [Self::State],
        output: Output,
    ) -> Result<Vec<PendingGradients<<Self::Linearization as Linearization>::Gradients>>, StepError> {
        let pairs = steps.iter().zip(tapes).zip(lambdas);
        pairs.map(|((step, tape), lambda)| tape.pullback_with_gradients(step, lambda, output)).collect()
    }

    /// [`Linearization::diagonal`] of all pairs at once, as in [`Differentiable::linearize_batch`].
    ///
    /// # Errors
    /// As [`Linearization::diagonal`].
    fn diagonal_batch(&self, steps: &[Step], tapes: &[&Self::Linearization]) -> Result<Vec<Self::State>, StepError> {
        steps.iter().zip(tapes).map(|(step, tape)| tape.diagonal(step)).collect()
    }

    /// Coarsens an adjoint state (or a residual, or a source of it) of `level` to `level + 1`: by the transpose of
    /// [`Propagator::prolong`]. The default suits a `restrict` that is this transpose, such as one that keeps the state.
    fn restrict_adjoint(&self, level: usize, lambda: &Self::State) -> Self::State {
        self.restrict(level, lambda)
    }

    /// Refines a correction of the adjoint of `level + 1` to `level`, where it has the shape of `fine`: by the transpose of
    /// [`Propagator::restrict`]. The default suits a `prolong` that is this transpose, such as one that keeps the correction.
    fn prolong_adjoint(&self, level: usize, correction: Self::State, fine: &Self::State) -> Self::State {
        self.prolong(level, correction, fine)
    }

    /// The parts that a coarse step consists of: it is pulled back part by part, the last one first, each by the linearisation
    /// of the layer that [`Differentiable::shared_linearization`] says of it. By default the step itself.
    fn parts(&self, step: &Step) -> Vec<Step> {
        vec![step.clone()]
    }

    /// The layer whose fine linearisation also gives the pullback of this coarse step, so that no second one is needed:
    /// one of the layers that the step stands for, on the same rank as its first; of a fine step its own. `step.layer` for an explicit Euler
    /// step with the parameters of its first layer: `J_c^T lambda = lambda + dt_c (dF/du)^T lambda` at the same state; `None` where
    /// a finer level coarsens inside the layer, as the coarse step's state is another one.
    fn shared_linearization(&self, step: &Step) -> Option<usize> {
        let _ = step;
        None
    }
}

/// Whether the state that an evaluation yields is used afterwards. If not, an implementation may leave
/// whatever it likes in its place and save the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The state is used.
    Used,
    /// The state is thrown away; only the by-product counts.
    Discarded,
}

/// Gradients still to be formed: called once lambda has been sent on.
pub type PendingGradients<G> = Box<dyn FnOnce() -> Result<G, StepError> + Send>;

/// The derivative of one step at one state.
pub trait Linearization: Send + Sized {
    /// What the step acts on.
    type State;
    /// Gradients of the step's parameters.
    type Gradients: Send;

    /// `lambda <- (dPhi/du)^T lambda`; callable any number of times. `step` is the step linearised, or a
    /// coarse one that shares this linearisation ([`Differentiable::shared_linearization`]).
    ///
    /// # Errors
    /// Whatever keeps it from being formed; the solver adds level, layer and rank.
    fn pullback(&self, step: &Step, lambda: &mut Self::State) -> Result<(), StepError>;

    /// The diagonal of `dPhi/du`, for a Newton solve of the adjoint.
    ///
    /// # Errors
    /// As [`Linearization::pullback`]; the default, that there is none.
    fn diagonal(&self, step: &Step) -> Result<Self::State, StepError> {
        let _ = step;
        Err(NoDiagonal.into())
    }

    /// As [`Linearization::pullback`], and returns `(dPhi/dtheta)^T lambda` (of the lambda given) to be
    /// formed later, off the critical path.
    ///
    /// # Errors
    /// As [`Linearization::pullback`].
    fn pullback_with_gradients(
        self,
        step: &Step,
        lambda: &mut Self::State,
        output: Output,
    ) -> Result<PendingGradients<Self::Gradients>, StepError>;
}
