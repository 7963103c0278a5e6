//! What training asks of a network besides its block of layers.

use braidnet_comm::Transfer;
use braidnet_grid::Step;
use braidnet_mgrit::{Differentiable, Linearization, State, StepError};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::{ByPoint, Gradients, NetworkError, Parameter, Pass};

/// Forms the gradients of the opening layer from `dLoss/du_0`.
pub type OpeningPullback<S> = Box<dyn FnOnce(S) -> Result<Gradients, StepError> + Send>;

/// The end of a forward pass: loss, and what the adjoint starts from.
pub struct Closed<S> {
    /// The loss.
    pub loss: f64,
    /// Output of the closing layer, shape `[rows, classes]`.
    pub output: Tensor<2>,
    /// `dLoss/du_N`.
    pub lambda: S,
    /// Gradients of the closing layer.
    pub gradients: Gradients,
}

/// Consecutive layers of a network, with the opening layer if they start with layer 0 and the closing layer if they end
/// with the last.
pub trait Network: Module {
    /// What travels along the layers.
    type State: State + Transfer<Context = Device>;
    /// What every layer needs of a batch besides the state: sizes, masks, randomness.
    type Batch: Transfer<Context = Device> + Clone;
    /// The linearisation of one layer.
    type Tape: Linearization<State = Self::State, Gradients = Gradients>;
    /// The layers, applied to one batch, as the solver sees them.
    type Block<'a>: Differentiable<State = Self::State, Linearization = Self::Tape>
    where
        Self: 'a;
    /// A batch of inputs.
    type Input;

    /// Where tensors live.
    fn device(&self) -> Device;

    /// Whether layers of several intervals are computed side by side, in one call, where they can be: by default on GPUs alone.
    /// Results differ by round-off.
    fn stacked(self, stacked: bool) -> Self {
        let _ = stacked;
        self
    }

    /// The layers on a batch.
    fn block<'a>(&'a self, batch: &'a Self::Batch) -> Self::Block<'a>;

    /// Whether the layers can do `step`.
    ///
    /// # Errors
    /// Why not, and what to change.
    fn supports(&self, step: &Step) -> Result<(), StepError>;

    /// Layers at either end that the solver does not count: those of the first rank belong to its opening layer, those of
    /// the last to its closing layer.
    fn buffer_layers(&self) -> usize;

    /// Length of a layer's step.
    fn step_length(&self) -> f64;

    /// What the layers need of a batch of `samples` samples, if their number and the pass say it all; then no rank needs to be told.
    fn batch_of_size(&self, samples: usize, pass: Pass) -> Option<Self::Batch>;

    /// Checks a batch of inputs.
    ///
    /// # Errors
    /// What does not fit the network, and what to do.
    fn check(&self, input: &Self::Input) -> Result<(), NetworkError>;

    /// What the layers need of a batch.
    fn batch(&self, input: &Self::Input, pass: Pass) -> Self::Batch;

    /// What a rank makes of a batch once for all its sweeps, such as a product with all inputs.
    fn prepare(&self, batch: Self::Batch) -> Self::Batch {
        batch
    }

    /// Gradients of parameters that layers share ([`Network::shares_parameters`]), summed over the layers of this rank that the
    /// adjoint of the batch has pulled back; to be asked once, behind it.
    fn complete(&self, batch: &Self::Batch) -> Gradients {
        let _ = batch;
        Gradients::new()
    }

    /// Whether layers share their parameters. Every rank then has a copy of them, named `shared.…`, and the gradient is the
    /// sum of those of all ranks.
    fn shares_parameters(&self) -> bool {
        false
    }

    /// Whether the layers offer the diagonals of their Jacobians, which Newton's method needs.
    fn offers_diagonals(&self) -> bool {
        false
    }

    /// The largest batch of `samples` samples, for estimates.
    fn largest_batch(&self, samples: usize) -> Self::Batch;

    /// States of zeros, by points as the solver counts.
    fn zero_states(&self, batch: &Self::Batch) -> ByPoint<Self::State>;

    /// Whether states consist of one part per sample: [`Network::sample`], [`Network::of_samples`].
    fn has_samples(&self) -> bool {
        false
    }

    /// The part of a state that belongs to one sample of its batch.
    fn sample(&self, state: &Self::State, sample: usize) -> Option<Self::State> {
        let _ = (state, sample);
        None
    }

    /// The state whose samples these are, at least one.
    fn of_samples(&self, samples: Vec<Self::State>) -> Option<Self::State> {
        let _ = samples;
        None
    }

    /// Bytes of the state at a point, as it travels.
    fn state_bytes(&self, point: usize, batch: &Self::Batch) -> usize;

    /// Estimate of the bytes that the linearisation of a layer keeps.
    fn tape_bytes(&self, layer: usize, batch: &Self::Batch) -> usize;

    /// The first state, if the opening layer is here.
    fn open(&self, input: &Self::Input, batch: &Self::Batch) -> Option<Self::State>;

    /// As [`Network::open`], and how to form the opening layer's gradients.
    fn open_recorded(
        &self,
        input: &Self::Input,
        batch: &Self::Batch,
    ) -> Option<(Self::State, OpeningPullback<Self::State>)>;

    /// Whether the closing layer reads the states behind all layers, not the last one alone. What it reads then comes to it as
    /// one state, made by [`Network::read`] and [`Network::join`].
    fn reads_all_states(&self) -> bool {
        false
    }

    /// What the closing layer reads of these states of consecutive points, at least one, as one that travels.
    fn read(&self, states: &[&Self::State], batch: &Self::Batch) -> Self::State {
        states.last().map_or_else(|| self.zero_states(batch).at(0).clone(), |last| (*last).clone())
    }

    /// What was read of the states of all ranks, in their order.
    fn join(&self, read: Vec<Self::State>, batch: &Self::Batch) -> Self::State {
        self.read(&read.iter().collect::<Vec<_>>(), batch)
    }

    /// The inverse of [`Network::join`] for derivatives by what was read, where so many points each were read, none of them 0.
    fn split(&self, lambda: Self::State, points: &[usize]) -> Vec<Self::State> {
        vec![lambda; points.len()]
    }

    /// The inverse of [`Network::read`] for derivatives by what was read.
    fn unread(&self, lambda: Self::State) -> Vec<Self::State> {
        vec![lambda]
    }

    /// The output of the last state, if the closing layer is here.
    fn close(&self, state: &Self::State, batch: &Self::Batch) -> Option<Tensor<2>>;

    /// As [`Network::close`], with the loss that `loss` makes of the output, shape `[1]`, and its derivatives.
    ///
    /// # Errors
    /// If a derivative cannot be formed.
    fn close_recorded(
        &self,
        state: &Self::State,
        batch: &Self::Batch,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Result<Option<Closed<Self::State>>, StepError>;

    /// Pairs of parameters, by global name, that are one: opening layer first, closing layer second.
    fn tied(&self) -> Vec<[String; 2]> {
        Vec::new()
    }

    /// Calls `f` with every parameter, named by global layer.
    fn visit_parameters(&self, f: impl FnMut(Parameter));

    /// Loads every parameter by global name from `source`, which returns shape and values in PyTorch's layout.
    ///
    /// # Errors
    /// [`NetworkError::MissingParameter`], [`NetworkError::WrongShape`].
    fn load(self, source: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>) -> Result<Self, NetworkError>;
}
