//! Right-hand sides of ODE layers, and what they act on.

use std::fmt::Debug;

use braidnet_comm::Transfer;
use braidnet_mgrit::{Output, State, StepError};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::Device;

use crate::{Gradients, NetworkError};

/// What the states of a network are, and what its layers need of a batch besides the state.
pub trait StateSpace: Clone + Debug + Send + Sync + 'static {
    /// A batch of inputs.
    type Input: Send + Sync + 'static;
    /// What travels along the layers.
    type State: State + Transfer<Context = Device> + Sync;
    /// What every layer needs of a batch: sizes, masks, randomness.
    type Batch: Transfer<Context = Device> + Clone + Sync;

    /// Whether the number of samples says it all, so that no rank needs to be told of a batch.
    const SIZE_SAYS_ALL: bool;

    /// Checks a batch of inputs.
    ///
    /// # Errors
    /// What does not fit the network, and what to do.
    fn check(&self, input: &Self::Input) -> Result<(), NetworkError>;

    /// What the layers need of a batch. With `noise`, random parts of the network (dropout) are on.
    fn batch(&self, input: &Self::Input, noise: Option<Noise>) -> Self::Batch;

    /// The largest batch of `samples` samples, for estimates; that very batch where its size says it all.
    fn largest_batch(&self, samples: usize) -> Self::Batch;

    /// A state of zeros.
    fn zero(&self, batch: &Self::Batch, device: &Device) -> Self::State;

    /// Bytes of a state, as it travels.
    fn state_bytes(&self, batch: &Self::Batch) -> usize;
}

/// What the randomness of one training step is a function of: not of ranks, sweeps or levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    /// Seed of the run.
    pub seed: u64,
    /// Step of the optimizer.
    pub step: u64,
    /// Place of the first sample in the global batch.
    pub first_sample: u64,
}

/// Which step of which layer a right-hand side is evaluated for.
#[derive(Debug)]
pub struct At<'a, B> {
    /// Global index of the layer whose parameters are used.
    pub layer: usize,
    /// Length of the step. Most right-hand sides do not depend on it.
    pub dt: f64,
    /// The batch.
    pub batch: &'a B,
}

impl<B> Clone for At<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for At<'_, B> {}

/// The state of a right-hand side's space.
pub type StateOf<R> = <<R as RightHandSide>::Space as StateSpace>::State;
/// The batch of a right-hand side's space.
pub type BatchOf<R> = <<R as RightHandSide>::Space as StateSpace>::Batch;

/// `F` of the layer `u + dt F(u)`.
pub trait RightHandSide: Module + ModuleDisplay + Sync + 'static {
    /// What it acts on.
    type Space: StateSpace;
    /// The linearisation of `F` at one state.
    type Tape: RhsTape<State = StateOf<Self>>;

    /// `F(u)`.
    fn evaluate(&self, u: StateOf<Self>, at: At<'_, BatchOf<Self>>) -> StateOf<Self>;

    /// `F(u)` and its linearisation. With [`Output::Discarded`] the first is not used.
    fn linearize(&self, u: StateOf<Self>, at: At<'_, BatchOf<Self>>, output: Output) -> (StateOf<Self>, Self::Tape);

    /// Estimate of the bytes that a tape keeps, where a state of the batch has `state_bytes`.
    fn tape_bytes(&self, batch: &BatchOf<Self>, state_bytes: usize) -> usize;
}

/// Gradients of a right-hand side's parameters, still to be formed.
pub type PendingRhs = Box<dyn FnOnce() -> Result<Gradients, StepError> + Send>;

/// The derivative of a right-hand side at one state.
pub trait RhsTape: Send + Sync + 'static {
    /// What the right-hand side acts on.
    type State;

    /// `(dF/du)^T delta`; callable any number of times.
    ///
    /// # Errors
    /// Whatever keeps it from being formed.
    fn pullback(&self, delta: Self::State) -> Result<Self::State, StepError>;

    /// `(dF/du)^T delta` (left out if the output is discarded) and `(dF/dtheta)^T delta`.
    ///
    /// # Errors
    /// As [`RhsTape::pullback`].
    fn pullback_with_gradients(
        self,
        delta: Self::State,
        output: Output,
    ) -> Result<(Option<Self::State>, PendingRhs), StepError>;
}
