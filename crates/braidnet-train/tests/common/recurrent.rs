//! Recurrent networks as a family.

use std::ops::Range;

use braidnet_grid::{Coarsening, GridError, Hierarchy, TimeGrid};
use braidnet_mgrit::Propagator;
use braidnet_nn::gru::{GruConfig, GruInputs, GruNet, Sequences, Steps};
use braidnet_nn::{Network, NetworkError, Pass};
use braidnet_train::Task;
use burn::tensor::{Device, Tensor, TensorData};

use super::classes;
use super::compare::text;
use super::families::{Classes, Family, SEED, words};

/// Features or tokens of all steps, how many of them are no padding, and a class.
#[derive(Debug, Clone)]
pub struct Recording {
    pub features: Vec<f32>,
    pub tokens: Vec<i64>,
    pub length: usize,
    pub class: i64,
}

impl Family for GruConfig {
    type Input = Sequences;
    type Net = GruNet;
    type Sample = Recording;

    fn part(&self, range: Range<usize>) -> Result<GruNet, NetworkError> {
        self.init(range, SEED, &Device::flex())
    }

    fn grid(&self) -> Result<TimeGrid, GridError> {
        self.grid()
    }

    fn task(&self) -> Task<Classes> {
        Task::classification()
    }

    fn sample(&self, n: usize) -> Recording {
        let (length, class) = (1 + (5 * n + self.length / 2) % self.length, (3 * n % self.classes) as i64);
        let values = |width: usize| (0..self.length * width).map(|i| ((7 * i + 29 * n) as f32 * 0.37).sin() * 2.0);
        match self.inputs {
            GruInputs::Features(width) => {
                Recording { features: values(width).collect(), tokens: Vec::new(), length, class }
            }
            GruInputs::Tokens { vocabulary, .. } => {
                Recording { features: Vec::new(), tokens: words(self.length, n, vocabulary), length, class }
            }
        }
    }

    fn inputs(samples: &[Recording]) -> Sequences {
        let (n, device) = (samples.len(), Device::flex());
        let tokens: Vec<i64> = samples.iter().flat_map(|sample| sample.tokens.iter().copied()).collect();
        let features: Vec<f32> = samples.iter().flat_map(|sample| sample.features.iter().copied()).collect();
        let steps = if tokens.is_empty() {
            let length = samples.first().map_or(0, |sample| sample.features.len() / FEATURES);
            Steps::Features(Tensor::from_data(TensorData::new(features, [n, length, FEATURES]), &device))
        } else {
            let length = tokens.len() / n;
            Steps::Tokens(Tensor::from_data(TensorData::new(tokens, [n, length]), &device))
        };
        Sequences { steps, lengths: Some(samples.iter().map(|sample| sample.length).collect()) }
    }

    fn targets(samples: &[Recording]) -> Classes {
        classes(samples.iter().map(|sample| sample.class).collect())
    }

    fn plain_output(&self, input: &Sequences) -> Result<Tensor<2>, String> {
        let net = self.part(0..self.length).map_err(text)?;
        let batch = net.prepare(net.batch(input, Pass::Evaluation));
        let hierarchy = Hierarchy::new(&self.grid().map_err(text)?, &Coarsening::none()).map_err(text)?;
        let mut u = net.open(input, &batch).ok_or("no opening layer")?;
        for n in 0..self.length {
            let step = hierarchy.finest().step(n);
            let stepped = net.block(&batch).step(std::slice::from_ref(&step), std::slice::from_mut(&mut u));
            stepped.map_err(text)?;
        }
        net.close(&u, &batch).ok_or_else(|| "no closing layer".to_owned())
    }
}

/// Features of a step of a recurrent network.
const FEATURES: usize = 3;

/// A recurrent network that reads features.
pub fn gru(length: usize, cells: usize) -> GruConfig {
    GruConfig { final_time: 0.8 * length as f64, coarse_parts: 1, ..GruConfig::new(length, FEATURES, 6, cells, 4) }
}

/// A recurrent network that reads tokens.
pub fn gru_of_tokens(length: usize, cells: usize) -> GruConfig {
    GruConfig { inputs: GruInputs::Tokens { vocabulary: 9, width: 5 }, ..gru(length, cells) }
}
