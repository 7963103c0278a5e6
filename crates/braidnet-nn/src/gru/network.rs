//! A recurrent network as training sees it.

use std::ops::Range;
use std::sync::Arc;

use braidnet_grid::Step;
use braidnet_mgrit::StepError;
use burn::module::Module;
use burn::nn::{Embedding, Linear};
use burn::tensor::{Device, Tensor};

use super::batch::{GruBatch, Sequences};
use super::block::{GruSteps, supports};
use super::cell::GruCell;
use super::config::{GruConfig, GruOutputs};
use super::prepared::Prepared;
use super::tape::GruTape;
use crate::autograd::parameter_gradients;
use crate::gpu::is_gpu;
use crate::{
    ByPoint, Closed, Gradients, Network, NetworkError, OpeningPullback, Parameter, Pass, TensorState, load_parameters,
    visit_parameters,
};

/// The part of a recurrent network that has some of the steps of a sequence: a copy of the parameters that all steps share, and
/// the closing layer if it has the last step; made by [`GruConfig::init`].
#[derive(Module, Debug)]
pub struct GruNet {
    /// From tokens to features, if the network takes tokens.
    pub embedding: Option<Embedding>,
    /// The cells, the lowest first.
    pub cells: Vec<GruCell>,
    /// From the last state of the top cell to the output.
    pub closing: Option<GruHead>,
    #[module(skip)]
    config: GruConfig,
    #[module(skip)]
    layers: Range<usize>,
    #[module(skip)]
    device: Device,
}

/// From states of the top cell to logits.
#[derive(Module, Debug)]
pub struct GruHead {
    pub(super) head: Linear,
}

/// Names of parameters that every rank has begin so.
const SHARED: &str = "shared";

impl GruNet {
    pub(super) fn new(
        config: GruConfig,
        layers: Range<usize>,
        (embedding, cells, closing): (Option<Embedding>, Vec<GruCell>, Option<GruHead>),
        device: &Device,
    ) -> Self {
        Self { embedding, cells, closing, config, layers, device: device.clone() }
    }

    /// Sizes and choices.
    pub fn config(&self) -> &GruConfig {
        &self.config
    }

    /// The derivative of the loss by the inputs of this rank's steps, `[steps, batch, features]`, for a network in front
    /// of this one. To be asked once the adjoint solve of `batch` is done, in place of [`Network::complete`], whose gradients come
    /// with it; `None` where no step was pulled back.
    pub fn complete_with_inputs(&self, batch: &GruBatch) -> (Gradients, Option<Tensor<3>>) {
        let Some(prepared) = &batch.prepared else { return (Gradients::new(), None) };
        let (gradients, input) = prepared.complete(true);
        let dims = [self.layers.len(), batch.samples, self.config.inputs.width()];
        (gradients, input.map(|input| input.reshape(dims)))
    }

    fn zero_state(&self, batch: &GruBatch) -> TensorState<3> {
        TensorState(Tensor::zeros([self.config.cells, batch.samples, self.config.hidden], &self.device))
    }

    /// Parameters that every rank has, and those of the closing layer.
    fn visit(&self, f: &mut impl FnMut(Parameter)) {
        if let Some(embedding) = &self.embedding {
            visit_parameters(embedding, &format!("{SHARED}.embedding"), &mut *f);
        }
        visit_parameters(&self.cells, &format!("{SHARED}.cells"), &mut *f);
        if let Some(closing) = &self.closing {
            visit_parameters(closing, "close", f);
        }
    }
}

impl GruHead {
    /// Logits of the last state of the top cell, or of what was read of all states: sample by sample, and of each step by step.
    fn forward(&self, state: Tensor<3>, outputs: GruOutputs) -> Tensor<2> {
        let [first, samples, hidden] = state.dims();
        self.head.forward(match outputs {
            GruOutputs::Last => state.narrow(0, first - 1, 1).reshape([samples, hidden]),
            GruOutputs::All => state.swap_dims(0, 1).reshape([samples * first, hidden]),
        })
    }
}

impl Network for GruNet {
    type State = TensorState<3>;
    type Batch = GruBatch;
    type Tape = GruTape;
    type Block<'a> = GruSteps;
    type Input = Sequences;

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn block<'a>(&'a self, batch: &'a GruBatch) -> GruSteps {
        let prepared = batch.prepared.clone().unwrap_or_else(|| self.make(batch));
        let is_on_gpu = is_gpu(&self.device);
        GruSteps { prepared, layers: self.layers.clone(), device: self.device.clone(), is_on_gpu }
    }

    fn supports(&self, step: &Step) -> Result<(), StepError> {
        supports(step, &self.layers, self.config.coarse_input)
    }

    fn buffer_layers(&self) -> usize {
        0
    }

    fn step_length(&self) -> f64 {
        self.config.dt()
    }

    fn batch_of_size(&self, _: usize, _: Pass) -> Option<GruBatch> {
        None
    }

    fn check(&self, input: &Sequences) -> Result<(), NetworkError> {
        input.check(&self.config)
    }

    fn batch(&self, input: &Sequences, _: Pass) -> GruBatch {
        GruBatch::of(input)
    }

    fn largest_batch(&self, samples: usize) -> GruBatch {
        GruBatch::zeros(samples, &self.config, &self.device)
    }

    /// `W_x x` of all steps of this rank, as one product.
    fn prepare(&self, batch: GruBatch) -> GruBatch {
        GruBatch { prepared: Some(self.make(&batch)), ..batch }
    }

    fn complete(&self, batch: &GruBatch) -> Gradients {
        batch.prepared.as_ref().map_or_else(Gradients::new, |prepared| prepared.complete(false).0)
    }

    fn shares_parameters(&self) -> bool {
        true
    }

    fn offers_diagonals(&self) -> bool {
        true
    }

    fn zero_states(&self, batch: &GruBatch) -> ByPoint<TensorState<3>> {
        ByPoint::everywhere(self.zero_state(batch))
    }

    fn state_bytes(&self, _: usize, batch: &GruBatch) -> usize {
        TensorState::<3>::n_bytes_of(self.config.cells * batch.samples * self.config.hidden)
    }

    fn tape_bytes(&self, _: usize, batch: &GruBatch) -> usize {
        // States, gates, and the cotangents of the projections.
        size_of::<f32>() * batch.samples * self.config.hidden * (5 * self.config.cells + 3)
    }

    /// Zeros; the inputs enter step by step.
    fn open(&self, _: &Sequences, batch: &GruBatch) -> Option<TensorState<3>> {
        (self.layers.start == 0).then(|| self.zero_state(batch))
    }

    fn open_recorded(
        &self,
        input: &Sequences,
        batch: &GruBatch,
    ) -> Option<(TensorState<3>, OpeningPullback<TensorState<3>>)> {
        let nothing: OpeningPullback<TensorState<3>> = Box::new(|_| Ok(Gradients::new()));
        Some((self.open(input, batch)?, nothing))
    }

    fn reads_all_states(&self) -> bool {
        self.config.outputs == GruOutputs::All
    }

    /// The states of the top cell, `[points, batch, hidden]`.
    fn read(&self, states: &[&TensorState<3>], _: &GruBatch) -> TensorState<3> {
        let top = |state: &&TensorState<3>| state.0.clone().narrow(0, self.config.cells - 1, 1);
        TensorState(Tensor::cat(states.iter().map(top).collect(), 0))
    }

    fn join(&self, read: Vec<TensorState<3>>, _: &GruBatch) -> TensorState<3> {
        TensorState(Tensor::cat(read.into_iter().map(|part| part.0).collect(), 0))
    }

    fn split(&self, TensorState(lambda): TensorState<3>, points: &[usize]) -> Vec<TensorState<3>> {
        let mut first = 0;
        let each = points.iter().map(|n| {
            first += n;
            TensorState(lambda.clone().narrow(0, first - n, *n))
        });
        each.collect()
    }

    fn unread(&self, TensorState(lambda): TensorState<3>) -> Vec<TensorState<3>> {
        let [points, samples, hidden] = lambda.dims();
        let below = Tensor::zeros([self.config.cells - 1, samples, hidden], (&lambda.device(), lambda.dtype()));
        let of = |n| {
            let top = lambda.clone().narrow(0, n, 1);
            TensorState(if self.config.cells > 1 { Tensor::cat(vec![below.clone(), top], 0) } else { top })
        };
        (0..points).map(of).collect()
    }

    fn close(&self, state: &TensorState<3>, _: &GruBatch) -> Option<Tensor<2>> {
        Some(self.closing.as_ref()?.forward(state.0.clone(), self.config.outputs))
    }

    fn close_recorded(
        &self,
        state: &TensorState<3>,
        _: &GruBatch,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Result<Option<Closed<TensorState<3>>>, StepError> {
        let Some(closing) = &self.closing else { return Ok(None) };
        let head = closing.clone().train();
        let u = state.0.clone().autodiff().require_grad();
        let output = head.forward(u.clone(), self.config.outputs);
        let loss = loss(output.clone());
        let mut tape = loss.backward();
        Ok(Some(Closed {
            loss: loss.inner().into_scalar::<f64>(),
            output: output.inner(),
            lambda: TensorState(u.grad_remove(&mut tape).unwrap_or_else(|| state.0.zeros_like())),
            gradients: parameter_gradients(&head, &mut tape),
        }))
    }

    fn visit_parameters(&self, mut f: impl FnMut(Parameter)) {
        self.visit(&mut f);
    }

    fn load(self, mut source: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>) -> Result<Self, NetworkError> {
        let embedding = self.embedding.map(|e| load_parameters(e, &format!("{SHARED}.embedding"), &mut source));
        let (embedding, cells) =
            (embedding.transpose()?, load_parameters(self.cells, &format!("{SHARED}.cells"), &mut source)?);
        let closing = self.closing.map(|c| load_parameters(c, "close", &mut source)).transpose()?;
        Ok(Self { embedding, cells, closing, ..self })
    }
}

impl GruNet {
    fn make(&self, batch: &GruBatch) -> Arc<Prepared> {
        let parts = (&self.config, self.embedding.as_ref(), &self.cells[..]);
        Arc::new(Prepared::new(parts, self.layers.clone(), batch))
    }
}
