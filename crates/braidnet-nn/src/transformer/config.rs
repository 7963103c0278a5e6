//! Sizes and choices of transformers.

use std::ops::Range;

use braidnet_grid::{GridError, TimeGrid};
use braidnet_kernels::Activation;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::embedding::{Positions, SequenceOpening};
use super::encoder::EncoderLayer;
use super::head::Head;
use super::layer_config::LayerConfig;
use super::space::SequenceSpace;
use crate::init::{Stream, draw, draw_layer, draw_table};
use crate::{CoarseOperator, Depth, DepthInit, NetworkError, OdeNet};

/// The part of an encoder or decoder that consists of consecutive layers; made by [`TransformerConfig::init`].
pub type Transformer = OdeNet<SequenceSpace, SequenceOpening, EncoderLayer, Head>;

/// A pre-LN transformer on one sequence: embedding and positions, `layers` times `u + dt F(u)` with
/// `F(u) = phi1(u) + phi2(u + phi1(u))`, `phi1 = SA(LN(.))`, `phi2 = MLP(LN(.))`, and `head(LN(u))`. With
/// `final_time = layers` it is the standard transformer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransformerConfig {
    /// Number of ODE layers.
    pub layers: usize,
    /// Features of a position.
    pub d_model: usize,
    /// Heads of attention, a divisor of `d_model`.
    pub heads: usize,
    /// Width of the MLP.
    pub d_ff: usize,
    /// Tokens.
    pub vocabulary: usize,
    /// Classes of the output, at every position.
    pub classes: usize,
    /// The most positions.
    pub max_length: usize,
    /// Sum of all `dt`.
    pub final_time: f64,
    /// Whether a position sees only those before it (decoder) or all (encoder).
    pub causal: bool,
    /// Activation of the MLP.
    pub activation: Activation,
    /// What tells positions apart.
    pub positions: Positions,
    /// The token that stands for no word, which attention leaves out.
    pub pad: Option<u32>,
    /// Probability of dropout in training.
    pub dropout: f64,
    /// Whether the head's weight is the table of embeddings.
    pub tied: bool,
    /// Operator of coarse steps.
    pub coarse: CoarseOperator,
    /// How initial parameters vary with depth.
    pub depth_init: DepthInit,
    /// Layers at either end that stay outside the solver and run one after the other.
    pub buffer: usize,
}

impl TransformerConfig {
    /// An encoder of `layers` layers of width `d_model` for `vocabulary` tokens and `classes` classes: one head, MLP of the same width, step 1,
    /// GELU, sinusoidal positions, 512 of them, padding token 0.
    pub fn encoder(layers: usize, d_model: usize, vocabulary: usize, classes: usize) -> Self {
        Self {
            layers,
            d_model,
            heads: 1,
            d_ff: d_model,
            vocabulary,
            classes,
            max_length: 512,
            final_time: layers as f64,
            causal: false,
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

    /// A decoder of `layers` layers of width `d_model` that predicts the next of `vocabulary` tokens, otherwise as
    /// [`TransformerConfig::encoder`], without a padding token.
    pub fn decoder(layers: usize, d_model: usize, vocabulary: usize) -> Self {
        Self { causal: true, pad: None, ..Self::encoder(layers, d_model, vocabulary, vocabulary) }
    }

    /// Checks all sizes.
    ///
    /// # Errors
    /// [`NetworkError`] naming the size and the remedy.
    pub fn validate(&self) -> Result<(), NetworkError> {
        check_sizes(&[
            (self.vocabulary, "the vocabulary"),
            (self.classes, "the number of classes"),
            (self.max_length, "the number of positions"),
        ])?;
        if self.tied && self.classes != self.vocabulary {
            let remedy = "predict the tokens of the vocabulary, or do not tie them";
            return Err(NetworkError::Impossible { what: "a head tied to embeddings of other classes", remedy });
        }
        self.layer().validate()?;
        self.depth().validate()?;
        self.depth_init.validate()
    }

    fn layer(&self) -> LayerConfig {
        let Self { d_model, heads, d_ff, activation, dropout, causal, .. } = *self;
        LayerConfig { d_model, heads, d_ff, activation, dropout, causal }
    }

    fn depth(&self) -> Depth {
        Depth::new(self.layers, self.final_time, self.buffer)
    }

    /// The time grid of the layers that the solver counts.
    ///
    /// # Errors
    /// [`GridError::NoSteps`] for zero layers.
    pub fn grid(&self) -> Result<TimeGrid, GridError> {
        self.depth().grid()
    }

    /// The layers `range`, as the solver counts, with parameters from (seed, global layer) alone; with the opening layer if
    /// `range` starts with layer 0 and the closing layer if it ends with the last. `run` is the longest coarse
    /// step, the default period of [`DepthInit::Piecewise`].
    ///
    /// # Errors
    /// As [`TransformerConfig::validate`].
    pub fn init(
        &self,
        range: Range<usize>,
        run: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Transformer, NetworkError> {
        self.validate()?;
        let Self { d_model, vocabulary, max_length, pad, .. } = *self;
        let space = SequenceSpace { d_model, max_length, vocabulary, pad };
        // PyTorch's variance; smaller where the table also makes logits.
        let variance = if self.tied { 1.0 / d_model as f64 } else { 1.0 };
        let opening = || {
            let opening = SequenceOpening::new(vocabulary, d_model, max_length, self.positions, device);
            draw_table(opening, variance, seed, Stream::Opening)
        };
        let closing = || {
            let head = draw(Head::new(d_model, self.classes, device), seed, Stream::Closing);
            if self.tied { head.tied_to(opening().embed.weight.val()) } else { head }
        };
        let network = OdeNet::build(
            (space, self.depth(), self.coarse, device),
            range,
            || Ok(opening()),
            |n| Ok(draw_layer(EncoderLayer::new(&self.layer(), device)?, seed, n, self.depth_init, run)),
            || Ok(closing()),
        )?;
        Ok(if self.tied { network.tie("open.embed.weight", "close.head.weight") } else { network })
    }
}

/// That no size is 0.
pub(super) fn check_sizes(sizes: &[(usize, &'static str)]) -> Result<(), NetworkError> {
    match sizes.iter().find(|(n, _)| *n == 0) {
        Some((_, what)) => Err(NetworkError::Zero { what }),
        None => Ok(()),
    }
}
