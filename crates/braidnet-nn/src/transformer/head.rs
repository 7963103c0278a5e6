//! From the last state to the output.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use super::layer_norm::LayerNorm;
use super::pair::PairState;
use super::space::{PairBatch, PairSpace, SequenceBatch, SequenceSpace};
use crate::autograd::parameter_gradients;
use crate::{Closed, ClosingLayer, TensorState};

/// Normalisation over features with a learned scale and shift, and a linear map to logits: `head(LN(x))`.
#[derive(Module, Debug)]
pub struct Head {
    ln: LayerNorm,
    head: Projection,
}

/// A linear map whose weight is `[classes, d_model]` as a table of embeddings is, so that they can be one.
#[derive(Module, Debug)]
struct Projection {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Head {
    /// From `d_model` features to `classes`.
    pub fn new(d_model: usize, classes: usize, device: &Device) -> Self {
        let ln = LayerNorm::new(d_model, device);
        let weight = Initializer::Zeros.init([classes, d_model], device);
        Self { ln, head: Projection { weight, bias: Initializer::Zeros.init([classes], device) } }
    }

    /// Its weight replaced by a table of embeddings.
    pub fn tied_to(mut self, table: Tensor<2>) -> Self {
        self.head.weight = Param::from_tensor(table);
        self
    }

    /// Logits `[batch * length, classes]` of `[batch, length, d_model]`.
    fn forward(&self, u: Tensor<3>) -> Tensor<2> {
        let [batch, length, d_model] = u.dims();
        let scaled = self.ln.apply(u.reshape([batch * length, d_model]));
        scaled.matmul(self.head.weight.val().transpose()) + self.head.bias.val().unsqueeze()
    }

    fn recorded(
        &self,
        TensorState(state): &TensorState<3>,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Closed<TensorState<3>> {
        let head = self.clone().train();
        let u = state.clone().autodiff().require_grad();
        let output = head.forward(u.clone());
        let loss = loss(output.clone());
        let mut tape = loss.backward();
        Closed {
            loss: loss.inner().into_scalar::<f64>(),
            output: output.inner(),
            lambda: TensorState(u.grad_remove(&mut tape).unwrap_or_else(|| state.zeros_like())),
            gradients: parameter_gradients(&head, &mut tape),
        }
    }
}

impl ClosingLayer<SequenceSpace> for Head {
    fn close(&self, state: &TensorState<3>, _: &SequenceBatch) -> Tensor<2> {
        self.forward(state.0.clone())
    }

    fn close_recorded(
        &self,
        state: &TensorState<3>,
        _: &SequenceBatch,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Closed<TensorState<3>> {
        self.recorded(state, loss)
    }
}

/// Of an encoder-decoder: the output is that of the targets.
impl ClosingLayer<PairSpace> for Head {
    fn close(&self, state: &PairState, batch: &PairBatch) -> Tensor<2> {
        self.forward(self.target(state, batch).0)
    }

    fn close_recorded(
        &self,
        state: &PairState,
        batch: &PairBatch,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Closed<PairState> {
        let Closed { loss, output, lambda, gradients } = self.recorded(&self.target(state, batch), loss);
        Closed { loss, output, lambda: PairState { x: None, y: Some(lambda) }, gradients }
    }
}

impl Head {
    fn target(&self, state: &PairState, batch: &PairBatch) -> TensorState<3> {
        state.y.clone().unwrap_or_else(|| {
            let SequenceBatch { samples, length, .. } = batch.target;
            TensorState(self.ln.zeros([samples, length], 1))
        })
    }
}
