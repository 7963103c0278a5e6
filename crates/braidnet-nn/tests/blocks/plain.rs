//! Normalisation by plain loops.

use braidnet_nn::NormKind;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Numbers `[samples, channels, positions]`.
pub struct Grid {
    pub dims: [usize; 3],
    pub values: Vec<f64>,
}

impl Grid {
    pub fn of(x: &Tensor<4>) -> Self {
        let [samples, channels, height, width] = x.dims();
        Self { dims: [samples, channels, height * width], values: x.to_data().iter::<f64>().collect() }
    }

    fn at(&self, [sample, channel, position]: [usize; 3]) -> f64 {
        let [_, channels, positions] = self.dims;
        self.values[(sample * channels + channel) * positions + position]
    }

    fn places(&self) -> impl Iterator<Item = [usize; 3]> {
        let [samples, channels, positions] = self.dims;
        (0..samples * channels * positions)
            .map(move |i| [i / positions / channels, i / positions % channels, i % positions])
    }

    /// How many there are of the numbers where `chosen` holds, their mean, and the sum of the squares about it.
    pub fn moments(&self, chosen: impl Fn([usize; 3]) -> bool) -> (f64, f64, f64) {
        let all: Vec<f64> = self.places().filter(|place| chosen(*place)).map(|place| self.at(place)).collect();
        let n = all.len() as f64;
        let mean = all.iter().sum::<f64>() / n;
        (n, mean, all.iter().map(|x| (x - mean) * (x - mean)).sum())
    }

    /// Whether the numbers at two places are normalised together.
    fn together(&self, kind: NormKind, [s, c, _]: [usize; 3], [t, d, _]: [usize; 3]) -> bool {
        match kind {
            NormKind::Batch => c == d,
            NormKind::Group(size) => s == t && c / size == d / size,
            NormKind::Layer => s == t,
        }
    }

    /// `relu((x - mean) / sqrt(variance + 1e-5) * weight + bias)`, mean and variance of `moments_at` each place.
    fn map(&self, weight: &[f64], bias: &[f64], moments_at: impl Fn([usize; 3]) -> (f64, f64)) -> Vec<f64> {
        let each = self.places().map(|place| {
            let (mean, variance) = moments_at(place);
            let c = place[1];
            ((self.at(place) - mean) / (variance + 1e-5).sqrt() * weight[c] + bias[c]).max(0.0)
        });
        each.collect()
    }

    /// With the moments of these numbers.
    pub fn normalised(&self, kind: NormKind, weight: &[f64], bias: &[f64]) -> Vec<f64> {
        self.map(weight, bias, |place| {
            let (n, mean, squares) = self.moments(|other| self.together(kind, place, other));
            (mean, squares / n)
        })
    }

    /// With given moments, one pair per channel.
    pub fn normalised_with(&self, [mean, variance]: [&[f64]; 2], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        self.map(weight, bias, |[_, c, _]| (mean[c], variance[c]))
    }
}

/// A tensor of these numbers in double precision.
pub fn tensor<const D: usize>(values: Vec<f64>, dims: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, dims), (&Device::flex(), DType::F64))
}
