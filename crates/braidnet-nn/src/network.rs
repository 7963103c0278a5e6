//! What training asks of a network besides its block of layers.

use braidnet_mgrit::{Differentiable, Linearization, Propagator, State};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::autograd::parameter_gradients;
use crate::{Gradients, NetworkError, OdeNet2d, Parameter, TensorState};

/// Forms the gradients of the opening layer from `dLoss/du_0`.
pub type OpeningPullback<S> = Box<dyn FnOnce(S) -> Gradients + Send>;

/// The end of a forward pass: loss, and what the adjoint starts from.
pub struct Closed<S> {
    /// The loss.
    pub loss: f64,
    /// Output of the closing layer, shape `[batch, ...]`.
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
    type State: State;
    /// The layers as the solver sees them.
    type Block: Differentiable<State = Self::State>
        + Propagator<State = Self::State>
        + Differentiable<Linearization: Linearization<State = Self::State, Gradients = Gradients>>;
    /// A batch of inputs.
    type Input;

    /// Where tensors live.
    fn device(&self) -> Device;

    /// The layers.
    fn block(&self) -> &Self::Block;

    /// A state of zeros for a batch of `batch` samples.
    fn zero_state(&self, batch: usize) -> Self::State;

    /// Estimate of the bytes that the linearisation of one layer keeps for `batch` samples.
    fn tape_bytes(&self, batch: usize) -> usize;

    /// The first state, if the opening layer is here.
    fn open(&self, input: &Self::Input) -> Option<Self::State>;

    /// As [`Network::open`], and how to form the opening layer's gradients.
    fn open_recorded(&self, input: &Self::Input) -> Option<(Self::State, OpeningPullback<Self::State>)>;

    /// The output of the last state, if the closing layer is here.
    fn close(&self, state: &Self::State) -> Option<Tensor<2>>;

    /// As [`Network::close`], with the loss that `loss` makes of the output, shape `[1]`, and its derivatives.
    fn close_recorded(
        &self,
        state: &Self::State,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Option<Closed<Self::State>>;

    /// Calls `f` with every parameter, named by global layer.
    fn visit_parameters(&self, f: impl FnMut(Parameter));

    /// Loads every parameter by global name from `source`, which returns shape and values in PyTorch's layout.
    ///
    /// # Errors
    /// [`NetworkError::MissingParameter`], [`NetworkError::WrongShape`].
    fn load(self, source: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>) -> Result<Self, NetworkError>;
}

impl Network for OdeNet2d {
    type State = TensorState<4>;
    type Block = crate::OdeBlock<4, crate::ConvRhs>;
    type Input = Tensor<4>;

    fn device(&self) -> Device {
        self.block.context()
    }

    fn block(&self) -> &Self::Block {
        &self.block
    }

    fn zero_state(&self, batch: usize) -> TensorState<4> {
        let [channels, height, width] = self.state_shape();
        TensorState(Tensor::zeros([batch, channels, height, width], &self.block.context()))
    }

    /// Input and ReLU mask of every convolution.
    fn tape_bytes(&self, batch: usize) -> usize {
        let n = batch * self.state_shape().iter().product::<usize>();
        let n_convs = self.block.layers().next().map_or(0, |(_, layer)| layer.n_convs());
        n_convs * n * (size_of::<f32>() + size_of::<bool>())
    }

    fn open(&self, input: &Tensor<4>) -> Option<TensorState<4>> {
        self.opening.as_ref().map(|opening| TensorState(opening.forward(input.clone())))
    }

    fn open_recorded(&self, input: &Tensor<4>) -> Option<(TensorState<4>, OpeningPullback<TensorState<4>>)> {
        let opening = self.opening.clone()?.train();
        let u = opening.forward(input.clone().autodiff());
        let state = TensorState(u.clone().inner());
        let pullback = move |TensorState(lambda): TensorState<4>| {
            if opening.num_params() == 0 {
                return Gradients::new();
            }
            parameter_gradients(&opening, &mut (u * lambda.autodiff()).backward())
        };
        Some((state, Box::new(pullback)))
    }

    fn close(&self, state: &TensorState<4>) -> Option<Tensor<2>> {
        self.closing.as_ref().map(|closing| closing.forward(state.0.clone()))
    }

    fn close_recorded(
        &self,
        state: &TensorState<4>,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Option<Closed<TensorState<4>>> {
        let closing = self.closing.clone()?.train();
        let u = state.0.clone().autodiff().require_grad();
        let output = closing.forward(u.clone());
        let loss = loss(output.clone());
        let mut tape = loss.backward();
        let zero = || state.0.zeros_like();
        Some(Closed {
            loss: loss.inner().into_scalar::<f64>(),
            output: output.inner(),
            lambda: TensorState(u.grad_remove(&mut tape).unwrap_or_else(zero)),
            gradients: parameter_gradients(&closing, &mut tape),
        })
    }

    fn visit_parameters(&self, f: impl FnMut(Parameter)) {
        OdeNet2d::visit_parameters(self, f);
    }

    fn load(self, source: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>) -> Result<Self, NetworkError> {
        OdeNet2d::load(self, source)
    }
}
