//! Sizes and choices of encoder-decoders.

use std::ops::Range;

use braidnet_grid::{GridError, TimeGrid};
use braidnet_kernels::Activation;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::config::check_sizes;
use super::decoder::DecoderLayer;
use super::embedding::{PairOpening, Positions};
use super::encoder::EncoderLayer;
use super::head::Head;
use super::layer_config::LayerConfig;
use super::pair_layer::PairLayer;
use super::space::PairSpace;
use crate::init::{Stream, draw, draw_layer, draw_table};
use crate::{CoarseOperator, Depth, DepthInit, NetworkError, OdeNet};

/// The part of an encoder-decoder that consists of consecutive layers; made by [`EncoderDecoderConfig::init`].
pub type EncoderDecoder = OdeNet<PairSpace, PairOpening, PairLayer, Head>;

/// A pre-LN encoder-decoder as one ODE on `Z = [X, Y]`: the encoder's layers step `X`, the decoder's step `Y`, and
/// the other half stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderDecoderConfig {
    /// Number of encoder layers, and of decoder layers behind them.
    pub layers: [usize; 2],
    /// Features of a position.
    pub d_model: usize,
    /// Heads of attention, a divisor of `d_model`.
    pub heads: usize,
    /// Width of the MLP.
    pub d_ff: usize,
    /// Tokens of sources and of targets.
    pub vocabularies: [usize; 2],
    /// The most positions of sources and of targets.
    pub max_lengths: [usize; 2],
    /// Sum of all `dt`.
    pub final_time: f64,
    /// Whether a decoder step is split in two: self-attention, then cross-attention and MLP.
    pub split: bool,
    /// Activation of the MLP.
    pub activation: Activation,
    /// What tells positions apart.
    pub positions: Positions,
    /// The token that stands for no word, which attention leaves out.
    pub pad: Option<u32>,
    /// Probability of dropout in training.
    pub dropout: f64,
    /// Whether the head's weight is the table of embeddings of the targets.
    pub tied: bool,
    /// Operator of coarse steps.
    pub coarse: CoarseOperator,
    /// How initial parameters vary with depth.
    pub depth_init: DepthInit,
    /// Layers at either end that stay outside the solver and run one after the other.
    pub buffer: usize,
}

impl EncoderDecoderConfig {
    /// `layers` layers in each half, of width `d_model`: one head, MLP of the same width, step 1, GELU, sinusoidal positions, 512 of them,
    /// padding token 0.
    pub fn new(layers: usize, d_model: usize, vocabularies: [usize; 2]) -> Self {
        Self {
            layers: [layers; 2],
            d_model,
            heads: 1,
            d_ff: d_model,
            vocabularies,
            max_lengths: [512; 2],
            final_time: 2.0 * layers as f64,
            split: false,
            activation: Activation::Gelu,
            positions: Positions::Sinusoidal,
            pad: Some(0),
            dropout: 0.0,
            tied: false,
            coarse: CoarseOperator::Centred,
            depth_init: DepthInit::Piecewise { period: None, noise: 0.0 },
            buffer: 0,
        }
    }

    /// Checks all sizes.
    ///
    /// # Errors
    /// [`NetworkError`] naming the size and the remedy.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let ([encoder, decoder], [sources, targets]) = (self.layers, self.vocabularies);
        check_sizes(&[
            (encoder, "the number of encoder layers"),
            (decoder, "the number of decoder layers"),
            (sources, "the vocabulary of the sources"),
            (targets, "the vocabulary of the targets"),
            (self.max_lengths[0], "the number of positions of sources"),
            (self.max_lengths[1], "the number of positions of targets"),
        ])?;
        if self.coarse == CoarseOperator::Mean {
            let what = "mean parameters of a coarse step that may span encoder and decoder";
            return Err(NetworkError::Impossible {
                what,
                remedy: "use CoarseOperator::Centred, Midpoint, FirstLayer or Sum",
            });
        }
        self.layer(false).validate()?;
        self.depth().validate()?;
        self.depth_init.validate()
    }

    fn layer(&self, causal: bool) -> LayerConfig {
        let Self { d_model, heads, d_ff, activation, dropout, .. } = *self;
        LayerConfig { d_model, heads, d_ff, activation, dropout, causal }
    }

    fn depth(&self) -> Depth {
        Depth::new(self.layers.iter().sum(), self.final_time, self.buffer)
    }

    /// The time grid of the layers that the solver counts.
    ///
    /// # Errors
    /// [`GridError::NoSteps`] for zero layers.
    pub fn grid(&self) -> Result<TimeGrid, GridError> {
        self.depth().grid()
    }

    /// As [`TransformerConfig::init`](super::TransformerConfig::init).
    ///
    /// # Errors
    /// As [`EncoderDecoderConfig::validate`].
    pub fn init(
        &self,
        range: Range<usize>,
        run: usize,
        seed: u64,
        device: &Device,
    ) -> Result<EncoderDecoder, NetworkError> {
        self.validate()?;
        let Self { d_model, vocabularies, max_lengths, pad, .. } = *self;
        let space = PairSpace { d_model, max_lengths, vocabularies, pad };
        let variance = if self.tied { 1.0 / d_model as f64 } else { 1.0 };
        let opening = || {
            let opening = PairOpening::new(vocabularies, d_model, max_lengths, self.positions, device);
            draw_table(opening, variance, seed, Stream::Opening)
        };
        let closing = || {
            let head = draw(Head::new(d_model, vocabularies[1], device), seed, Stream::Closing);
            if self.tied { head.tied_to(opening().tgt.weight.val()) } else { head }
        };
        let layer = |n| match n < self.layers[0] {
            true => EncoderLayer::new(&self.layer(false), device).map(PairLayer::Encoder),
            false => DecoderLayer::new(&self.layer(true), self.split, device).map(PairLayer::Decoder),
        };
        let network = OdeNet::build(
            (space, self.depth(), self.coarse, device),
            range,
            || Ok(opening()),
            |n| Ok(draw_layer(layer(n)?, seed, n, self.depth_init, run)),
            || Ok(closing()),
        )?;
        Ok(if self.tied { network.tie("open.tgt.weight", "close.head.weight") } else { network })
    }
}
