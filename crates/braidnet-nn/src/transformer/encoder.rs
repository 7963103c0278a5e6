//! Transformer layers on one sequence, linearised by hand: of encoders and of decoder-only networks.

use braidnet_mgrit::{Output, StepError};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::attention::{Attention, AttentionDeltas, AttentionTape};
use super::dropout::{Dropout, Site, drop_from};
use super::layer_config::LayerConfig;
use super::layer_norm::{LayerNorm, LayerNormTape};
use super::mlp::{Mlp, MlpDeltas, MlpTape};
use super::softmax::Attended;
use super::space::{SequenceBatch, SequenceSpace};
use crate::stack::{each_module, module_rows};
use crate::{At, Gradients, NetworkError, PendingRhs, RhsTape, RightHandSide, TensorState};

/// `F(x) = phi1(x) + phi2(x + phi1(x))` with `phi1 = SA(LN1(x))`, `phi2 = MLP(LN2(x))`: with a step of 1 the pre-norm
/// transformer layer (Xiong and others 2020).
#[derive(Module, Debug)]
pub struct EncoderLayer {
    ln1: LayerNorm,
    sa: Attention,
    ln2: LayerNorm,
    mlp: Mlp,
    #[module(skip)]
    causal: bool,
    #[module(skip)]
    dropout: f64,
}

/// All positions of all sequences as rows.
pub(super) fn rows(x: Tensor<3>) -> Tensor<2> {
    let [samples, length, d_model] = x.dims();
    x.reshape([samples * length, d_model])
}

impl EncoderLayer {
    /// A layer with burn's default initialisation.
    ///
    /// # Errors
    /// As [`LayerConfig::validate`].
    pub fn new(config: &LayerConfig, device: &Device) -> Result<Self, NetworkError> {
        config.validate()?;
        let LayerConfig { d_model, heads, d_ff, activation, dropout, causal } = *config;
        let norm = || LayerNorm::new(d_model, device);
        let (sa, mlp) = (Attention::new(d_model, heads, device), Mlp::new(d_model, d_ff, activation, device));
        Ok(Self { ln1: norm(), sa, ln2: norm(), mlp, causal, dropout })
    }

    /// Numbers that the linearisation keeps of a batch.
    pub(super) fn kept(&self, batch: &SequenceBatch) -> usize {
        let (positions, d_model) = (batch.samples * batch.length, self.ln1.columns());
        // Two norms and their results, q, k, v and the context; twice the hidden features; weights of the keys.
        positions * (8 * d_model + 2 * self.mlp.hidden() + self.sa.heads() * batch.length)
    }

    pub(super) fn first_norm(&self) -> &LayerNorm {
        &self.ln1
    }
}

/// The linearisation of [`EncoderLayer`].
pub struct EncoderTape {
    layer: EncoderLayer,
    /// Shape of the state.
    dims: [usize; 3],
    dropout: Option<Dropout>,
    ln1: LayerNormTape,
    sa: AttentionTape,
    ln2: LayerNormTape,
    mlp: MlpTape,
}

/// Cotangents of what the parts return.
struct Deltas {
    ln1: Tensor<2>,
    sa: AttentionDeltas,
    ln2: Tensor<2>,
    mlp: MlpDeltas,
}

impl RightHandSide for EncoderLayer {
    type Space = SequenceSpace;
    type Tape = EncoderTape;

    const STACKS: bool = true;

    fn stacks_with(&self, other: &Self) -> bool {
        let choices = |layer: &Self| (layer.sa.heads(), layer.mlp.activation(), layer.causal, layer.dropout);
        choices(self) == choices(other)
    }

    fn evaluate(&self, TensorState(x): TensorState<3>, at: At<'_, SequenceBatch>) -> TensorState<3> {
        let (dims, x) = (x.dims(), rows(x));
        let dropout = Dropout::of(self.dropout, at.batch, at.layers);
        let h = self.ln1.apply(x.clone());
        let phi1 = self.sa.apply(h.clone(), h, &Attended::own(at.batch, self.causal, at.layers.n()));
        let phi1 = drop_from(phi1, dropout.as_ref(), Site::SelfAttention);
        let phi2 = self.mlp.apply(self.ln2.apply(x + phi1.clone()));
        let phi2 = drop_from(phi2, dropout.as_ref(), Site::Mlp);
        TensorState((phi2 + phi1).reshape(dims))
    }

    fn linearize(&self, u: TensorState<3>, at: At<'_, SequenceBatch>, output: Output) -> (TensorState<3>, EncoderTape) {
        let (dims, x) = (u.0.dims(), rows(u.0.clone()));
        let dropout = Dropout::of(self.dropout, at.batch, at.layers);
        let (h, ln1) = self.ln1.linearize(x.clone());
        let (phi1, sa) = self.sa.linearize(h.clone(), h, Attended::own(at.batch, self.causal, at.layers.n()));
        let phi1 = drop_from(phi1, dropout.as_ref(), Site::SelfAttention);
        let (h, ln2) = self.ln2.linearize(x + phi1.clone());
        let (phi2, mlp) = self.mlp.linearize(h, output);
        let f = phi2.map(|phi2| TensorState((drop_from(phi2, dropout.as_ref(), Site::Mlp) + phi1).reshape(dims)));
        (f.unwrap_or(u), EncoderTape { layer: self.clone(), dims, dropout, ln1, sa, ln2, mlp })
    }

    fn tape_bytes(&self, batch: &SequenceBatch, _: usize) -> usize {
        size_of::<f32>() * self.kept(batch)
    }
}

impl EncoderTape {
    /// The derivative by the state, but for what comes through LN1: pulled back as far as its result.
    fn back(&self, delta: Tensor<3>) -> (Tensor<2>, Deltas) {
        let (layer, delta) = (&self.layer, rows(delta));
        let (ln2, mlp) = layer.mlp.pull_back(&self.mlp, drop_from(delta.clone(), self.dropout.as_ref(), Site::Mlp));
        let past = layer.ln2.pull_back(&self.ln2, ln2.clone());
        let phi1 = drop_from(delta + past.clone(), self.dropout.as_ref(), Site::SelfAttention);
        let ([queries, keys], sa) = layer.sa.pull_back(&self.sa, phi1);
        (past, Deltas { ln1: queries + keys, sa, ln2, mlp })
    }

    /// Adds what comes through LN1.
    fn complete(&self, past: Tensor<2>, deltas: &Deltas) -> TensorState<3> {
        let through = self.layer.ln1.pull_back(&self.ln1, deltas.ln1.clone());
        TensorState((through + past).reshape(self.dims))
    }

    fn gradients(self, deltas: Deltas) -> Gradients {
        let layer = self.layer;
        let mut gradients = layer.ln1.gradients(self.ln1, deltas.ln1);
        gradients.extend(layer.sa.gradients(self.sa, deltas.sa));
        gradients.extend(layer.ln2.gradients(self.ln2, deltas.ln2));
        gradients.extend(layer.mlp.gradients(self.mlp, deltas.mlp));
        gradients
    }

    pub(super) fn layer(&self) -> &EncoderLayer {
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

    fn rows_with(&self, layer: EncoderLayer, rows: &[usize], of: usize) -> Option<Self> {
        let [samples, length, d_model] = self.dims;
        Some(Self {
            layer,
            dims: [samples / of * rows.len(), length, d_model],
            dropout: self.dropout.as_ref().map(|dropout| dropout.of_rows(rows)),
            ln1: self.ln1.rows(rows, of)?,
            sa: Attention::tape_rows(&self.sa, rows, of),
            ln2: self.ln2.rows(rows, of)?,
            mlp: Mlp::tape_rows(&self.mlp, rows, of),
        })
    }
}

/// Zeros for every parameter.
pub(super) fn zero_gradients<M: Module>(module: &M) -> Gradients {
    let mut gradients = Gradients::new();
    crate::visit_parameters(module, "", |p| gradients.push(crate::Gradient::new(p.id, p.values.zeros_like())));
    gradients
}

impl RhsTape for EncoderTape {
    type State = TensorState<3>;

    fn rows(&self, rows: &[usize], of: usize) -> Option<Self> {
        self.some_rows(rows, of)
    }

    fn each(&self, of: usize) -> Option<Vec<Self>> {
        self.each_row(of)
    }

    fn pullback(&self, TensorState(delta): TensorState<3>) -> Result<TensorState<3>, StepError> {
        let (past, deltas) = self.back(delta);
        Ok(self.complete(past, &deltas))
    }

    fn pullback_with_gradients(
        self,
        TensorState(delta): TensorState<3>,
        output: Output,
    ) -> Result<(Option<TensorState<3>>, PendingRhs), StepError> {
        let (past, deltas) = self.back(delta);
        let state = (output == Output::Used).then(|| self.complete(past, &deltas));
        Ok((state, Box::new(move || Ok(self.gradients(deltas)))))
    }
}
