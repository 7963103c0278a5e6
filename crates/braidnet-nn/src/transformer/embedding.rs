//! From token ids to the first state.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData, s};
use serde::{Deserialize, Serialize};

use super::pair::PairState;
use super::space::{PairBatch, PairSpace, SequenceBatch, SequenceSpace, SourceTarget};
use crate::{Gradient, Gradients, OpeningLayer, OpeningPullback, TensorState};

/// What tells positions apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// Sines at even and cosines at odd features (Vaswani et al., Attention is all you need, 2017).
    #[default]
    Sinusoidal,
    /// One learned vector per position.
    Learned,
}

/// A table of `n` rows.
fn table(n: usize, d_model: usize, device: &Device) -> Embedding {
    EmbeddingConfig::new(n, d_model).init(device)
}

/// Embeddings of tokens `[batch, length]` plus those of their positions: `[batch, length, d_model]`.
fn embed(tokens: &Tensor<2, Int>, table: &Embedding, positions: Option<&Embedding>) -> TensorState<3> {
    let [_, length] = tokens.dims();
    let weight = table.weight.val();
    let [_, d_model] = weight.dims();
    let positions = match positions {
        Some(table) => table.weight.val().slice(s![0..length]),
        None => sinusoidal(length, d_model, &weight.device()),
    };
    TensorState(table.forward(tokens.clone()) + positions.unsqueeze())
}

/// The gradients of both tables: each row sums what its tokens, or its position, send back.
fn gradients(
    tokens: Tensor<2, Int>,
    table: &Embedding,
    positions: Option<&Embedding>,
    lambda: Option<TensorState<3>>,
) -> Gradients {
    let mut gradients = Vec::with_capacity(2);
    let mut of_tokens = table.weight.val().zeros_like();
    let mut of_positions = positions.map(|table| table.weight.val().zeros_like());
    if let Some(TensorState(lambda)) = lambda {
        let [batch, length, d_model] = lambda.dims();
        let rows = lambda.clone().reshape([batch * length, d_model]);
        of_tokens = of_tokens.select_assign(0, tokens.reshape([batch * length]), rows, IndexingUpdateOp::Add);
        let sums = lambda.sum_dim(0).reshape([length, d_model]);
        of_positions = of_positions.map(|zeros| zeros.slice_assign(s![0..length], sums));
    }
    gradients.push(Gradient::new(table.weight.id, of_tokens));
    gradients.extend(positions.zip(of_positions).map(|(table, values)| Gradient::new(table.weight.id, values)));
    gradients
}

/// `sin(p / 10000^(2 i / d))` at feature `2 i`, the cosine at `2 i + 1`; shape `[length, d_model]`.
fn sinusoidal(length: usize, d_model: usize, device: &Device) -> Tensor<2> {
    let value = |position: usize, feature: usize| {
        let angle = position as f64 / 10_000f64.powf((feature - feature % 2) as f64 / d_model as f64);
        (if feature.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
    };
    let values: Vec<f32> = (0..length * d_model).map(|n| value(n / d_model, n % d_model)).collect();
    Tensor::from_data(TensorData::new(values, [length, d_model]), device)
}

/// The opening layer of an encoder or decoder.
#[derive(Module, Debug)]
pub struct SequenceOpening {
    /// One row per token, shape `[vocabulary, d_model]`.
    pub embed: Embedding,
    /// Learned positions; sinusoidal where there are none.
    positions: Option<Embedding>,
}

impl SequenceOpening {
    /// For `vocabulary` tokens of `d_model` features and up to `max_length` positions.
    pub fn new(vocabulary: usize, d_model: usize, max_length: usize, positions: Positions, device: &Device) -> Self {
        let learned = (positions == Positions::Learned).then(|| table(max_length, d_model, device));
        Self { embed: table(vocabulary, d_model, device), positions: learned }
    }
}

impl OpeningLayer<SequenceSpace> for SequenceOpening {
    fn open(&self, tokens: &Tensor<2, Int>, _: &SequenceBatch) -> TensorState<3> {
        embed(tokens, &self.embed, self.positions.as_ref())
    }

    fn open_recorded(
        &self,
        tokens: &Tensor<2, Int>,
        batch: &SequenceBatch,
    ) -> (TensorState<3>, OpeningPullback<TensorState<3>>) {
        let (opening, tokens_of) = (self.clone(), tokens.clone());
        let pullback = move |lambda| Ok(gradients(tokens_of, &opening.embed, opening.positions.as_ref(), Some(lambda)));
        (self.open(tokens, batch), Box::new(pullback))
    }
}

/// The opening layer of an encoder-decoder: source and target have tables of their own.
#[derive(Module, Debug)]
pub struct PairOpening {
    src: Embedding,
    /// One row per token of the targets, shape `[vocabulary, d_model]`.
    pub tgt: Embedding,
    /// Learned positions; sinusoidal where there are none.
    src_positions: Option<Embedding>,
    tgt_positions: Option<Embedding>,
}

impl PairOpening {
    /// For vocabularies of sources and targets, `d_model` features, and so many positions at most.
    pub fn new(
        vocabularies: [usize; 2],
        d_model: usize,
        max_lengths: [usize; 2],
        positions: Positions,
        device: &Device,
    ) -> Self {
        let [src, tgt] = vocabularies.map(|n| table(n, d_model, device));
        let [src_positions, tgt_positions] =
            max_lengths.map(|n| (positions == Positions::Learned).then(|| table(n, d_model, device)));
        Self { src, tgt, src_positions, tgt_positions }
    }
}

impl OpeningLayer<PairSpace> for PairOpening {
    fn open(&self, input: &SourceTarget, _: &PairBatch) -> PairState {
        PairState {
            x: Some(embed(&input.source, &self.src, self.src_positions.as_ref())),
            y: Some(embed(&input.target, &self.tgt, self.tgt_positions.as_ref())),
        }
    }

    fn open_recorded(&self, input: &SourceTarget, batch: &PairBatch) -> (PairState, OpeningPullback<PairState>) {
        let (opening, SourceTarget { source, target }) = (self.clone(), input.clone());
        let pullback = move |PairState { x, y }| {
            let mut all = gradients(source, &opening.src, opening.src_positions.as_ref(), x);
            all.extend(gradients(target, &opening.tgt, opening.tgt_positions.as_ref(), y));
            Ok(all)
        };
        (self.open(input, batch), Box::new(pullback))
    }
}
