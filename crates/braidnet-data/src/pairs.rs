//! Pairs of sentences, one the translation of the other.
//!
//! [`load`] reads two files aligned line by line; [`generated`] makes pairs of numbers, in words and
//! in digits. Words are what white space separates.

mod generated;
mod numbers;

use std::path::{Path, PathBuf};

use crate::{DataError, LineFault, Vocabulary, file, vocabulary::push_padded};

pub use generated::{MAX_TEST, MAX_TRAIN, generated};
pub use numbers::in_words;

/// Number of the padding after a sentence; no loss is taken there.
pub const PAD: u32 = 0;

/// Number that begins every target.
pub const BOS: u32 = 1;

/// Number that ends every source and every target.
pub const EOS: u32 = 2;

/// Number of a word that the training set does not have.
pub const UNKNOWN: u32 = 3;

const SPECIALS: [&str; 4] = ["<pad>", "<bos>", "<eos>", "<unk>"];

/// A sentence and its translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPair {
    /// What is translated.
    pub source: String,
    /// Its translation.
    pub target: String,
}

/// Training and test pairs, and the numbers they are written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSplit {
    /// The words of the sources of the training set.
    pub source: Vocabulary,
    /// The words of its targets.
    pub target: Vocabulary,
    /// What the network learns from.
    pub train: PairSet,
    /// What it is judged by; never trained on.
    pub test: PairSet,
}

/// Pairs in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSet {
    /// The pairs, as stored.
    pub pairs: Vec<Pair>,
}

/// A pair in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The words and [`EOS`].
    pub source: Vec<u32>,
    /// [`BOS`], the words and [`EOS`]: a decoder reads all but the last and guesses all but the first.
    pub target: Vec<u32>,
}

impl PairSplit {
    /// Both sets, with the vocabularies of the first.
    pub fn new(train: &[TextPair], test: &[TextPair]) -> Self {
        let of = |side: fn(&TextPair) -> &str| {
            Vocabulary::by_frequency(&SPECIALS, UNKNOWN, train.iter().flat_map(|pair| side(pair).split_whitespace()))
        };
        let (source, target) = (of(|pair| &pair.source), of(|pair| &pair.target));
        let [train, test] = [train, test].map(|pairs| PairSet::new(pairs, &source, &target));
        Self { source, target, train, test }
    }
}

impl PairSet {
    /// Pairs in the numbers of two vocabularies.
    pub fn new(pairs: &[TextPair], source: &Vocabulary, target: &Vocabulary) -> Self {
        let numbered = |pair: &TextPair| Pair {
            source: words(source, &pair.source).chain([EOS]).collect(),
            target: std::iter::once(BOS).chain(words(target, &pair.target)).chain([EOS]).collect(),
        };
        Self { pairs: pairs.iter().map(numbered).collect() }
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The length of the longer side of each pair; what [`bucket`](crate::bucket) takes.
    pub fn lengths(&self) -> Vec<usize> {
        self.pairs.iter().map(|pair| pair.source.len().max(pair.target.len())).collect()
    }

    /// Replaces `sources` and `targets` by the pairs `indices`, each side cut at its length and padded up to it.
    ///
    /// # Shapes
    /// `sources`: `[indices.len(), lengths[0]]`, `targets`: `[indices.len(), lengths[1]]`, row-major.
    ///
    /// # Panics
    /// Where an index is not below [`len`](Self::len), as a slice does.
    pub fn padded_into(&self, indices: &[usize], lengths: [usize; 2], sources: &mut Vec<u32>, targets: &mut Vec<u32>) {
        sources.clear();
        targets.clear();
        for pair in indices.iter().map(|&index| &self.pairs[index]) {
            push_padded(&pair.source, lengths[0], PAD, sources);
            push_padded(&pair.target, lengths[1], PAD, targets);
        }
    }
}

fn words<'a>(vocabulary: &'a Vocabulary, text: &'a str) -> impl Iterator<Item = u32> + 'a {
    text.split_whitespace().map(|word| vocabulary.index(word))
}

/// Where aligned text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// A sentence a line.
    pub source: PathBuf,
    /// Its translation on the same line.
    pub target: PathBuf,
}

/// Reads training and test pairs.
///
/// # Errors
/// As [`read`].
pub fn load(train: &PairFiles, test: &PairFiles) -> Result<PairSplit, DataError> {
    Ok(PairSplit::new(&read(train)?, &read(test)?))
}

/// Reads the pairs of two files, plain or gzip.
///
/// # Errors
/// [`DataError`] of either file: unreadable, damaged gzip, too large, not UTF-8, no line, an empty
/// line; or [`DataError::LineCountsDiffer`].
pub fn read(files: &PairFiles) -> Result<Vec<TextPair>, DataError> {
    let (sources, targets) = (lines(&files.source)?, lines(&files.target)?);
    if sources.len() != targets.len() {
        return Err(DataError::LineCountsDiffer {
            source_file: files.source.clone(),
            n_source: sources.len(),
            target_file: files.target.clone(),
            n_target: targets.len(),
        });
    }
    Ok(sources.into_iter().zip(targets).map(|(source, target)| TextPair { source, target }).collect())
}

fn lines(file: &Path) -> Result<Vec<String>, DataError> {
    let text = file::read_text(file)?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(DataError::EmptyText { file: file.to_owned(), wanted: "line" });
    }
    match lines.iter().position(|line| line.trim().is_empty()) {
        Some(empty) => Err(DataError::Line { file: file.to_owned(), line: empty + 1, fault: LineFault::Empty }),
        None => Ok(lines),
    }
}
