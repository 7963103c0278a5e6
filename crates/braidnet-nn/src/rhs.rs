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

    /// Whether a state consists of one part per sample: [`StateSpace::sample`], [`StateSpace::of_samples`].
    const HAS_SAMPLES: bool = false;

    /// Checks a batch of inputs.
    ///
    /// # Errors
    /// What does not fit the network, and what to do.
    fn check(&self, input: &Self::Input) -> Result<(), NetworkError>;

    /// What the layers need of a batch.
    fn batch(&self, input: &Self::Input, pass: Pass) -> Self::Batch;

    /// The largest batch of `samples` samples, for estimates; that very batch where its size says it all.
    fn largest_batch(&self, samples: usize, pass: Pass) -> Self::Batch;

    /// States of zeros.
    fn zeros(&self, batch: &Self::Batch, device: &Device) -> ByPoint<Self::State>;

    /// Bytes of the state at a point, as it travels.
    fn state_bytes(&self, point: usize, batch: &Self::Batch) -> usize;

    /// The part of a state that belongs to one sample of its batch.
    fn sample(&self, state: &Self::State, sample: usize) -> Option<Self::State> {
        let _ = (state, sample);
        None
    }

    /// The state whose samples these are.
    fn of_samples(&self, samples: Vec<Self::State>) -> Option<Self::State> {
        let _ = samples;
        None
    }

    /// States of equal shape below each other, as one of so many times the samples; `None` where that cannot be had.
    fn stack(&self, states: Vec<Self::State>) -> Option<Self::State> {
        let _ = states;
        None
    }

    /// The inverse of [`StateSpace::stack`]: the `n` states.
    fn unstack(&self, state: Self::State, n: usize) -> Vec<Self::State> {
        let _ = n;
        vec![state]
    }

    /// Whether the state at `point` can be had on `level`.
    ///
    /// # Errors
    /// [`NetworkError::TooSmallToCoarsen`].
    fn supports(&self, level: usize, point: usize) -> Result<(), NetworkError> {
        let _ = (level, point);
        Ok(())
    }

    /// Whether states of `level` have other shapes than those of the finest.
    fn is_coarsened(&self, level: usize) -> bool {
        let _ = level;
        false
    }

    /// As [`Propagator::restrict`](braidnet_mgrit::Propagator::restrict).
    fn restrict(&self, level: usize, state: &Self::State) -> Self::State {
        let _ = level;
        state.clone()
    }

    /// As [`Propagator::prolong`](braidnet_mgrit::Propagator::prolong).
    fn prolong(&self, level: usize, correction: Self::State, fine: &Self::State) -> Self::State {
        let _ = (level, fine);
        correction
    }

    /// As [`Differentiable::restrict_adjoint`](braidnet_mgrit::Differentiable::restrict_adjoint).
    fn restrict_adjoint(&self, level: usize, lambda: &Self::State) -> Self::State {
        let _ = level;
        lambda.clone()
    }

    /// As [`Differentiable::prolong_adjoint`](braidnet_mgrit::Differentiable::prolong_adjoint).
    fn prolong_adjoint(&self, level: usize, correction: Self::State, fine: &Self::State) -> Self::State {
        let _ = (level, fine);
        correction
    }
}

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Evaluation: nothing is random, and running statistics stand for those of the batch.
    Evaluation,
    /// Training; with noise, random parts of the network (dropout) are on.
    Training(Option<Noise>),
}

impl Pass {
    /// The noise, if there is any.
    pub fn noise(self) -> Option<Noise> {
        match self {
            Self::Evaluation => None,
            Self::Training(noise) => noise,
        }
    }

    /// Whether the network is trained.
    pub fn is_training(self) -> bool {
        matches!(self, Self::Training(_))
    }
}

/// One thing per point of the finest level, where many points have the same.
#[derive(Debug, Clone, PartialEq)]
pub struct ByPoint<T> {
    /// From which point on, ascending from 0.
    parts: Vec<(usize, T)>,
}

impl<T> ByPoint<T> {
    /// The same at all points.
    pub fn everywhere(thing: T) -> Self {
        Self { parts: vec![(0, thing)] }
    }

    /// Another thing from `point` on, which lies behind those where the last one begins.
    pub fn and_from(mut self, point: usize, thing: T) -> Self {
        self.parts.push((point, thing));
        self
    }

    /// That of a point.
    pub fn at(&self, point: usize) -> &T {
        let place = self.parts.partition_point(|(first, _)| *first <= point);
        &self.parts[place.max(1) - 1].1
    }

    /// What `f` makes of each.
    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> ByPoint<U> {
        ByPoint { parts: self.parts.iter().map(|(first, thing)| (*first, f(thing))).collect() }
    }

    /// The same with points counted from `before` on.
    pub fn counted_from(self, before: usize) -> Self {
        Self { parts: self.parts.into_iter().map(|(first, thing)| (first.saturating_sub(before), thing)).collect() }
    }
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

/// Global indices of the layers that a right-hand side stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers<'a> {
    /// A layer.
    One(usize),
    /// Layers side by side: see [`RightHandSide::STACKS`].
    Stacked(&'a [usize]),
}

impl Layers<'_> {
    /// How many.
    pub fn n(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Stacked(layers) => layers.len(),
        }
    }

    /// The first of them.
    pub fn first(&self) -> usize {
        match self {
            Self::One(layer) => *layer,
            Self::Stacked(layers) => layers.first().copied().unwrap_or_default(),
        }
    }

    /// Their indices.
    pub fn to_vec(&self) -> Vec<usize> {
        match self {
            Self::One(layer) => vec![*layer],
            Self::Stacked(layers) => layers.to_vec(),
        }
    }
}

impl From<usize> for Layers<'_> {
    fn from(layer: usize) -> Self {
        Self::One(layer)
    }
}

/// Which step of which layer a right-hand side is evaluated for.
#[derive(Debug)]
pub struct At<'a, B> {
    /// The layer whose parameters are used.
    pub layers: Layers<'a>,
    /// Length of the step. Most right-hand sides do not depend on it.
    pub dt: f64,
    /// The batch, of one layer's state.
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

/// `F` of the layer `u + dt F(u)`, or, where the layer is a transition, the next state itself.
pub trait RightHandSide: Module + ModuleDisplay + Sync + 'static {
    /// What it acts on.
    type Space: StateSpace;
    /// The linearisation of `F` at one state.
    type Tape: RhsTape<State = StateOf<Self>>;

    /// Whether layers of this kind can be computed side by side: as one module whose parameters are theirs below each other along
    /// their first axes, on a state that is theirs below each other ([`StateSpace::stack`]). The module is a `Self`, and all its
    /// methods take it as they take a layer; [`At::layers`] then has them all. Gradients come below each other likewise.
    const STACKS: bool = false;

    /// Whether this layer and another, whose parameters have the same names and shapes, can be side by side: whether they differ
    /// in nothing but the values of parameters. Only asked where they stack ([`RightHandSide::STACKS`]).
    fn stacks_with(&self, other: &Self) -> bool {
        let _ = other;
        true
    }

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
pub trait RhsTape: Sized + Send + Sync + 'static {
    /// What the right-hand side acts on.
    type State;

    /// Of those at `rows` among the `of` layers that are side by side in this linearisation; `None` where they never are
    /// ([`RightHandSide::STACKS`]).
    fn rows(&self, rows: &[usize], of: usize) -> Option<Self> {
        let _ = (rows, of);
        None
    }

    /// [`RhsTape::rows`] of each of the `of` layers; `None` where that is no cheaper for all of them at once than one by one.
    fn each(&self, of: usize) -> Option<Vec<Self>> {
        let _ = of;
        None
    }

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
