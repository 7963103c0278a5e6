//! Closing layers: from the last state to the output.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::autograd::parameter_gradients;
use crate::grid_space::{GridSpace, Samples};
use crate::{Closed, ClosingLayer, TensorState};

/// `fc2(relu(fc1(flatten(u))))`.
#[derive(Module, Debug)]
pub struct Dense {
    fc1: Linear,
    fc2: Linear,
}

impl Dense {
    /// From `features` numbers per sample over `hidden` to `classes`, with burn's default initialisation.
    pub fn new(features: usize, hidden: usize, classes: usize, device: &Device) -> Self {
        Self {
            fc1: LinearConfig::new(features, hidden).init(device),
            fc2: LinearConfig::new(hidden, classes).init(device),
        }
    }

    /// From the last state `[batch, channels, ...]` to logits `[batch, classes]`.
    fn forward<const D: usize>(&self, u: Tensor<D>) -> Tensor<2> {
        self.fc2.forward(relu(self.fc1.forward(u.flatten(1, D - 1))))
    }
}

/// `fc(mean of u over positions)`: global average pooling, and a dense layer.
#[derive(Module, Debug)]
pub struct Pooled {
    fc: Linear,
}

impl Pooled {
    /// From `channels` channels to `classes`, with burn's default initialisation.
    pub fn new(channels: usize, classes: usize, device: &Device) -> Self {
        Self { fc: LinearConfig::new(channels, classes).init(device) }
    }

    /// From the last state `[batch, channels, ...]` to logits `[batch, classes]`.
    fn forward<const D: usize>(&self, u: Tensor<D>) -> Tensor<2> {
        let [batch, channels] = [u.dims()[0], u.dims()[1]];
        let means = u.reshape([batch as i32, channels as i32, -1]).mean_dim(2);
        self.fc.forward(means.reshape([batch, channels]))
    }
}

impl<const D: usize> ClosingLayer<GridSpace<D>> for Dense {
    fn close(&self, state: &TensorState<D>, _: &Samples) -> Tensor<2> {
        self.forward(state.0.clone())
    }

    fn close_recorded(
        &self,
        state: &TensorState<D>,
        _: &Samples,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Closed<TensorState<D>> {
        record(self, Self::forward, state, loss)
    }
}

impl<const D: usize> ClosingLayer<GridSpace<D>> for Pooled {
    fn close(&self, state: &TensorState<D>, _: &Samples) -> Tensor<2> {
        self.forward(state.0.clone())
    }

    fn close_recorded(
        &self,
        state: &TensorState<D>,
        _: &Samples,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Closed<TensorState<D>> {
        record(self, Self::forward, state, loss)
    }
}

/// The closing layer and the loss, with all derivatives by burn's autograd.
fn record<M: Module, const D: usize>(
    closing: &M,
    forward: impl FnOnce(&M, Tensor<D>) -> Tensor<2>,
    state: &TensorState<D>,
    loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
) -> Closed<TensorState<D>> {
    let closing = closing.clone().train();
    let u = state.0.clone().autodiff().require_grad();
    let output = forward(&closing, u.clone());
    let loss = loss(output.clone());
    let mut tape = loss.backward();
    let zero = || state.0.zeros_like();
    Closed {
        loss: loss.inner().into_scalar::<f64>(),
        output: output.inner(),
        lambda: TensorState(u.grad_remove(&mut tape).unwrap_or_else(zero)),
        gradients: parameter_gradients(&closing, &mut tape),
    }
}
