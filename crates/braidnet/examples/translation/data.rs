//! The pairs, as every rank reads them, and what the network takes.

use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use braidnet::data::Vocabulary;
use braidnet::data::pairs::{self, BOS, EOS, PAD, Pair, PairFiles, PairSet, PairSplit, TextPair, UNKNOWN};
use braidnet::nn::transformer::SourceTarget;
use braidnet::prelude::*;
use braidnet::train::data::LoadError;
use burn_dataset::InMemDataset;

use crate::Options;

/// Pairs to learn from, or to be judged by, as one rank has them.
pub type PairSamples = Samples<SourceTarget, Tensor<1, Int>>;

/// Pairs in numbers, and the words.
pub struct Data {
    pub source: Vocabulary,
    pub target: Vocabulary,
    pub train: PairSet,
    pub test: PairSet,
    /// Where they come from.
    pub name: String,
}

impl Data {
    /// Generates or reads all pairs.
    pub fn load(options: &Options) -> anyhow::Result<Self> {
        let Options { train_samples, test_samples, .. } = options;
        ensure!(*train_samples != Some(0), "--train-samples is 0: use at least 1");
        ensure!(*test_samples != Some(0), "--test-samples is 0: use at least 1");
        let (split, name) = match options.source.as_ref().zip(options.target.as_ref()) {
            None => {
                let (n_train, n_test) = (train_samples.unwrap_or(6000), test_samples.unwrap_or(600));
                (pairs::generated(options.training.seed, n_train, n_test)?, "generated numbers".to_owned())
            }
            Some((source, target)) => {
                let [mut train, mut test] = read(options, source, target)?;
                train.truncate(train_samples.unwrap_or(usize::MAX));
                test.truncate(test_samples.unwrap_or(usize::MAX));
                (PairSplit::new(&train, &test), format!("{} and {}", source.display(), target.display()))
            }
        };
        let PairSplit { source, target, train, test } = split;
        Ok(Self { source, target, train, test, name })
    }

    /// Tokens of the longest source and of the longest shifted target.
    pub fn max_lengths(&self) -> [usize; 2] {
        let longest = |length: fn(&Pair) -> usize| {
            let both = self.train.pairs.iter().chain(&self.test.pairs);
            both.map(length).max().unwrap_or(0)
        };
        [longest(|pair| pair.source.len()), longest(|pair| shifted(pair).len())]
    }

    /// The network for these pairs.
    pub fn config(&self, options: &Options) -> EncoderDecoderConfig {
        let vocabularies = [&self.source, &self.target].map(Vocabulary::len);
        options.network.pair_config(EncoderDecoderConfig {
            max_lengths: self.max_lengths(),
            pad: Some(PAD),
            ..EncoderDecoderConfig::new(1, 1, vocabularies)
        })
    }

    /// Training and test pairs for a rank of `mesh`.
    pub fn samples(&self, options: &Options, mesh: &Mesh, device: &Device) -> Result<[PairSamples; 2], LoadError> {
        let batch = options.training.batch;
        Ok([samples(&self.train, batch, mesh, device)?, samples(&self.test, batch, mesh, device)?])
    }

    /// Sentences to translate, in numbers.
    ///
    /// # Errors
    /// A sentence of no words, an unknown word, or more words than any sentence of the data has.
    pub fn numbered(&self, texts: &[String]) -> anyhow::Result<PairSet> {
        // Without the end.
        let longest = self.max_lengths()[0] - 1;
        for text in texts {
            let n = text.split_whitespace().count();
            ensure!(n > 0, "--translate: a sentence of no words");
            ensure!(
                n <= longest,
                "--translate: {n} words, but the longest sentence of the data has {longest}: use fewer"
            );
            let unknown = text.split_whitespace().find(|word| self.source.index(word) == UNKNOWN);
            ensure!(
                unknown.is_none(),
                "--translate: no training sentence has the word `{}`",
                unknown.unwrap_or_default()
            );
        }
        let pair = |text: &String| TextPair { source: text.clone(), target: String::new() };
        let pairs: Vec<TextPair> = texts.iter().map(pair).collect();
        Ok(PairSet::new(&pairs, &self.source, &self.target))
    }
}

/// The first layer ranks feed sources and shifted targets, the last ones targets.
fn samples(set: &PairSet, batch: usize, mesh: &Mesh, device: &Device) -> Result<PairSamples, LoadError> {
    let (is_first, is_last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
    let dataset = Arc::new(InMemDataset::new(set.pairs.clone()));
    let source = || Bucketed::new(dataset.clone(), set.lengths(), batch);
    let (of_inputs, of_targets) = (device.clone(), device.clone());
    let inputs = move |pairs: Vec<Pair>| SourceTarget {
        source: padded(pairs.iter().map(|pair| &pair.source[..]), &of_inputs),
        target: padded(pairs.iter().map(shifted), &of_inputs),
    };
    // As long as the shifted ones.
    let targets = move |pairs: Vec<Pair>| {
        let targets = padded(pairs.iter().map(|pair| &pair.target[1..]), &of_targets);
        let [n, length] = targets.dims();
        targets.reshape([n * length])
    };
    Ok(Samples {
        n: set.len(),
        inputs: is_first.then(source).transpose()?.map(|source| Feed::new(source, inputs)),
        targets: is_last.then(source).transpose()?.map(|source| Feed::new(source, targets)),
    })
}

/// Training and test pairs of the files.
fn read(options: &Options, source: &Path, target: &Path) -> anyhow::Result<[Vec<TextPair>; 2]> {
    let files = |source: &Path, target: &Path| PairFiles { source: source.to_owned(), target: target.to_owned() };
    let train = pairs::read(&files(source, target))?;
    if let Some((source, target)) = options.test_source.as_ref().zip(options.test_target.as_ref()) {
        return Ok([train, pairs::read(&files(source, target))?]);
    }
    ensure!(
        train.len() >= 10,
        "{} has {} lines: a tenth of them is for the test, use at least 10, or --test-source",
        source.display(),
        train.len()
    );
    let (test, train): (Vec<_>, Vec<_>) = train.into_iter().enumerate().partition(|(n, _)| n % 10 == 9);
    Ok([train, test].map(|part| part.into_iter().map(|(_, pair)| pair).collect()))
}

/// What the decoder reads of a target: all but its last token.
fn shifted(pair: &Pair) -> &[u32] {
    debug_assert!(pair.target.first() == Some(&BOS) && pair.target.last() == Some(&EOS));
    &pair.target[..pair.target.len() - 1]
}

/// Rows of tokens, padded to the longest.
pub fn padded<'a>(rows: impl ExactSizeIterator<Item = &'a [u32]> + Clone, device: &Device) -> Tensor<2, Int> {
    let (n, longest) = (rows.len(), rows.clone().map(<[u32]>::len).max().unwrap_or(0));
    let fill = |row: &'a [u32]| row.iter().copied().chain(std::iter::repeat(PAD)).take(longest).map(i64::from);
    Tensor::from_data(TensorData::new(rows.flat_map(fill).collect::<Vec<_>>(), [n, longest]), device)
}
