//! The text, and the windows of it that a rank feeds.

use std::sync::Arc;

use anyhow::Context;
use braidnet::data::characters::{self, CharCorpus, CharSplit, Characters, DEFAULT_CHARACTERS};
use braidnet::prelude::*;
use burn_dataset::{Dataset, DatasetError};
use serde::{Deserialize, Serialize};

use crate::Options;

/// Windows, with the character that follows each of theirs.
pub type Windows = Samples<Tensor<2, Int>, Tensor<1, Int>>;

/// A network and the characters that it knows; what a checkpoint says of it, so that no text is needed to sample from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Described {
    #[serde(flatten)]
    pub network: TransformerConfig,
    /// All of them, in the order of their codes.
    pub characters: String,
}

impl Described {
    pub fn new(network: &TransformerConfig, characters: &Characters) -> Self {
        let codes: Vec<u32> = (0..characters.len() as u32).collect();
        Self { network: network.clone(), characters: characters.decode(&codes) }
    }
}

/// A text cut in two, and the network for its characters.
pub struct Text {
    pub split: CharSplit,
    pub network: TransformerConfig,
    /// Training and validation windows.
    parts: [Arc<Part>; 2],
}

/// Some windows of a corpus, evenly spread.
struct Part {
    corpus: CharCorpus,
    length: usize,
    n: usize,
    n_all: usize,
}

impl Part {
    fn new(corpus: &CharCorpus, length: usize, at_most: Option<usize>) -> anyhow::Result<Self> {
        let n_all = corpus.n_windows(length)?;
        Ok(Self { corpus: corpus.clone(), length, n: at_most.unwrap_or(n_all).min(n_all), n_all })
    }

    fn window(&self, index: usize) -> (&[u32], &[u32]) {
        self.corpus.window(index * self.n_all / self.n, self.length)
    }
}

/// What is fed of a window.
#[derive(Clone, Copy)]
enum Side {
    Inputs,
    Targets,
}

/// One side of all windows.
struct Sides(Arc<Part>, Side);

impl Dataset<Vec<u32>> for Sides {
    fn get(&self, index: usize) -> Result<Vec<u32>, DatasetError> {
        let (inputs, targets) = self.0.window(index);
        Ok(match self.1 {
            Side::Inputs => inputs.to_vec(),
            Side::Targets => targets.to_vec(),
        })
    }

    fn len(&self) -> usize {
        self.0.n
    }
}

impl Text {
    /// Reads or generates it.
    pub fn read(options: &Options) -> anyhow::Result<Self> {
        let split = match &options.data {
            Some(file) => characters::read(file, options.validation)?,
            None => {
                let n = options.characters.unwrap_or(DEFAULT_CHARACTERS);
                characters::generated(options.training.seed, n, options.validation)?
            }
        };
        let network = options.network(split.characters.len());
        let train = Part::new(&split.train, options.length, None).context("training part")?;
        let validation = Part::new(&split.validation, options.length, options.validation_samples);
        let validation = validation.context("validation part")?;
        Ok(Self { network, split, parts: [train, validation].map(Arc::new) })
    }

    /// Training and validation windows as a rank of `mesh` feeds them: the first layer ranks characters, the last ones those
    /// that follow.
    pub fn windows(&self, mesh: &Mesh, device: &Device) -> [Windows; 2] {
        let (is_first, is_last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
        [&self.parts[0], &self.parts[1]].map(|part| Samples {
            n: part.n,
            inputs: is_first.then(|| inputs(part, device)),
            targets: is_last.then(|| targets(part, device)),
        })
    }
}

fn inputs(part: &Arc<Part>, device: &Device) -> Feed<Tensor<2, Int>> {
    let (device, length) = (device.clone(), part.length);
    Feed::new(InMemory(Sides(Arc::clone(part), Side::Inputs)), move |windows: Vec<Vec<u32>>| {
        let n = windows.len();
        tokens(&windows.concat(), [n, length], &device)
    })
}

fn targets(part: &Arc<Part>, device: &Device) -> Feed<Tensor<1, Int>> {
    let device = device.clone();
    Feed::new(InMemory(Sides(Arc::clone(part), Side::Targets)), move |windows: Vec<Vec<u32>>| {
        let codes = windows.concat();
        tokens(&codes, [codes.len()], &device)
    })
}

/// Codes as a tensor.
pub fn tokens<const D: usize>(codes: &[u32], shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    let codes: Vec<i64> = codes.iter().map(|code| i64::from(*code)).collect();
    Tensor::from_data(TensorData::new(codes, shape), device)
}
