//! A small network and batches for it.
#![allow(dead_code, missing_docs)]

use braidnet_comm::Communicator;
use braidnet_grid::Partition;
use braidnet_nn::{DepthInit, OdeNet2d, OdeNet2dConfig};
use braidnet_train::{LayerParallel, Schedule, TrainError, cross_entropy};
use burn::tensor::{Device, Int, Tensor, TensorData};

pub const BATCH: usize = 4;

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

/// Images and classes of batch `n`, the same everywhere.
pub fn batch(n: usize) -> (Tensor<4>, Tensor<1, Int>) {
    let pixel = |i: usize| ((7 * i + 13 * n) as f32 * 0.37).sin();
    let pixels: Vec<f32> = (0..BATCH * 36).map(pixel).collect();
    let labels: Vec<i64> = (0..BATCH).map(|i| ((3 * i + n) % 10) as i64).collect();
    let device = Device::flex();
    (
        Tensor::from_data(TensorData::new(pixels, [BATCH, 1, 6, 6]), &device),
        Tensor::from_data(TensorData::new(labels, [BATCH]), &device),
    )
}

pub fn loss(target: Tensor<1, Int>) -> impl FnOnce(Tensor<2>) -> Tensor<1> {
    move |logits| cross_entropy(logits, target)
}
