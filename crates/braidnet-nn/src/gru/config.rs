//! Sizes and choices of recurrent networks.

use std::ops::Range;

use braidnet_grid::{GridError, TimeGrid};
use braidnet_kernels::{GruCoarse, GruForm};
use burn::nn::{EmbeddingConfig, LinearConfig};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::cell::GruCell;
use super::network::{GruHead, GruNet};
use crate::init::{Stream, draw, draw_table};
use crate::{CoarseOperator, NetworkError};

/// What a step of a sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GruInputs {
    /// So many numbers.
    Features(usize),
    /// A token, embedded by a trainable table.
    Tokens {
        /// Tokens that the network knows.
        vocabulary: usize,
        /// Features of the embedding.
        width: usize,
    },
}

impl GruInputs {
    /// Features that the first cell reads.
    pub fn width(self) -> usize {
        match self {
            Self::Features(width) | Self::Tokens { width, .. } => width,
        }
    }
}

/// Which states make the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GruOutputs {
    /// The last one: `[batch, classes]`.
    #[default]
    Last,
    /// Those of all steps, sample by sample: `[batch * length, classes]`.
    All,
}

/// A stack of gated recurrent cells whose time axis is the layer axis: step `n` of a sequence is layer `n`, and all layers share
/// their parameters.
///
/// Reference: Moon and Cyr, Parallel training of GRU networks with a multi-grid solver for long sequences, ICLR 2022.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GruConfig {
    /// Steps of a sequence.
    pub length: usize,
    /// What a step is.
    pub inputs: GruInputs,
    /// Features of a cell's state.
    pub hidden: usize,
    /// Cells above each other; each reads the new state of the one below.
    pub cells: usize,
    /// Classes of the output.
    pub classes: usize,
    /// Sum of all `dt`; with `final_time = length` and [`GruForm::Explicit`] the classic GRU.
    pub final_time: f64,
    /// How a step is taken.
    pub form: GruForm,
    /// How a coarse step is taken.
    pub coarse: GruCoarse,
    /// Parts that a coarse step is taken in, each a coarse step of its own with gates and input of its own; 1: as a whole. More
    /// cost more in the sequential coarse solve, as a smaller coarsening factor does, but not in the relaxation.
    pub coarse_parts: usize,
    /// The input of a coarse step, or of a part of it: that of its first step ([`CoarseOperator::FirstLayer`]) or the mean of its run
    /// ([`CoarseOperator::Mean`]).
    pub coarse_input: CoarseOperator,
    /// Which states make the output.
    pub outputs: GruOutputs,
}

impl GruConfig {
    /// Implicit cells with `dt = 1` for sequences of `length` steps of `features` numbers.
    pub fn new(length: usize, features: usize, hidden: usize, cells: usize, classes: usize) -> Self {
        Self {
            length,
            inputs: GruInputs::Features(features),
            hidden,
            cells,
            classes,
            final_time: length as f64,
            form: GruForm::Implicit,
            coarse: GruCoarse::Frozen,
            coarse_parts: 4,
            coarse_input: CoarseOperator::FirstLayer,
            outputs: GruOutputs::Last,
        }
    }

    /// Checks all sizes.
    ///
    /// # Errors
    /// [`NetworkError`] naming the size and the remedy.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let vocabulary = match self.inputs {
            GruInputs::Tokens { vocabulary, .. } => vocabulary,
            GruInputs::Features(_) => 1,
        };
        let sizes = [
            (self.length, "the length of a sequence"),
            (self.inputs.width(), "the number of features"),
            (vocabulary, "the vocabulary"),
            (self.hidden, "the number of hidden features"),
            (self.cells, "the number of cells"),
            (self.coarse_parts, "the number of parts of a coarse step"),
            (self.classes, "the number of classes"),
        ];
        if let Some((_, what)) = sizes.into_iter().find(|(n, _)| *n == 0) {
            return Err(NetworkError::Zero { what });
        }
        if !(self.final_time.is_finite() && self.final_time > 0.0) {
            let (what, remedy) = ("the final time", "use a finite number above 0");
            return Err(NetworkError::BadNumber { what, value: self.final_time, remedy });
        }
        if !matches!(self.coarse_input, CoarseOperator::FirstLayer | CoarseOperator::Mean) {
            let remedy = "the input of a coarse step is that of its first layer, or the mean: use one of these two";
            return Err(NetworkError::Impossible {
                what: "a coarse operator of layers with parameters of their own",
                remedy,
            });
        }
        Ok(())
    }

    /// Length of a step.
    pub fn dt(&self) -> f64 {
        self.final_time / self.length as f64
    }

    /// The time grid.
    ///
    /// # Errors
    /// [`GridError::NoSteps`] for sequences without a step.
    pub fn grid(&self) -> Result<TimeGrid, GridError> {
        TimeGrid::uniform(self.length, 0.0, self.final_time)
    }

    /// The part of the network with the steps `range`: a copy of the shared parameters, and the closing layer if it ends with the last
    /// step. Parameters are from the seed alone.
    ///
    /// # Errors
    /// As [`GruConfig::validate`].
    pub fn init(&self, range: Range<usize>, seed: u64, device: &Device) -> Result<GruNet, NetworkError> {
        self.validate()?;
        let is_last = range.end == self.length;
        let cell = |k: usize| {
            let width = if k == 0 { self.inputs.width() } else { self.hidden };
            draw(GruCell::new(width, self.hidden, device), seed, Stream::Layer(k))
        };
        let embedding = |vocabulary, width| {
            let table = EmbeddingConfig::new(vocabulary, width).init(device);
            draw_table(table, 1.0, seed, Stream::Opening)
        };
        let embedding = match self.inputs {
            GruInputs::Tokens { vocabulary, width } => Some(embedding(vocabulary, width)),
            GruInputs::Features(_) => None,
        };
        let head = || GruHead { head: LinearConfig::new(self.hidden, self.classes).init(device) };
        let closing = is_last.then(|| draw(head(), seed, Stream::Closing));
        let cells = (0..self.cells).map(cell).collect();
        Ok(GruNet::new(self.clone(), range, (embedding, cells, closing), device))
    }
}
