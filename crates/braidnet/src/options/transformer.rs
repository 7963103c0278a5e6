//! Which transformer.

use braidnet_nn::transformer::{Activation, EncoderDecoderConfig, Positions, TransformerConfig};
use clap::{Args, ValueEnum};

use super::network::{CoarseName, DepthInitName, coarse_operator, depth_init};

/// Activations by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ActivationName {
    /// By the error function.
    Gelu,
    /// By the hyperbolic tangent, as GPT-2.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `exp(x) - 1` below 0.
    Elu,
}

impl From<ActivationName> for Activation {
    fn from(name: ActivationName) -> Self {
        match name {
            ActivationName::Gelu => Self::Gelu,
            ActivationName::GeluTanh => Self::GeluTanh,
            ActivationName::Relu => Self::Relu,
            ActivationName::Elu => Self::Elu,
        }
    }
}

/// What tells positions apart, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PositionsName {
    /// Sines and cosines.
    Sinusoidal,
    /// One learned vector per position.
    Learned,
}

/// A transformer whose layers are time steps.
#[derive(Debug, Clone, Args)]
pub struct TransformerArgs {
    /// ODE layers; of an encoder-decoder, in each half.
    #[arg(long, default_value_t = 64)]
    pub layers: usize,
    /// Features of a position.
    #[arg(long, default_value_t = 128)]
    pub d_model: usize,
    /// Heads of attention, a divisor of the features.
    #[arg(long, default_value_t = 1)]
    pub heads: usize,
    /// Width of the MLP. [default: the features of a position]
    #[arg(long)]
    pub d_ff: Option<usize>,
    /// Sum of all time steps. [default: the number of layers, the standard transformer]
    #[arg(long)]
    pub final_time: Option<f64>,
    /// Activation of the MLP.
    #[arg(long, value_enum, default_value_t = ActivationName::Gelu)]
    pub activation: ActivationName,
    /// What tells positions apart.
    #[arg(long, value_enum, default_value_t = PositionsName::Sinusoidal)]
    pub positions: PositionsName,
    /// Probability of dropout in training.
    #[arg(long, default_value_t = 0.0)]
    pub dropout: f64,
    /// Layers at either end that stay outside the solver and run one after the other.
    #[arg(long, default_value_t = 0)]
    pub buffer: usize,
    /// Operator of coarse steps.
    #[arg(long, value_enum, default_value_t = CoarseName::Centred)]
    pub coarse_operator: CoarseName,
    /// How initial parameters vary with depth.
    #[arg(long, value_enum, default_value_t = DepthInitName::Piecewise)]
    pub depth_init: DepthInitName,
    /// Layers that start equal with piecewise initialisation. [default: the longest coarse step]
    #[arg(long)]
    pub depth_period: Option<usize>,
    /// Noise between piecewise constant (0) and independent (1) initial parameters.
    #[arg(long, default_value_t = 0.0)]
    pub depth_noise: f64,
}

impl TransformerArgs {
    /// The encoder or decoder `base`, which has the vocabulary, classes, positions and mask, with these sizes and choices.
    pub fn config(&self, base: TransformerConfig) -> TransformerConfig {
        TransformerConfig {
            layers: self.layers,
            d_model: self.d_model,
            heads: self.heads,
            d_ff: self.d_ff.unwrap_or(self.d_model),
            final_time: self.final_time.unwrap_or(self.layers as f64),
            activation: self.activation.into(),
            positions: self.positions(),
            dropout: self.dropout,
            buffer: self.buffer,
            coarse: coarse_operator(self.coarse_operator),
            depth_init: depth_init(self.depth_init, self.depth_period, self.depth_noise),
            ..base
        }
    }

    /// As [`TransformerArgs::config`], for an encoder-decoder.
    pub fn pair_config(&self, base: EncoderDecoderConfig) -> EncoderDecoderConfig {
        EncoderDecoderConfig {
            layers: [self.layers; 2],
            d_model: self.d_model,
            heads: self.heads,
            d_ff: self.d_ff.unwrap_or(self.d_model),
            final_time: self.final_time.unwrap_or(2.0 * self.layers as f64),
            activation: self.activation.into(),
            positions: self.positions(),
            dropout: self.dropout,
            buffer: self.buffer,
            coarse: coarse_operator(self.coarse_operator),
            depth_init: depth_init(self.depth_init, self.depth_period, self.depth_noise),
            ..base
        }
    }

    fn positions(&self) -> Positions {
        match self.positions {
            PositionsName::Sinusoidal => Positions::Sinusoidal,
            PositionsName::Learned => Positions::Learned,
        }
    }
}
