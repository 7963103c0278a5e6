//! Layers of the decoder of an encoder-decoder, linearised by hand.

use braidnet_mgrit::Output;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::attention::{Attention, AttentionDeltas, AttentionTape};
use super::dropout::{Dropout, Site, drop_from};
use super::encoder::rows;
use super::layer_config::LayerConfig;
use super::layer_norm::{LayerNorm, LayerNormTape};
use super::mlp::{Mlp, MlpDeltas, MlpTape};
use super::pair::PairState;
use super::softmax::Attended;
use super::space::PairBatch;
use crate::stack::{each_module, module_rows};
use crate::{At, Gradients, NetworkError, TensorState};

/// `F(y; X) = phi1(y) + phi3(y + a phi1(y)) + phi2(y + a phi1(y) + phi3(y + a phi1(y)))` with `phi1 = SA(LN1)`,
/// causal, `phi3 = CA(LN3, X)` and `phi2 = MLP(LN2)`.
///
/// With `a = 1` and a step of 1 this is the pre-norm transformer layer. A step that is split in two, self-attention first,
/// is that with `a = dt`. Keys and values of the cross-attention are projections of the source's state as it is.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    ln1: LayerNorm,
    sa: Attention,
    ln2: LayerNorm,
    mlp: Mlp,
    ln3: LayerNorm,
    ca: Attention,
    #[module(skip)]
    split: bool,
    #[module(skip)]
    dropout: f64,
}

/// The linearisation of [`DecoderLayer`].
pub struct DecoderTape {
    layer: DecoderLayer,
    /// Shapes of the states of source and target.
    dims: [[usize; 3]; 2],
    dropout: Option<Dropout>,
    /// The factor `a`.
    factor: f64,
    ln1: LayerNormTape,
    sa: AttentionTape,
    ln2: LayerNormTape,
    mlp: MlpTape,
    ln3: LayerNormTape,
    ca: AttentionTape,
}

/// Cotangents of what the parts return.
pub(super) struct DecoderDeltas {
    ln1: Tensor<2>,
    sa: AttentionDeltas,
    ln2: Tensor<2>,
    mlp: MlpDeltas,
    ln3: Tensor<2>,
    ca: AttentionDeltas,
}

/// `y + a x`.
fn add_scaled(y: Tensor<2>, a: f64, x: Tensor<2>) -> Tensor<2> {
    if a == 1.0 { y + x } else { y + x * a }
}

impl DecoderLayer {
    /// A layer with burn's default initialisation. Its self-attention is causal, whatever `config` says. `split`: a step
    /// is two steps, one of the self-attention and one of the rest.
    ///
    /// # Errors
    /// As [`LayerConfig::validate`].
    pub fn new(config: &LayerConfig, split: bool, device: &Device) -> Result<Self, NetworkError> {
        config.validate()?;
        let LayerConfig { d_model, heads, d_ff, activation, dropout, .. } = *config;
        let norm = || LayerNorm::new(d_model, device);
        let attention = || Attention::new(d_model, heads, device);
        let mlp = Mlp::new(d_model, d_ff, activation, device);
        Ok(Self { ln1: norm(), sa: attention(), ln2: norm(), mlp, ln3: norm(), ca: attention(), split, dropout })
    }

    /// Whether it differs from another in nothing but parameters.
    pub(super) fn stacks_with(&self, other: &Self) -> bool {
        let heads = |layer: &Self| [layer.sa.heads(), layer.ca.heads()];
        let choices = |layer: &Self| (heads(layer), layer.mlp.activation(), layer.split, layer.dropout);
        choices(self) == choices(other)
    }

    fn factor(&self, dt: f64) -> f64 {
        if self.split { dt } else { 1.0 }
    }

    pub(super) fn evaluate(&self, x: Tensor<3>, y: Tensor<3>, at: At<'_, PairBatch>) -> Tensor<3> {
        let PairBatch { source, target } = at.batch;
        let (dims, x, y) = (y.dims(), rows(x), rows(y));
        let dropout = Dropout::of(self.dropout, target, at.layers);
        let h = self.ln1.apply(y.clone());
        let phi1 = self.sa.apply(h.clone(), h, &Attended::own(target, true, at.layers.n()));
        let phi1 = drop_from(phi1, dropout.as_ref(), Site::SelfAttention);
        let y = add_scaled(y, self.factor(at.dt), phi1.clone());
        let phi3 = self.ca.apply(self.ln3.apply(y.clone()), x, &Attended::other(target, source, at.layers.n()));
        let phi3 = drop_from(phi3, dropout.as_ref(), Site::CrossAttention);
        let phi2 = self.mlp.apply(self.ln2.apply(y + phi3.clone()));
        (drop_from(phi2, dropout.as_ref(), Site::Mlp) + phi1 + phi3).reshape(dims)
    }

    /// The result only where it is used.
    pub(super) fn linearize(
        &self,
        x: Tensor<3>,
        y: Tensor<3>,
        at: At<'_, PairBatch>,
        output: Output,
    ) -> (Option<Tensor<3>>, DecoderTape) {
        let PairBatch { source, target } = at.batch;
        let (dims, x, y) = ([x.dims(), y.dims()], rows(x), rows(y));
        let (dropout, factor) = (Dropout::of(self.dropout, target, at.layers), self.factor(at.dt));
        let (h, ln1) = self.ln1.linearize(y.clone());
        let (phi1, sa) = self.sa.linearize(h.clone(), h, Attended::own(target, true, at.layers.n()));
        let phi1 = drop_from(phi1, dropout.as_ref(), Site::SelfAttention);
        let y = add_scaled(y, factor, phi1.clone());
        let (h, ln3) = self.ln3.linearize(y.clone());
        let (phi3, ca) = self.ca.linearize(h, x, Attended::other(target, source, at.layers.n()));
        let phi3 = drop_from(phi3, dropout.as_ref(), Site::CrossAttention);
        let (h, ln2) = self.ln2.linearize(y + phi3.clone());
        let (phi2, mlp) = self.mlp.linearize(h, output);
        let f = phi2.map(|phi2| (drop_from(phi2, dropout.as_ref(), Site::Mlp) + phi1 + phi3).reshape(dims[1]));
        (f, DecoderTape { layer: self.clone(), dims, dropout, factor, ln1, sa, ln2, mlp, ln3, ca })
    }

    /// Numbers that the linearisation keeps of a batch.
    pub(super) fn kept(&self, batch: &PairBatch) -> usize {
        let [samples, queries, keys] = [batch.target.samples, batch.target.length, batch.source.length];
        let (d_model, heads) = (self.ln1.columns(), self.sa.heads());
        // Three norms and their results, q, k, v and contexts; twice the hidden features; weights of the keys.
        let of_target = 12 * d_model + 2 * self.mlp.hidden() + heads * (queries + keys);
        samples * (queries * of_target + keys * 2 * d_model)
    }

    pub(super) fn first_norm(&self) -> &LayerNorm {
        &self.ln1
    }
}

impl DecoderTape {
    pub(super) fn layer(&self) -> &DecoderLayer {
        &self.layer
    }

    /// Of some of the layers that are side by side in it; `None` where there is one.
    pub(super) fn some_rows(&self, rows: &[usize], of: usize) -> Option<Self> {
        self.rows_with(module_rows(&self.layer, rows, of), rows, of)
    }

    /// `some_rows` of each of them.
    pub(super) fn each_row(&self, of: usize) -> Option<Vec<Self>> {
        let layers = each_module(&self.layer, of).into_iter().enumerate();
        layers.map(|(row, layer)| self.rows_with(layer, &[row], of)).collect()
    }

    fn rows_with(&self, layer: DecoderLayer, rows: &[usize], of: usize) -> Option<Self> {
        Some(Self {
            layer,
            dims: self.dims.map(|[samples, length, d_model]| [samples / of * rows.len(), length, d_model]),
            dropout: self.dropout.as_ref().map(|dropout| dropout.of_rows(rows)),
            factor: self.factor,
            ln1: self.ln1.rows(rows, of)?,
            sa: Attention::tape_rows(&self.sa, rows, of),
            ln2: self.ln2.rows(rows, of)?,
            mlp: Mlp::tape_rows(&self.mlp, rows, of),
            ln3: self.ln3.rows(rows, of)?,
            ca: Attention::tape_rows(&self.ca, rows, of),
        })
    }

    /// The derivatives by the source's state and by the target's, the latter but for what comes through LN1: pulled back as
    /// far as its result.
    pub(super) fn back(&self, delta: Tensor<3>) -> ([Tensor<2>; 2], DecoderDeltas) {
        let (layer, delta) = (&self.layer, rows(delta));
        let (ln2, mlp) = layer.mlp.pull_back(&self.mlp, drop_from(delta.clone(), self.dropout.as_ref(), Site::Mlp));
        let by_y2 = layer.ln2.pull_back(&self.ln2, ln2.clone());
        let phi3 = drop_from(delta.clone() + by_y2.clone(), self.dropout.as_ref(), Site::CrossAttention);
        let ([ln3, x], ca) = layer.ca.pull_back(&self.ca, phi3);
        let past = layer.ln3.pull_back(&self.ln3, ln3.clone()) + by_y2;
        let phi1 = drop_from(add_scaled(delta, self.factor, past.clone()), self.dropout.as_ref(), Site::SelfAttention);
        let ([queries, keys], sa) = layer.sa.pull_back(&self.sa, phi1);
        ([x, past], DecoderDeltas { ln1: queries + keys, sa, ln2, mlp, ln3, ca })
    }

    /// The derivatives by both states, with what comes through LN1.
    pub(super) fn complete(&self, [x, past]: [Tensor<2>; 2], deltas: &DecoderDeltas) -> PairState {
        let y = self.layer.ln1.pull_back(&self.ln1, deltas.ln1.clone()) + past;
        let [of_x, of_y] = self.dims;
        PairState { x: Some(TensorState(x.reshape(of_x))), y: Some(TensorState(y.reshape(of_y))) }
    }

    pub(super) fn gradients(self, deltas: DecoderDeltas) -> Gradients {
        let layer = self.layer;
        let mut gradients = layer.ln1.gradients(self.ln1, deltas.ln1);
        gradients.extend(layer.sa.gradients(self.sa, deltas.sa));
        gradients.extend(layer.ln2.gradients(self.ln2, deltas.ln2));
        gradients.extend(layer.mlp.gradients(self.mlp, deltas.mlp));
        gradients.extend(layer.ln3.gradients(self.ln3, deltas.ln3));
        gradients.extend(layer.ca.gradients(self.ca, deltas.ca));
        gradients
    }
}
