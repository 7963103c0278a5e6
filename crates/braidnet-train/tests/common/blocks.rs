//! Networks of blocks, and what they give without solver and ranks.

use std::collections::BTreeMap;
use std::ops::Range;

use braidnet_comm::Communicator;
use braidnet_grid::{GridError, TimeGrid};
use braidnet_mgrit::State;
use braidnet_nn::{
    At, BlockLayer, BlockNet, BlockNetConfig, CoarseOperator, DepthInit, Network, NetworkError, NormKind, Pass,
    Pooling, RightHandSide, StateSpace,
};
use braidnet_train::{Schedule, Task};
use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};

use super::compare::{Values, by_name, parameters, text};
use super::families::{Classes, Family, SEED, model_of};
use super::{classes, dot};

/// A network of blocks of so many layers, all of them different, on 6x6 images.
pub fn blocks(per_block: &[usize], norm: Option<NormKind>) -> BlockNetConfig {
    BlockNetConfig {
        image: [1, 6, 6],
        classes: 10,
        norm,
        coarse: CoarseOperator::FirstLayer,
        depth_init: DepthInit::Independent,
        ..BlockNetConfig::new(per_block.to_vec(), 2)
    }
}

/// Whether a parameter by name is a running statistic.
pub fn is_statistic(name: &str) -> bool {
    name.contains(".running_")
}

/// Running statistics among values by name.
pub fn statistics(all: &Values) -> Values {
    all.iter().filter(|(name, _)| is_statistic(name)).map(|(name, values)| (name.clone(), values.clone())).collect()
}

impl Family for BlockNetConfig {
    type Input = Tensor<4>;
    type Net = BlockNet;
    type Sample = (Vec<f32>, i64);

    fn part(&self, range: Range<usize>) -> Result<BlockNet, NetworkError> {
        self.init(range, 4, SEED, &Device::flex())
    }

    fn grid(&self) -> Result<TimeGrid, GridError> {
        self.grid()
    }

    fn task(&self) -> Task<Classes> {
        Task::classification()
    }

    fn sample(&self, n: usize) -> (Vec<f32>, i64) {
        let pixels = self.image.iter().product::<usize>();
        ((0..pixels).map(|i| ((7 * i + 29 * n) as f32 * 0.37).sin()).collect(), (3 * n % 10) as i64)
    }

    /// Square images of one channel.
    fn inputs(samples: &[(Vec<f32>, i64)]) -> Tensor<4> {
        let pixels: Vec<f32> = samples.iter().flat_map(|sample| sample.0.iter().copied()).collect();
        let side = (pixels.len() / samples.len().max(1)).isqrt();
        Tensor::from_data(TensorData::new(pixels, [samples.len(), 1, side, side]), &Device::flex())
    }

    fn targets(samples: &[(Vec<f32>, i64)]) -> Classes {
        classes(samples.iter().map(|sample| sample.1).collect())
    }

    fn plain_output(&self, input: &Tensor<4>) -> Result<Tensor<2>, String> {
        let net = self.part(0..self.n_layers()).map_err(text)?;
        let batch = net.space().batch(input, Pass::Evaluation);
        let mut u = net.open(input, &batch).ok_or("no opening layer")?;
        let dt = self.final_time / self.n_layers() as f64;
        for (layer, rhs) in net.block.layers() {
            let f = rhs.evaluate(u.clone(), At { layers: layer.into(), dt, batch: &batch });
            match rhs {
                BlockLayer::Ode(_) => u.axpy(dt, &f),
                BlockLayer::Transition(_) => u = f,
            }
        }
        net.close(&u, &batch).ok_or_else(|| "no closing layer".to_owned())
    }

    fn couples_samples(&self) -> bool {
        self.norm == Some(NormKind::Batch)
    }
}

/// Loss and gradients of some samples as one batch: one rank, layer by layer. Running statistics are those of the batch.
pub fn plain_gradient(family: &BlockNetConfig, samples: &[(Vec<f32>, i64)]) -> Result<(f64, Values), String> {
    let mut model = model_of(family, &Schedule::sequential(), &Communicator::alone()).map_err(text)?;
    let (input, target) = (BlockNetConfig::inputs(samples), BlockNetConfig::targets(samples));
    let task = family.task();
    let forward = model.forward(samples.len(), Some(&input)).map_err(text)?;
    let loss = forward.loss(|output| (task.loss)(output, &target)).map_err(text)?;
    let value = loss.value().ok_or("no loss")?;
    let gradients = loss.backward().map_err(text)?.gradients;
    Ok((value, by_name(model.network(), &gradients)))
}

/// The sum of `all`, each times its weight.
pub fn weighted_sum(all: &[(f64, Values)]) -> Values {
    let mut sums: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (weight, values) in all {
        for (name, values) in values {
            let sum = sums.entry(name.clone()).or_insert_with(|| vec![0.0; values.len()]);
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * f64::from(*value));
        }
    }
    sums.into_iter().map(|(name, sum)| (name, sum.into_iter().map(|v| v as f32).collect())).collect()
}

/// Parameters at the beginning, of all layers.
pub fn initial(family: &BlockNetConfig) -> Result<Values, String> {
    Ok(parameters(&family.part(0..family.n_layers()).map_err(text)?))
}

/// A network with batch norm by convolutions, pooling and sums alone.
pub struct PlainBatchNorm<'a> {
    pub family: &'a BlockNetConfig,
    pub parameters: &'a Values,
}

impl PlainBatchNorm<'_> {
    /// Mean and unbiased variance of every normalised channel of a training pass, named as the running ones are.
    pub fn statistics(&self, samples: &[(Vec<f32>, i64)]) -> Values {
        let mut all = Values::new();
        let mut u = self.stage("open", "", BlockNetConfig::inputs(samples), 1, &mut all);
        let dt = self.family.final_time / self.family.n_layers() as f64;
        for layer in 0..self.family.n_layers() {
            let name = format!("layers.{layer:05}");
            if self.parameters.contains_key(&format!("{name}.conv1.weight")) {
                let inner = self.stage(&name, "1", u.clone(), 1, &mut all);
                u = u + self.stage(&name, "2", inner, 1, &mut all) * dt;
            } else if self.family.pooling == Pooling::Max {
                let options = MaxPoolOptions { stride: [1, 1], padding: [(1, 1); 2], ..MaxPoolOptions::new([3, 3]) };
                u = self.stage(&name, "", max_pool2d(u, options), 2, &mut all);
            } else {
                u = self.stage(&name, "", u, 2, &mut all);
            }
        }
        all
    }

    /// `relu(norm(conv(u)))` of a layer's convolution and norm with such a number.
    fn stage(&self, layer: &str, number: &str, u: Tensor<4>, stride: usize, all: &mut Values) -> Tensor<4> {
        let (inputs, norm) = (u.dims()[1], format!("{layer}.norm{number}"));
        let flat = |name: &str| self.parameters[name].clone();
        let weights = flat(&format!("{layer}.conv{number}.weight"));
        let outputs = weights.len() / (9 * inputs);
        let weight = Tensor::<4>::from_data(TensorData::new(weights, [outputs, inputs, 3, 3]), &u.device());
        let v = conv2d(u, weight, None, ConvOptions::new([stride; 2], [1; 2], [1; 2], 1));
        let [samples, _, height, width] = v.dims();
        let n = samples * height * width;
        let values: Vec<f32> = v.clone().swap_dims(0, 1).to_data().iter::<f32>().collect();
        let (mut scales, mut shifts) = (Vec::new(), Vec::new());
        let (mut means, mut variances) = (Vec::new(), Vec::new());
        for (c, values) in values.chunks_exact(n).enumerate() {
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64;
            let centred: Vec<f32> = values.iter().map(|v| (f64::from(*v) - mean) as f32).collect();
            let squares = dot(&centred, &centred);
            let scale = f64::from(flat(&format!("{norm}.weight"))[c]) / (squares / n as f64 + 1e-5).sqrt();
            scales.push(scale as f32);
            shifts.push((f64::from(flat(&format!("{norm}.bias"))[c]) - mean * scale) as f32);
            means.push(mean as f32);
            variances.push((squares / (n.max(2) - 1) as f64) as f32);
        }
        all.insert(format!("{norm}.running_mean"), means);
        all.insert(format!("{norm}.running_var"), variances);
        let row = |values| Tensor::<4>::from_data(TensorData::new(values, [1, outputs, 1, 1]), &v.device());
        relu(v.clone() * row(scales) + row(shifts))
    }
}
