//! What a rank makes of a batch once, for all sweeps and levels, and what its sweeps make of the shared parameters.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use braidnet_grid::Step;
use burn::nn::Embedding;
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor};

use super::batch::{GruBatch, Inputs};
use super::cell::{GruCell, Weights};
use super::config::GruConfig;
use super::pointwise::{Count, Pace};
use super::rows::{Part, Rows};
use crate::host::single;
use crate::{CoarseOperator, Gradient, Gradients, linear};

/// The inputs of a rank's steps as the first cell reads them, `W_x x + b_x` of all of them at once, and sums of gradients.
#[derive(Debug)]
pub(super) struct Prepared {
    pub config: GruConfig,
    pub cells: Vec<Weights>,
    /// The steps of this rank.
    layers: Range<usize>,
    samples: usize,
    lengths: Option<Arc<[u32]>>,
    /// Inputs of all steps, `[steps * samples, width]`, step by step.
    x: Tensor<2>,
    /// Where they are from, if they are embedded.
    embedded: Option<(Embedding, Tensor<1, Int>)>,
    /// `W_x x + b_x` of the first cell, row by row as `x`.
    projections: Rows,
    /// Their means over runs, by first step and length, made when a coarse step first asks.
    means: Mutex<HashMap<(usize, usize), Arc<Rows>>>,
    sums: Mutex<Sums>,
}

/// Gradients summed over the layers that were pulled back.
#[derive(Debug, Default)]
struct Sums {
    /// Of the state's weight and bias, and of the input's where it is no projection, of every cell.
    cells: Vec<[Option<(Tensor<2>, Tensor<1>)>; 2]>,
    /// By the projections, step by step; empty rows for steps without.
    projections: Vec<Option<Rows>>,
}

/// A product of a cell: with its state, or with its input.
#[derive(Debug, Clone, Copy)]
pub(super) enum Product {
    State,
    Input,
}

impl Prepared {
    pub fn new(
        (config, embedding, cells): (&GruConfig, Option<&Embedding>, &[GruCell]),
        layers: Range<usize>,
        batch: &GruBatch,
    ) -> Self {
        let cells: Vec<Weights> = cells.iter().map(Weights::of).collect();
        let (x, embedded) = inputs(config, embedding, &layers, batch, (&cells[0].x.device(), cells[0].x.dtype()));
        let mut projections = Rows::of(x.clone().matmul(cells[0].x.clone()));
        projections.add_bias(&cells[0].x_bias);
        let sums = Sums { cells: vec![[None, None]; cells.len()], projections: vec![None; layers.len()] };
        let (config, samples, lengths) = (config.clone(), batch.samples, batch.lengths.clone());
        let (means, sums) = (Mutex::default(), Mutex::new(sums));
        Self { config, cells, layers, samples, lengths, x, embedded, projections, means, sums }
    }

    pub fn samples(&self) -> usize {
        self.samples
    }

    /// What `steps` do with their gates.
    pub fn pace(&self, steps: &[Step]) -> Pace {
        let count = |step: &Step| match &self.lengths {
            None => Count::All(step.fine.len() as u32),
            Some(lengths) => {
                let (start, end) = (step.fine.start as u32, step.fine.end as u32);
                Count::Each(lengths.iter().map(|n| (*n).clamp(start, end) - start).collect())
            }
        };
        let (form, coarse) = (self.config.form, self.config.coarse);
        let counts = steps.iter().map(count).collect();
        Pace { form, coarse, dt: self.config.dt(), samples: self.samples, counts }
    }

    /// What the first cell reads in a step.
    pub fn projection(&self, step: &Step) -> Projection<'_> {
        let place = |layer: usize| (layer - self.layers.start) * self.samples;
        if self.config.coarse_input == CoarseOperator::FirstLayer || step.fine.len() == 1 {
            return Projection::One(self.projections.part(place(step.layer), self.samples));
        }
        let mean = || {
            let part = |layer| self.projections.part(place(layer), self.samples);
            Arc::new(Rows::mean(&step.fine.clone().map(part).collect::<Vec<_>>()))
        };
        let mut means = self.means.lock().unwrap_or_else(PoisonError::into_inner);
        Projection::Mean(Arc::clone(means.entry((step.fine.start, step.fine.len())).or_insert_with(mean)))
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the gradients of a product with `x` whose cotangents are `delta`.
    pub fn add(&self, cell: usize, product: Product, x: Rows, delta: &Rows) {
        let bias = single(delta.sum());
        let weight = single(x.into_tensor().transpose().matmul(delta.clone().into_tensor()));
        let mut sums = self.sums();
        let sum = &mut sums.cells[cell][product as usize];
        *sum = Some(match sum.take() {
            Some((w, b)) => (w + weight, b + bias),
            None => (weight, bias),
        });
    }

    /// Keeps the cotangents of the projections of `steps`.
    pub fn add_to_projections(&self, steps: &[usize], delta: Rows) {
        let mut sums = self.sums();
        if let [layer] = steps {
            sums.projections[layer - self.layers.start] = Some(delta);
            return;
        }
        for (i, layer) in steps.iter().enumerate() {
            sums.projections[layer - self.layers.start] = Some(delta.part(i * self.samples, self.samples).to_rows());
        }
    }

    /// The cotangents of all projections, zero for layers that were not pulled back; `None` if none was.
    fn projection_deltas(&self) -> Option<Tensor<2>> {
        let mut each: Vec<Option<Rows>> = self.sums().projections.iter_mut().map(Option::take).collect();
        let zeros = each.iter().flatten().next()?.zeros_like();
        let each: Vec<Rows> = each.iter_mut().map(|rows| rows.take().unwrap_or_else(|| zeros.clone())).collect();
        let parts: Vec<_> = each.iter().map(|rows| (rows, 0)).collect();
        Some(Rows::gather(&parts, self.samples).into_owned().into_tensor())
    }

    /// The gradients of the shared parameters, summed over the layers that were pulled back since the last call, and
    /// those of the inputs, if they are wanted.
    pub fn complete(&self, with_inputs: bool) -> (Gradients, Option<Tensor<2>>) {
        let mut gradients = Gradients::new();
        let mut input = None;
        if let Some(delta) = self.projection_deltas() {
            let first = &self.cells[0];
            gradients.extend(linear::gradients(&first.cell.x, self.x.clone(), delta.clone()));
            let back = || delta.matmul(first.x_transposed.clone());
            input = (with_inputs || self.embedded.is_some()).then(back);
            if let Some(((embedding, tokens), back)) = self.embedded.as_ref().zip(input.clone()) {
                let table = single(embedding.weight.val().zeros_like());
                let gradient = table.select_assign(0, tokens.clone(), single(back), IndexingUpdateOp::Add);
                gradients.push(Gradient::new(embedding.weight.id, gradient));
            }
        }
        let cells = std::mem::replace(&mut self.sums().cells, vec![[None, None]; self.cells.len()]);
        for (weights, products) in self.cells.iter().zip(cells) {
            for (product, of) in products.into_iter().zip([&weights.cell.h, &weights.cell.x]) {
                let Some((weight, bias)) = product else { continue };
                gradients.push(Gradient::new(of.weight.id, weight));
                gradients.extend(of.bias.as_ref().map(|of| Gradient::new(of.id, bias)));
            }
        }
        (gradients, input)
    }
}

/// The inputs of the steps `layers`, step by step, and where they are from if they are embedded.
fn inputs(
    config: &GruConfig,
    embedding: Option<&Embedding>,
    layers: &Range<usize>,
    batch: &GruBatch,
    (device, dtype): (&Device, DType),
) -> (Tensor<2>, Option<(Embedding, Tensor<1, Int>)>) {
    let rows = layers.len() * batch.samples;
    match (&batch.inputs, embedding) {
        (Inputs::Tokens(tokens), Some(embedding)) => {
            let of = |layer| (0..batch.samples).map(move |s| tokens[s * config.length + layer]);
            let own: Vec<u32> = layers.clone().flat_map(of).collect();
            let own = GruBatch::tokens(&own, device);
            (embedding.weight.val().select(0, own.clone()), Some((embedding.clone(), own)))
        }
        (Inputs::Features(x), _) => {
            let own = x.0.clone().narrow(1, layers.start, layers.len()).cast(dtype);
            (own.swap_dims(0, 1).reshape([rows, config.inputs.width()]), None)
        }
        // Refused when the input was checked; a network without a table reads nothing.
        (Inputs::Tokens(_), None) => (Tensor::zeros([rows, config.inputs.width()], (device, dtype)), None),
    }
}

/// What the first cell reads.
#[allow(clippy::large_enum_variant)] // One per step of a call.
pub(super) enum Projection<'a> {
    One(Part<'a>),
    Mean(Arc<Rows>),
}

impl Projection<'_> {
    pub fn part(&self) -> Part<'_> {
        match self {
            Self::One(part) => part.clone(),
            Self::Mean(rows) => rows.all(),
        }
    }
}
