//! Initial parameters, by global layer.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::{NetworkError, Parameter, map_parameters};

/// How the initial parameters of an ODE block vary with depth.
///
/// Most of the error of one MGRIT iteration is the mismatch between the layers of a coarse step, not the time step:
/// layers that start equal within a run cut it by nine tenths. The price is that they stay close to each other, so
/// that the network acts like one with fewer distinct layers, finely stepped. The noise lies between the two ends:
/// `theta = sqrt(1 - a^2) theta_run + a theta_own`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DepthInit {
    /// Every layer has parameters of its own.
    Independent,
    /// Layers of a run of `period` share parameters, up to noise.
    Piecewise {
        /// Length of a run; `None`: that of the longest coarse step. Runs begin with layer 0 of the network, coarse steps
        /// behind its buffer layers: the two agree where the buffer is a multiple of the period.
        period: Option<usize>,
        /// Noise amplitude `a` in 0..=1; 0: equal, 1: independent.
        noise: f64,
    },
}

impl DepthInit {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`NetworkError::Zero`] for a period of 0, [`NetworkError::BadNumber`] for a noise outside 0..=1.
    pub fn validate(&self) -> Result<(), NetworkError> {
        match *self {
            Self::Piecewise { period: Some(0), .. } => Err(NetworkError::Zero { what: "the period of DepthInit" }),
            Self::Piecewise { noise, .. } if !(0.0..=1.0).contains(&noise) => Err(NetworkError::BadNumber {
                what: "the noise of DepthInit",
                value: noise,
                remedy: "use a number from 0 (layers of a run equal) to 1 (independent)",
            }),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for DepthInit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Independent => write!(f, "independent"),
            Self::Piecewise { period, noise } => {
                write!(f, "piecewise constant in depth")?;
                if let Some(period) = period {
                    write!(f, ", period {period}")?;
                }
                write!(f, ", noise {noise}")
            }
        }
    }
}

/// What a stream of random numbers is for; keeps streams of different parts apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    Opening,
    Closing,
    /// Parameters of a layer's own.
    Layer(usize),
    /// Parameters shared by a run.
    Run(usize),
}

impl Stream {
    fn number(self) -> u64 {
        match self {
            Self::Opening => 0,
            Self::Closing => 1,
            Self::Layer(n) => 2 + 2 * n as u64,
            Self::Run(n) => 3 + 2 * n as u64,
        }
    }
}

/// Tells the parameters of norms from others, visited in their order: a weight with one dimension, and the bias behind it.
fn norms() -> impl FnMut(&Parameter) -> bool {
    let mut is_norm = false;
    move |p| {
        if p.name.ends_with("weight") {
            is_norm = p.shape.len() == 1;
        }
        is_norm
    }
}

/// Draws every parameter of `module` uniformly within `+-1 / sqrt(fan_in)`, PyTorch's default for convolutions and dense
/// layers, from (seed, stream) alone. Scale and shift of norms stay as they are.
pub(crate) fn draw<M: Module>(module: M, seed: u64, stream: Stream) -> M {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream.number());
    // A bias has the fan-in of the weight it belongs to, which is visited just before it.
    let mut fan_in = 1;
    let mut is_norm = norms();
    let drawn: Result<M, std::convert::Infallible> = map_parameters(module, "", |p| {
        if is_norm(p) {
            return Ok(None);
        }
        if p.shape.len() > 1 {
            fan_in = p.shape[1..].iter().product();
        }
        let bound = 1.0 / (fan_in as f32).sqrt();
        let n = p.shape.iter().product::<usize>();
        let values: Vec<f32> = (0..n).map(|_| bound * (2.0 * random.random::<f32>() - 1.0)).collect();
        Ok(Some(Tensor::from_data(TensorData::new(values, [n]), &p.values.device())))
    });
    match drawn {
        Ok(module) => module,
    }
}

/// Draws a table of embeddings, a parameter with one row per token, uniformly with variance `variance`.
pub(crate) fn draw_table<M: Module>(module: M, variance: f64, seed: u64, stream: Stream) -> M {
    let drawn = draw(module, seed, stream);
    // From `1 / (3 d)`, where `d` is the length of a row.
    let scaled: Result<M, std::convert::Infallible> = map_parameters(drawn, "", |p| {
        let d = *p.shape.last().unwrap_or(&1) as f64;
        Ok(Some(p.values.clone() * (3.0 * d * variance).sqrt()))
    });
    match scaled {
        Ok(module) => module,
    }
}

/// Draws layer `n`, whose runs have `period` layers unless `init` says otherwise.
pub(crate) fn draw_layer<M: Module>(module: M, seed: u64, n: usize, init: DepthInit, period: usize) -> M {
    draw_layer_of_block(module, seed, (0, n), init, period)
}

/// As `draw_layer`, of the block that begins with layer `start`, as do its runs.
pub(crate) fn draw_layer_of_block<M: Module>(
    module: M,
    seed: u64,
    (start, n): (usize, usize),
    init: DepthInit,
    period: usize,
) -> M {
    let DepthInit::Piecewise { period: given, noise } = init else {
        return draw(module, seed, Stream::Layer(n));
    };
    let run = start + (n - start) / given.unwrap_or(period).max(1);
    let shared = draw(module.clone(), seed, Stream::Run(run));
    if noise == 0.0 {
        return shared;
    }
    let mut own = Vec::new();
    crate::visit_parameters(&draw(module, seed, Stream::Layer(n)), "", |p| own.push(p.values));
    let mut own = own.into_iter();
    let keep = (1.0 - noise * noise).sqrt();
    let mut is_norm = norms();
    let mixed: Result<M, std::convert::Infallible> = map_parameters(shared, "", |p| {
        let own = own.next().filter(|_| !is_norm(p));
        Ok(own.map(|own| p.values.clone() * keep + own * noise))
    });
    match mixed {
        Ok(module) => module,
    }
}
