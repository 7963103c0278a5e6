//! Softmax of attention scores.

use std::sync::Arc;

use burn::tensor::{Bool, Tensor, TensorData};

use super::space::SequenceBatch;
use crate::gpu;
use crate::host::{Numbers, change, on_host, single};

/// Which keys the queries of every sequence attend to.
#[derive(Debug, Clone)]
pub(super) struct Attended {
    pub(super) samples: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    /// Whether query `n` attends to the keys `0..=n` alone.
    causal: bool,
    /// Keys that no query attends to, `samples x keys`.
    padding: Option<Arc<[bool]>>,
}

/// Far below any score, yet finite, so that a row of nothing else has no NaN.
const FAR_BELOW: f64 = -1e30;

impl Attended {
    /// A sequence that attends to itself, for so many stacked layers.
    pub(super) fn own(batch: &SequenceBatch, causal: bool, layers: usize) -> Self {
        Self { causal, ..Self::other(batch, batch, layers) }
    }

    /// A sequence that attends to another, for so many stacked layers.
    pub(super) fn other(queries: &SequenceBatch, keys: &SequenceBatch, layers: usize) -> Self {
        let (samples, queries, padding) = (layers * queries.samples, queries.length, keys.padding.clone());
        let padding = if layers > 1 { padding.map(|padding| padding.repeat(layers).into()) } else { padding };
        Self { samples, queries, keys: keys.length, causal: false, padding }
    }

    /// That of `n` of the `of` layers that are side by side in this one; all attend alike.
    pub(super) fn of_rows(&self, n: usize, of: usize) -> Self {
        let padding = self.padding.as_ref().map(|padding| padding[..padding.len() / of * n].into());
        Self { samples: self.samples / of * n, padding, ..*self }
    }

    fn kernel(&self, heads: usize) -> braidnet_kernels::Attention<'_> {
        let Self { samples: batch, queries, keys, causal, ref padding } = *self;
        braidnet_kernels::Attention { batch, heads, queries, keys, causal, masked: padding.as_deref() }
    }

    /// Shape `[samples, 1, queries or 1, keys]`, true where the key does not count; `None` where all count.
    fn mask(&self, like: &Tensor<4>) -> Option<Tensor<4, Bool>> {
        let Self { samples, queries, keys, causal, ref padding } = *self;
        let device = like.device();
        let padding = padding.as_ref().map(|padding| {
            Tensor::<4, Bool>::from_data(TensorData::new(padding.to_vec(), [samples, 1, 1, keys]), &device)
        });
        let ahead = causal.then(|| {
            let ahead: Vec<bool> = (0..queries).flat_map(|q| (0..keys).map(move |key| key > q)).collect();
            Tensor::<4, Bool>::from_data(TensorData::new(ahead, [1, 1, queries, keys]), &device)
        });
        let size = [samples, 1, queries, keys];
        match (padding, ahead) {
            (Some(padding), Some(ahead)) => Some(padding.expand(size).bool_or(ahead.expand(size))),
            (padding, ahead) => padding.or(ahead),
        }
    }

    /// Shape `[samples, keys]`, not 0 where padding does not count; `None` where there is none.
    fn masked(&self, like: &Tensor<4>) -> Option<Tensor<2>> {
        let padding: Vec<f32> =
            self.padding.as_ref()?.iter().map(|is_padding| f32::from(u8::from(*is_padding))).collect();
        Some(Tensor::from_data(TensorData::new(padding, [self.samples, self.keys]), &like.device()))
    }

    /// `softmax(scale scores)` over the keys that count, shape `[samples, heads, queries, keys]`. A row without such a
    /// key is zero.
    pub(super) fn softmax(&self, scores: Tensor<4>, scale: f64) -> Tensor<4> {
        let dims = scores.dims();
        if on_host(&scores) {
            return change(scores, |scores| self.kernel(dims[1]).softmax(scores, scale as f32));
        }
        if let Some(p) = gpu::softmax(&scores, scale as f32, self.causal, self.masked(&scores).as_ref()) {
            return p;
        }
        let mask = self.mask(&scores).map(|mask| mask.expand(dims));
        let dtype = scores.dtype();
        let mut scores = single(scores) * scale;
        if let Some(mask) = &mask {
            scores = scores.mask_fill(mask.clone(), FAR_BELOW);
        }
        let mut p = (scores.clone() - scores.max_dim(3)).exp();
        if let Some(mask) = mask {
            p = p.mask_fill(mask, 0.0);
        }
        let sum = p.clone().sum_dim(3);
        let is_empty = sum.clone().equal_elem(0.0);
        (p / sum.mask_fill(is_empty, 1.0)).cast(dtype)
    }

    /// The derivative by the scores: `scale p (delta - sum(p delta))` in every row.
    pub(super) fn pull_back(&self, p: &Tensor<4>, delta: Tensor<4>, scale: f64) -> Tensor<4> {
        if on_host(&delta) {
            let (heads, p) = (p.dims()[1], Numbers::of(p.clone()));
            return change(delta, |delta| self.kernel(heads).softmax_pullback(p.as_slice(), delta, scale as f32));
        }
        if let Some(back) = gpu::softmax_pullback(p, &delta, scale as f32) {
            return back;
        }
        let (dtype, p, delta) = (delta.dtype(), single(p.clone()), single(delta));
        let mean = (p.clone() * delta.clone()).sum_dim(3);
        (p * (delta - mean) * scale).cast(dtype)
    }
}
