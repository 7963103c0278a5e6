//! Linearisation of any module by burn's autograd: the default, and the check on those written by hand.

use braidnet_mgrit::{Output, StepError};
use burn::module::{Module, ModuleDisplay, ModuleVisitor, Param};
use burn::tensor::{Gradients as TapeGradients, Tensor};

use crate::rhs::{At, BatchOf};
use crate::{Gradient, Gradients, PendingRhs, RhsTape, RightHandSide, StateSpace};

/// A module that can be evaluated.
pub trait Forward: Module + ModuleDisplay + Sync + 'static {
    /// What it acts on.
    type Space: StateSpace<State: Recorded>;

    /// `F(u)`, on plain tensors as on tensors that record.
    fn forward(
        &self,
        u: <Self::Space as StateSpace>::State,
        at: At<'_, <Self::Space as StateSpace>::Batch>,
    ) -> <Self::Space as StateSpace>::State;
}

/// A state made of tensors, which autograd can record.
pub trait Recorded: Sized {
    /// This state as leaves of a new tape.
    fn record(&self) -> Self;

    /// Sum of all products of components with those of `delta`, shape `[1]`.
    fn dot(&self, delta: Self) -> Tensor<1>;

    /// The gradient of the leaves made by [`Recorded::record`]; `None` where nothing depends on them.
    fn gradient(&self, tape: &mut TapeGradients) -> Option<Self>;
}

/// Makes a right-hand side of any [`Forward`] module.
///
/// A tape is consumed by one backward, so every pullback evaluates `F` again and records it: about twice the cost
/// of a linearisation written by hand, and recording takes a process-wide lock.
#[derive(Module, Debug)]
pub struct Autograd<R: Module + ModuleDisplay> {
    rhs: R,
}

impl<R: Module + ModuleDisplay> Autograd<R> {
    /// Wraps a module.
    pub fn new(rhs: R) -> Self {
        Self { rhs }
    }
}

/// Where an [`Autograd`] right-hand side was linearised.
pub struct AutogradTape<R: Forward> {
    rhs: R,
    state: <R::Space as StateSpace>::State,
    layer: usize,
    dt: f64,
    batch: <R::Space as StateSpace>::Batch,
}

impl<R: Forward> RightHandSide for Autograd<R> {
    type Space = R::Space;
    type Tape = AutogradTape<R>;

    fn evaluate(
        &self,
        u: <R::Space as StateSpace>::State,
        at: At<'_, BatchOf<Self>>,
    ) -> <R::Space as StateSpace>::State {
        self.rhs.forward(u, at)
    }

    fn linearize(
        &self,
        u: <R::Space as StateSpace>::State,
        at: At<'_, BatchOf<Self>>,
        output: Output,
    ) -> (<R::Space as StateSpace>::State, Self::Tape) {
        let At { layers, dt, batch } = at;
        let (rhs, state, layer) = (self.rhs.clone(), u.clone(), layers.first());
        let tape = AutogradTape { rhs, state, layer, dt, batch: batch.clone() };
        let f = if output == Output::Used { self.evaluate(u, at) } else { u };
        (f, tape)
    }

    /// Nothing but a state, shared with the solver.
    fn tape_bytes(&self, _: &BatchOf<Self>, _: usize) -> usize {
        0
    }
}

#[derive(Debug, thiserror::Error)]
#[error("autograd returned no gradient of the state: forward must use its argument")]
struct NoStateGradient;

impl<R: Forward> AutogradTape<R> {
    /// Records `F` with the module `rhs` and pulls `delta` back.
    fn backward(
        &self,
        rhs: &R,
        delta: <R::Space as StateSpace>::State,
    ) -> Result<(<R::Space as StateSpace>::State, TapeGradients), StepError> {
        let u = self.state.record();
        let at = At { layers: self.layer.into(), dt: self.dt, batch: &self.batch };
        let mut gradients = rhs.forward(u.clone(), at).dot(delta).backward();
        let state = u.gradient(&mut gradients).ok_or(NoStateGradient)?;
        Ok((state, gradients))
    }
}

impl<R: Forward> RhsTape for AutogradTape<R> {
    type State = <R::Space as StateSpace>::State;

    fn pullback(&self, delta: Self::State) -> Result<Self::State, StepError> {
        let frozen = self.rhs.clone().train().no_grad();
        self.backward(&frozen, delta).map(|(state, _)| state)
    }

    fn pullback_with_gradients(
        self,
        delta: Self::State,
        _: Output,
    ) -> Result<(Option<Self::State>, PendingRhs), StepError> {
        let rhs = self.rhs.clone().train();
        let (state, mut tape) = self.backward(&rhs, delta)?;
        Ok((Some(state), Box::new(move || Ok(parameter_gradients(&rhs, &mut tape)))))
    }
}

/// Gradients of all parameters of `module`, which must record ([`Module::train`]).
pub(crate) fn parameter_gradients<M: Module>(module: &M, tape: &mut TapeGradients) -> Gradients {
    struct Collect<'a> {
        tape: &'a mut TapeGradients,
        gradients: Gradients,
    }
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad_remove(self.tape) {
                self.gradients.push(Gradient::new(param.id, gradient));
            }
        }
    }
    let mut collect = Collect { tape, gradients: Gradients::new() };
    module.visit(&mut collect);
    collect.gradients
}
