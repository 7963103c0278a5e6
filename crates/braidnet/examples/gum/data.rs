//! The treebank, read once per process and only by ranks that need it.

use std::sync::{Arc, OnceLock};

use anyhow::{bail, ensure};
use braidnet::data::DataError;
use braidnet::data::tagging::{self, PAD, TaggingSet};
use braidnet::prelude::*;
use burn_dataset::InMemDataset;

use crate::Options;
use crate::word_alone::WordAlone;

/// Sentences with their tags.
pub type Sentences = Samples<Tensor<2, Int>, Tensor<1, Int>>;

/// Training, dev and test set, and how many forms and tags there are.
struct Treebank {
    sets: [Arc<TaggingSet>; 3],
    forms: usize,
    tags: usize,
}

/// Where sentences come from.
pub struct Data<'a> {
    options: &'a Options,
    treebank: OnceLock<Result<Treebank, String>>,
}

/// Sizes that every rank must know.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Training, dev and test sentences.
    pub n: [usize; 3],
    /// Words, those of the input.
    pub forms: usize,
    /// Classes.
    pub tags: usize,
    /// Tokens of the longest sentence, with the root.
    pub longest: usize,
}

impl<'a> Data<'a> {
    pub fn new(options: &'a Options) -> Self {
        Self { options, treebank: OnceLock::new() }
    }

    /// Generates or reads everything, for all ranks of this process.
    pub fn load(&self) -> anyhow::Result<()> {
        self.treebank().map(drop)
    }

    fn treebank(&self) -> anyhow::Result<&Treebank> {
        match self.treebank.get_or_init(|| self.read().map_err(|error| error.to_string())) {
            Ok(treebank) => Ok(treebank),
            Err(error) => bail!("{error}"),
        }
    }

    fn read(&self) -> Result<Treebank, DataError> {
        let Options { data, train_sentences, test_sentences, training, .. } = self.options;
        let (n_train, n_test) = (train_sentences.unwrap_or(3000), test_sentences.unwrap_or(300));
        let split = match data {
            None => tagging::generated(training.seed, n_train, n_test, n_test),
            Some(folder) => tagging::load(folder)?,
        };
        let cut = |mut set: TaggingSet, n: &Option<usize>| {
            set.sentences.truncate(n.unwrap_or(usize::MAX));
            set
        };
        let judged = |set| {
            let mut set = cut(set, test_sentences);
            // Scores do not depend on the order, but padding does.
            set.sentences.sort_by_key(|sentence| sentence.forms.len());
            set
        };
        let (forms, tags) = (split.vocabulary.forms.len(), split.vocabulary.tags.len());
        let sets = [cut(split.train, train_sentences), judged(split.dev), judged(split.test)].map(Arc::new);
        Ok(Treebank { sets, forms, tags })
    }

    /// The sizes, which the first rank of `world` finds out for all.
    pub fn sizes(&self, world: &Communicator) -> anyhow::Result<Sizes> {
        let known = if world.rank() == 0 {
            let Treebank { sets, forms, tags } = self.treebank()?;
            let longest = sets.iter().flat_map(|set| set.lengths()).max().unwrap_or(0);
            let [train, dev, test] = [0, 1, 2].map(|part| sets[part].len());
            Some([train, dev, test, *forms, *tags, longest].map(|n| n as u64).to_vec())
        } else {
            None
        };
        let sizes: Vec<usize> = world.broadcast(0, known, &())?.iter().map(|n| *n as usize).collect();
        let [train, dev, test, forms, tags, longest] = sizes[..] else {
            bail!("rank 0 sent {} sizes of the treebank, expected 6", sizes.len());
        };
        let n = [train, dev, test];
        ensure!(!n.contains(&0), "{train} training, {dev} dev and {test} test sentences: at least 1 of each is needed");
        Ok(Sizes { n, forms, tags, longest })
    }

    /// What can be had without any network, on the first rank.
    pub fn word_alone(&self) -> anyhow::Result<[f64; 2]> {
        let [train, dev, test] = &self.treebank()?.sets;
        let tagger = WordAlone::new(train);
        Ok([tagger.accuracy(dev), tagger.accuracy(test)])
    }

    /// The three sets as a rank of `mesh` needs them. The first layer ranks read and feed forms, the last ones tags; the
    /// ranks between them read nothing.
    pub fn samples(&self, mesh: &Mesh, sizes: &Sizes, device: &Device) -> anyhow::Result<[Sentences; 3]> {
        let (is_first, is_last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
        let sets = if is_first || is_last { Some(&self.treebank()?.sets) } else { None };
        let mut samples = sizes.n.map(|n| Samples { n, inputs: None, targets: None });
        for (samples, set) in samples.iter_mut().zip(sets.into_iter().flatten()) {
            if is_first {
                let device = device.clone();
                samples.inputs = Some(
                    self.feed(set, move |shape, forms, _| Tensor::from_data(TensorData::new(forms, shape), &device))?,
                );
            }
            if is_last {
                let device = device.clone();
                samples.targets = Some(self.feed(set, move |[n, length], _, tags| {
                    Tensor::from_data(TensorData::new(tags, [n * length]), &device)
                })?);
            }
        }
        Ok(samples)
    }

    /// A feed of what `make` makes of forms and tags of the same shape, each micro-batch padded to its own longest sentence.
    fn feed<I>(
        &self,
        set: &Arc<TaggingSet>,
        make: impl Fn([usize; 2], Vec<i64>, Vec<i64>) -> I + Send + Sync + 'static,
    ) -> anyhow::Result<Feed<I>> {
        let lengths = set.lengths();
        let indices = InMemDataset::new((0..set.len()).collect());
        let source = Bucketed::new(indices, lengths.clone(), self.options.training.batch)?;
        let set = Arc::clone(set);
        Ok(Feed::new(source, move |indices: Vec<usize>| {
            let length = indices.iter().map(|index| lengths[*index]).max().unwrap_or(0);
            let (mut forms, mut tags) = (Vec::new(), Vec::new());
            set.padded_into(&indices, length, &mut forms, &mut tags);
            let [forms, tags] = [forms, tags].map(|ids| ids.into_iter().map(i64::from).collect());
            make([indices.len(), length], forms, tags)
        }))
    }
}

/// The network's sizes for this treebank.
pub fn encoder(options: &Options, sizes: &Sizes) -> TransformerConfig {
    let TransformerArgs { layers, d_model, .. } = options.network;
    let encoder = TransformerConfig::encoder(layers, d_model, sizes.forms, sizes.tags);
    options.network.config(TransformerConfig { max_length: sizes.longest, pad: Some(PAD), ..encoder })
}
