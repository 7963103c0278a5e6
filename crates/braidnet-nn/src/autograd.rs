//! Linearisation of any module by burn's autograd: the default, and the check on those written by hand.

use braidnet_mgrit::{Output, StepError};
use burn::module::{Module, ModuleDisplay, ModuleVisitor, Param};
use burn::tensor::{Gradients as TapeGradients, Tensor};

use crate::{Gradient, Gradients, PendingRhs, RhsTape, RightHandSide};

/// A module that can be evaluated.
pub trait Forward<const D: usize>: Module + ModuleDisplay + Sync + 'static {
    /// `F(u)`, on plain tensors as on tensors that record.
    fn forward(&self, u: Tensor<D>) -> Tensor<D>;
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
#[derive(Debug, Clone)]
pub struct AutogradTape<const D: usize, R> {
    rhs: R,
    state: Tensor<D>,
}

impl<const D: usize, R: Forward<D>> RightHandSide<D> for Autograd<R> {
    type Tape = AutogradTape<D, R>;

    fn evaluate(&self, u: Tensor<D>) -> Tensor<D> {
        self.rhs.forward(u)
    }

    fn linearize(&self, u: Tensor<D>, output: Output) -> (Tensor<D>, Self::Tape) {
        let tape = AutogradTape { rhs: self.rhs.clone(), state: u.clone() };
        let f = if output == Output::Used { self.evaluate(u) } else { u };
        (f, tape)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("autograd returned no gradient of the state: forward must use its argument")]
struct NoStateGradient;

impl<const D: usize, R: Forward<D>> AutogradTape<D, R> {
    /// Records `F` with the module `rhs` and pulls `delta` back.
    fn backward(&self, rhs: &R, delta: Tensor<D>) -> Result<(Tensor<D>, TapeGradients), StepError> {
        let u = self.state.clone().autodiff().require_grad();
        let mut gradients = (rhs.forward(u.clone()) * delta.autodiff()).backward();
        let state = u.grad_remove(&mut gradients).ok_or(NoStateGradient)?;
        Ok((state, gradients))
    }
}

impl<const D: usize, R: Forward<D>> RhsTape<D> for AutogradTape<D, R> {
    fn pullback(&self, delta: Tensor<D>) -> Result<Tensor<D>, StepError> {
        let frozen = self.rhs.clone().train().no_grad();
        self.backward(&frozen, delta).map(|(state, _)| state)
    }

    fn pullback_with_gradients(
        self,
        delta: Tensor<D>,
        _: Output,
    ) -> Result<(Option<Tensor<D>>, PendingRhs), StepError> {
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
