//! Dropout at one step of training.

use burn::tensor::{Tensor, TensorData};

use super::space::SequenceBatch;
use crate::host::{change, on_host};
use crate::{Layers, Noise};

/// Which of a layer's outputs is dropped from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Site {
    SelfAttention = 0,
    Mlp = 1,
    CrossAttention = 2,
}

/// The dropout of one layer at one step.
///
/// What is dropped depends on seed, step, layer, site, the sample's place in the global batch, position and feature
/// alone: every sweep, every rank and every padding sees the same. It is drawn again where it is needed, which costs a
/// pass; to keep it would cost as much memory as a state, and memory is what linearisations are short of.
#[derive(Debug, Clone)]
pub(super) struct Dropout {
    probability: f32,
    noise: Noise,
    /// One, or those that are side by side.
    layers: Vec<usize>,
    /// Positions of a sequence.
    length: usize,
}

impl Dropout {
    /// `None` where nothing is dropped.
    pub(super) fn of(probability: f64, batch: &SequenceBatch, layers: Layers<'_>) -> Option<Self> {
        let noise = batch.noise.filter(|_| probability > 0.0)?;
        Some(Self { probability: probability as f32, noise, layers: layers.to_vec(), length: batch.length })
    }

    /// That of some of the layers that are side by side in this one.
    pub(super) fn of_rows(&self, rows: &[usize]) -> Self {
        Self { layers: rows.iter().map(|row| self.layers[*row]).collect(), ..self.clone() }
    }

    /// Drops from rows `x`, shape `[layers, samples, length, columns]`.
    fn drop_from(&self, site: Site, columns: usize, x: &mut [f32]) {
        let Self { probability, noise: Noise { seed, step, first_sample }, ref layers, length } = *self;
        let of_a_layer = (x.len() / layers.len().max(1)).max(1);
        for (layer, x) in layers.iter().zip(x.chunks_mut(of_a_layer)) {
            let key = braidnet_kernels::key(&[seed, step, *layer as u64, site as u64]);
            let dropout = braidnet_kernels::Dropout { probability, key };
            for (sample, x) in (first_sample..).zip(x.chunks_mut((length * columns).max(1))) {
                // Room for every position, so that the padding does not matter.
                dropout.apply(sample << u32::BITS, columns, x);
            }
        }
    }
}

/// Drops from rows `x`; on a cotangent, the pullback of that.
pub(super) fn drop_from(x: Tensor<2>, dropout: Option<&Dropout>, site: Site) -> Tensor<2> {
    let Some(dropout) = dropout else { return x };
    let [rows, columns] = x.dims();
    if on_host(&x) {
        return change(x, |x| dropout.drop_from(site, columns, x));
    }
    let mut factors = vec![1.0; rows * columns];
    dropout.drop_from(site, columns, &mut factors);
    let factors = Tensor::from_data(TensorData::new(factors, [rows, columns]), (&x.device(), x.dtype()));
    x * factors
}
