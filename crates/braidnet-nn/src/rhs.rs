//! Right-hand sides of ODE layers.

use braidnet_mgrit::{Output, StepError};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use crate::Gradients;

/// `F` of the layer `u + dt F(u)`, on tensors of rank `D`, shape kept.
pub trait RightHandSide<const D: usize>: Module + ModuleDisplay + Sync + 'static {
    /// The linearisation of `F` at one state.
    type Tape: RhsTape<D>;

    /// `F(u)`.
    fn evaluate(&self, u: Tensor<D>) -> Tensor<D>;

    /// `F(u)` and its linearisation. With [`Output::Discarded`] the first is not used.
    fn linearize(&self, u: Tensor<D>, output: Output) -> (Tensor<D>, Self::Tape);
}

/// Gradients of a right-hand side's parameters, still to be formed.
pub type PendingRhs = Box<dyn FnOnce() -> Result<Gradients, StepError> + Send>;

/// The derivative of a right-hand side at one state.
pub trait RhsTape<const D: usize>: Send + Sync {
    /// `(dF/du)^T delta`; callable any number of times.
    ///
    /// # Errors
    /// Whatever keeps it from being formed.
    fn pullback(&self, delta: Tensor<D>) -> Result<Tensor<D>, StepError>;

    /// `(dF/du)^T delta` (left out if the output is discarded) and `(dF/dtheta)^T delta`.
    ///
    /// # Errors
    /// As [`RhsTape::pullback`].
    fn pullback_with_gradients(
        self,
        delta: Tensor<D>,
        output: Output,
    ) -> Result<(Option<Tensor<D>>, PendingRhs), StepError>;
}
