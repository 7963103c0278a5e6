//! A small network, batches and samples for it, and what tests compare.
#![allow(dead_code, missing_docs)]

pub mod blocks;
pub mod compare;
pub mod families;
pub mod recurrent;
pub mod run;

use std::iter::zip;

use braidnet_comm::{Communicator, Mesh};
use braidnet_grid::Partition;
use braidnet_nn::{DepthInit, OdeNet2d, OdeNet2dConfig};
use braidnet_train::data::{Feed, InMemory};
use braidnet_train::trainer::Samples;
use braidnet_train::{LayerParallel, Schedule, ScheduleKind, SolveConfig, TrainError, cross_entropy};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_dataset::InMemDataset;

pub const BATCH: usize = 4;
/// Layers where nothing else is said: intervals of 2, 3 and 4 cross the borders of some number of ranks.
pub const LAYERS: usize = 10;

pub fn config(layers: usize) -> OdeNet2dConfig {
    let depth_init = DepthInit::Piecewise { period: None, noise: 0.2 };
    OdeNet2dConfig { image: [1, 6, 6], hidden: 8, depth_init, ..OdeNet2dConfig::new(layers, 2) }
}

pub fn model(
    config: &OdeNet2dConfig,
    schedule: &Schedule,
    comm: &Communicator,
) -> Result<LayerParallel<OdeNet2d>, TrainError> {
    let partition = Partition::even(config.layers, comm.size())?;
    let network = config.init(partition.layers(comm.rank()), 4, 3, &Device::flex())?;
    LayerParallel::new(network, &config.grid()?, &partition, schedule, comm)
}

/// Exact and inexact ones, with two and three levels, other solves forward than backward.
pub fn schedules() -> Vec<Schedule> {
    let two = SolveConfig::new(4);
    let three = SolveConfig { max_levels: 3, max_iters: 2, ..SolveConfig::new(2) };
    vec![
        Schedule::sequential(),
        Schedule::layer_parallel(two.clone()),
        Schedule::layer_parallel(three.clone()),
        Schedule::new(ScheduleKind::Mixed, two.clone(), three.clone()),
        Schedule::new(ScheduleKind::LayerParallel, three, two),
    ]
}

pub fn pipeline() -> Schedule {
    Schedule::new(ScheduleKind::Pipeline, SolveConfig::sequential(), SolveConfig::sequential())
}

/// Images and classes of batch `n`, the same everywhere.
pub fn batch(n: usize) -> (Tensor<4>, Tensor<1, Int>) {
    let pixel = |i: usize| ((7 * i + 13 * n) as f32 * 0.37).sin();
    let labels = (0..BATCH).map(|i| ((3 * i + n) % 10) as i64).collect();
    (images((0..BATCH * 36).map(pixel).collect()), classes(labels))
}

pub fn loss(target: Tensor<1, Int>) -> impl FnOnce(Tensor<2>) -> Tensor<1> {
    move |logits| cross_entropy(logits, target)
}

fn images(pixels: Vec<f32>) -> Tensor<4> {
    let shape = [pixels.len() / 36, 1, 6, 6];
    Tensor::from_data(TensorData::new(pixels, shape), &Device::flex())
}

fn classes(labels: Vec<i64>) -> Tensor<1, Int> {
    let n = labels.len();
    Tensor::from_data(TensorData::new(labels, [n]), &Device::flex())
}

/// A training or test set of single samples.
#[derive(Clone)]
pub struct Set(Vec<(Vec<f32>, i64)>);

impl Set {
    pub fn new(n: usize) -> Self {
        let image = |s: usize| (0..36).map(|i| ((7 * i + 29 * s) as f32 * 0.37).sin()).collect();
        Self((0..n).map(|s| (image(s), (3 * s % 10) as i64)).collect())
    }

    /// As it is, with a NaN among the pixels of sample `index`.
    pub fn with_nan(mut self, index: usize) -> Self {
        self.0[index].0[17] = f32::NAN;
        self
    }

    /// What this rank has of it: inputs only on the first, targets only on the last layer rank.
    pub fn on(&self, mesh: &Mesh) -> Samples<Tensor<4>, Tensor<1, Int>> {
        let (first, last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
        let (pixels, labels): (Vec<_>, Vec<_>) = self.0.iter().cloned().unzip();
        let inputs =
            || Feed::new(InMemory(InMemDataset::new(pixels)), |samples: Vec<Vec<f32>>| images(samples.concat()));
        let targets = || Feed::new(InMemory(InMemDataset::new(labels)), classes);
        Samples { n: self.0.len(), inputs: first.then(inputs), targets: last.then(targets) }
    }
}

/// The dot product in double precision.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    zip(a, b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
