//! Normalisation of channels on a grid: over the batch (Ioffe and Szegedy 2015), or over groups of channels (Wu and He 2018).

use std::collections::HashMap;

use braidnet_kernels::{ChannelNorm, NormOver};
use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::host::{Numbers, on_host, single, tensor};
use crate::stack::{split, tensor_rows};
use crate::{Gradient, Gradients, map_parameters};

/// Added to the variance.
const EPSILON: f64 = 1e-5;

/// Part of a running statistic that one training step replaces, as PyTorch has it.
pub const MOMENTUM: f64 = 0.1;

/// Over what channels are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// Each channel over samples and positions. Training uses the mean and the variance of the batch, in every sweep and on every
    /// level; the running ones, which evaluation uses, take those of the final sweep over the layers, once per training step.
    Batch,
    /// Each sample and group of so many consecutive channels, over positions.
    Group(usize),
    /// Each sample, over channels and positions.
    Layer,
}

impl NormKind {
    /// Whether it can normalise so many channels.
    pub(crate) fn divides(self, channels: usize) -> bool {
        !matches!(self, Self::Group(size) if size == 0 || !channels.is_multiple_of(size))
    }

    fn over(self, channels: usize) -> NormOver {
        match self {
            Self::Batch => NormOver::Batch,
            Self::Group(size) => NormOver::Groups(channels / size.max(1)),
            Self::Layer => NormOver::Groups(1),
        }
    }
}

/// Every channel scaled and shifted after its normalisation: `n(x) weight + bias`.
#[derive(Module, Debug)]
pub struct Norm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Option<Param<Tensor<1>>>,
    running_var: Option<Param<Tensor<1>>>,
    #[module(skip)]
    kind: NormKind,
}

/// Means and variances, one per channel, or per sample and group.
#[derive(Debug, Clone)]
struct Moments {
    mean: Tensor<1>,
    variance: Tensor<1>,
}

/// What the linearisation keeps: the input and its moments.
#[derive(Debug, Clone)]
pub(crate) struct NormTape<const D: usize> {
    input: Tensor<D>,
    moments: Moments,
}

impl<const D: usize> NormTape<D> {
    /// Of some of the layers that are side by side in it.
    pub(crate) fn rows(&self, rows: &[usize], of: usize) -> Self {
        let [mean, variance] = [&self.moments.mean, &self.moments.variance].map(|x| tensor_rows(x, rows, of));
        Self { input: tensor_rows(&self.input, rows, of), moments: Moments { mean, variance } }
    }

    /// [`NormTape::rows`] of each of them.
    pub(crate) fn each(self, of: usize) -> Vec<Self> {
        let Moments { mean, variance } = self.moments;
        let moments = split(mean, of).into_iter().zip(split(variance, of));
        let pairs = split(self.input, of).into_iter().zip(moments);
        pairs.map(|(input, (mean, variance))| Self { input, moments: Moments { mean, variance } }).collect()
    }
}

impl Norm {
    /// Of `channels` channels; weight 1, bias 0, running mean 0, running variance 1.
    pub fn new(kind: NormKind, channels: usize, device: &Device) -> Self {
        let fixed = |values: Tensor<1>| Param::from_tensor(values).set_require_grad(false);
        let is_batch = kind == NormKind::Batch;
        Self {
            weight: Initializer::Ones.init([channels], device),
            bias: Initializer::Zeros.init([channels], device),
            running_mean: is_batch.then(|| fixed(Tensor::zeros([channels], device))),
            running_var: is_batch.then(|| fixed(Tensor::ones([channels], device))),
            kind,
        }
    }

    /// Whether it normalises as another does.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
    }

    /// Of all layers that are stacked.
    fn channels(&self) -> usize {
        self.weight.dims()[0]
    }

    /// How many layers are stacked in one whose channels are normalised in `x`.
    fn layers<const D: usize>(&self, x: &Tensor<D>) -> usize {
        self.channels() / x.dims()[1]
    }

    /// Whether the kernels on slices apply to `x`: they take one layer.
    fn is_on_host<const D: usize>(&self, x: &Tensor<D>) -> bool {
        on_host(x) && self.layers(x) == 1
    }

    fn kernel<const D: usize>(&self, x: &Tensor<D>) -> ChannelNorm {
        let channels = self.channels();
        let positions = x.dims()[2..].iter().product();
        ChannelNorm { over: self.kind.over(channels), channels, positions, eps: EPSILON as f32 }
    }

    /// The moments that evaluation uses where they are not those of `x`.
    fn running(&self) -> Option<Moments> {
        let (mean, variance) = self.running_mean.as_ref().zip(self.running_var.as_ref())?;
        Some(Moments { mean: mean.val(), variance: variance.val() })
    }

    /// Of `x`, shape `[batch, channels, ...]`, and a ReLU behind it.
    pub(crate) fn apply<const D: usize>(&self, x: Tensor<D>, is_training: bool) -> Tensor<D> {
        let moments = if is_training { None } else { self.running() };
        let moments = moments.unwrap_or_else(|| self.moments(&x));
        self.apply_with(x, &moments)
    }

    /// As `apply` in training.
    pub(crate) fn linearize<const D: usize>(&self, x: Tensor<D>) -> (Tensor<D>, NormTape<D>) {
        let moments = self.moments(&x);
        (self.apply_with(x.clone(), &moments), NormTape { input: x, moments })
    }

    fn moments<const D: usize>(&self, x: &Tensor<D>) -> Moments {
        if !self.is_on_host(x) {
            let rows = self.rows(single(x.clone()));
            let [n, _] = rows.dims();
            let mean = rows.clone().mean_dim(1);
            let difference = rows - mean.clone();
            let variance = (difference.clone() * difference).mean_dim(1);
            return Moments { mean: mean.reshape([n]), variance: variance.reshape([n]) };
        }
        let kernel = self.kernel(x);
        let n = kernel.n_moments(x.dims()[0]);
        let (mut mean, mut variance) = (vec![0.0; n], vec![0.0; n]);
        kernel.moments(Numbers::of(x.clone()).as_slice(), &mut mean, &mut variance);
        Moments { mean: tensor(mean, [n]), variance: tensor(variance, [n]) }
    }

    fn apply_with<const D: usize>(&self, x: Tensor<D>, moments: &Moments) -> Tensor<D> {
        let dims = x.dims();
        if !self.is_on_host(&x) {
            let dtype = x.dtype();
            let normalised = self.channels_first(self.normalised(x, moments), dims);
            let [weight, bias] = [&self.weight, &self.bias].map(|numbers| self.of_channels(numbers, dims[1]));
            return relu((normalised * weight + bias).reshape(dims)).cast(dtype);
        }
        let (kernel, x) = (self.kernel(&x), Numbers::of(x));
        let [mean, variance, weight, bias] =
            [moments.mean.clone(), moments.variance.clone(), self.weight.val(), self.bias.val()].map(Numbers::of);
        let (x, mut y) = (x.as_slice(), vec![0.0; x.as_slice().len()]);
        kernel.apply(x, mean.as_slice(), variance.as_slice(), weight.as_slice(), bias.as_slice(), true, &mut y);
        tensor(y, dims)
    }

    /// The derivative by the input, of `delta`, which is that by the output before the ReLU.
    pub(crate) fn pull_back<const D: usize>(&self, tape: &NormTape<D>, delta: Tensor<D>) -> Tensor<D> {
        let NormTape { input, moments } = tape;
        let dims = delta.dims();
        if !self.is_on_host(&delta) {
            let (dtype, weight) = (delta.dtype(), self.of_channels(&self.weight, dims[1]));
            let g = (self.by_layers(single(delta)) * weight).reshape([dims[0] as i32, dims[1] as i32, -1]);
            let (g, n) = (self.rows(g), self.normalised(input.clone(), moments));
            let along = (g.clone() * n.clone()).mean_dim(1);
            let back = (g.clone() - g.mean_dim(1) - n * along) * inverse_std(moments);
            return self.channels_first(back, dims).reshape(dims).cast(dtype);
        }
        let kernel = self.kernel(input);
        let (delta, x) = (Numbers::of(delta), Numbers::of(input.clone()));
        let [mean, variance, weight] =
            [moments.mean.clone(), moments.variance.clone(), self.weight.val()].map(Numbers::of);
        let mut back = vec![0.0; x.as_slice().len()];
        let moments = (mean.as_slice(), variance.as_slice());
        kernel.pullback(delta.as_slice(), x.as_slice(), moments.0, moments.1, weight.as_slice(), &mut back);
        tensor(back, dims)
    }

    /// Gradients of weight and bias, and what a batch adds to the running statistics.
    pub(crate) fn gradients<const D: usize>(&self, tape: NormTape<D>, delta: Tensor<D>) -> Gradients {
        let channels = self.channels();
        let (weight, bias) = match self.is_on_host(&delta) {
            true => {
                let (kernel, delta, x) =
                    (self.kernel(&tape.input), Numbers::of(delta), Numbers::of(tape.input.clone()));
                let [mean, variance] = [&tape.moments.mean, &tape.moments.variance].map(|m| Numbers::of(m.clone()));
                let (mut weight, mut bias) = (vec![0.0; channels], vec![0.0; channels]);
                let moments = (mean.as_slice(), variance.as_slice());
                kernel.gradients(delta.as_slice(), x.as_slice(), moments.0, moments.1, &mut weight, &mut bias);
                (tensor(weight, [channels]), tensor(bias, [channels]))
            }
            false => {
                let dims = delta.dims();
                let n = self.channels_first(self.normalised(tape.input.clone(), &tape.moments), dims);
                let delta = self.by_layers(single(delta));
                let sum = |x: Tensor<4>| x.sum_dim(3).sum_dim(1).reshape([channels]);
                (sum(delta.clone() * n), sum(delta))
            }
        };
        let mut all = vec![Gradient::new(self.weight.id, weight), Gradient::new(self.bias.id, bias)];
        all.extend(self.statistics(&tape));
        all
    }

    /// Mean and unbiased variance of the batch, where there are running ones.
    fn statistics<const D: usize>(&self, NormTape { input, moments }: &NormTape<D>) -> Gradients {
        let Some((mean, variance)) = self.running_mean.as_ref().zip(self.running_var.as_ref()) else {
            return Gradients::new();
        };
        let n = input.shape().num_elements() / self.channels();
        let unbiased = moments.variance.clone() * (n as f64 / (n.max(2) - 1) as f64);
        vec![Gradient::statistic(mean.id, moments.mean.clone()), Gradient::statistic(variance.id, unbiased)]
    }

    /// `x` by layers, samples, channels and positions.
    fn by_layers<const D: usize>(&self, x: Tensor<D>) -> Tensor<4> {
        let (layers, [rows, channels]) = (self.layers(&x), [x.dims()[0], x.dims()[1]]);
        x.reshape([layers as i32, (rows / layers) as i32, channels as i32, -1])
    }

    /// A number per channel of every layer, with `channels` channels each, as [`Norm::by_layers`] has them.
    fn of_channels(&self, numbers: &Param<Tensor<1>>, channels: usize) -> Tensor<4> {
        single(numbers.val()).reshape([self.channels() / channels, 1, channels, 1])
    }

    /// `x` with a row for everything that is normalised together.
    fn rows<const D: usize>(&self, x: Tensor<D>) -> Tensor<2> {
        let [samples, channels] = [x.dims()[0], x.dims()[1]];
        match self.kind.over(channels) {
            NormOver::Batch => self.by_layers(x).swap_dims(1, 2).reshape([self.channels() as i32, -1]),
            NormOver::Groups(groups) => x.reshape([(samples * groups) as i32, -1]),
        }
    }

    /// The inverse of `rows` for an `x` of such extents, by layers, samples, channels and positions.
    fn channels_first<const D: usize>(&self, rows: Tensor<2>, dims: [usize; D]) -> Tensor<4> {
        let layers = self.channels() / dims[1];
        let (samples, channels) = ((dims[0] / layers) as i32, dims[1] as i32);
        match self.kind {
            NormKind::Batch => rows.reshape([layers as i32, channels, samples, -1]).swap_dims(1, 2),
            _ => rows.reshape([layers as i32, samples, channels, -1]),
        }
    }

    /// The rows of `x` less their means, over their deviations.
    fn normalised<const D: usize>(&self, x: Tensor<D>, moments: &Moments) -> Tensor<2> {
        (self.rows(single(x)) - single(moments.mean.clone()).unsqueeze_dim(1)) * inverse_std(moments)
    }
}

/// A network whose running statistics have taken up, by the part [`MOMENTUM`], those that training steps add to them; others of
/// `gradients` are left alone.
pub fn absorb_statistics<M: Module>(module: M, gradients: &[Gradient]) -> M {
    let added: HashMap<_, _> = gradients.iter().filter(|g| g.is_statistic).map(|g| (g.id, &g.values)).collect();
    if added.is_empty() {
        return module;
    }
    let absorbed: Result<M, std::convert::Infallible> = map_parameters(module, "", |p| {
        Ok(added.get(&p.id).map(|added| p.values.clone() * (1.0 - MOMENTUM) + (*added).clone() * MOMENTUM))
    });
    match absorbed {
        Ok(module) => module,
    }
}

/// `1 / sqrt(variance + epsilon)`, a column.
fn inverse_std(moments: &Moments) -> Tensor<2> {
    (single(moments.variance.clone()) + EPSILON).sqrt().recip().unsqueeze_dim(1)
}
