//! Morphological tagging: a tag for every word of a sentence.
//!
//! The task and its rules are those of the experiments with TorchBraid, which took them from Flax's
//! example `nlp_seq`. The input is the FORM column of a treebank and the target its XPOS column.
//! Every token line counts: words, ranges (whose tag is `_`) and empty nodes. Forms and tags are
//! numbered by their frequency in the training file, after [`PAD`], [`UNKNOWN`] and [`ROOT`]; every
//! sentence begins with [`ROOT`], in forms and tags. On UD English GUM r2.10 this gives 15,514 forms and 49
//! tags.
//!
//! [`load`] reads a treebank, [`generated`] makes up a language with no file at all.
//!
//! # Reference
//! J. Nivre et al., *Universal Dependencies v2*, LREC 2020.

mod generated;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    DataError, Vocabulary,
    conllu::{self, Sentence, Token},
    vocabulary::push_padded,
};

pub use generated::{LONGEST, SHORTEST, generated};

/// Number of the padding after a sentence, in forms and tags; no loss is taken there.
pub const PAD: u32 = 0;

/// Number of a form or tag that the training set does not have.
pub const UNKNOWN: u32 = 1;

/// Number that begins every sentence, in forms and tags.
pub const ROOT: u32 = 2;

const SPECIALS: [&str; 3] = ["<p>", "<u>", "<r>"];

/// The three sets of a treebank, and the numbers they are written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggingSplit {
    /// Forms and tags of the training set.
    pub vocabulary: TaggingVocabulary,
    /// What the network learns from.
    pub train: TaggingSet,
    /// What choices are made by while experimenting.
    pub dev: TaggingSet,
    /// What it is judged by in the end; never trained on.
    pub test: TaggingSet,
}

/// The forms and the tags of a training set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggingVocabulary {
    /// The words of the input.
    pub forms: Vocabulary,
    /// The classes of the output; the special numbers count as classes.
    pub tags: Vocabulary,
}

/// Sentences in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggingSet {
    /// The sentences, as stored.
    pub sentences: Vec<TaggedSentence>,
}

/// A sentence in numbers: as many tags as forms, both beginning with [`ROOT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedSentence {
    /// The numbers of its forms.
    pub forms: Vec<u32>,
    /// The numbers of their tags.
    pub tags: Vec<u32>,
}

impl TaggingSplit {
    /// The three sets, with the vocabulary of the first.
    pub fn new(train: &[Sentence], dev: &[Sentence], test: &[Sentence]) -> Self {
        let vocabulary = TaggingVocabulary::new(train);
        let [train, dev, test] = [train, dev, test].map(|sentences| vocabulary.apply(sentences));
        Self { vocabulary, train, dev, test }
    }
}

impl TaggingVocabulary {
    /// The vocabulary of a training set.
    pub fn new(train: &[Sentence]) -> Self {
        let by_frequency = |column: fn(&Token) -> &str| {
            let tokens = train.iter().flat_map(|sentence| &sentence.tokens);
            Vocabulary::by_frequency(&SPECIALS, UNKNOWN, tokens.map(column))
        };
        Self { forms: by_frequency(|token| &token.form), tags: by_frequency(|token| &token.xpos) }
    }

    /// Sentences in the numbers of this vocabulary.
    pub fn apply(&self, sentences: &[Sentence]) -> TaggingSet {
        let numbered = |sentence: &Sentence| {
            let tokens = || sentence.tokens.iter();
            TaggedSentence {
                forms: std::iter::once(ROOT).chain(tokens().map(|token| self.forms.index(&token.form))).collect(),
                tags: std::iter::once(ROOT).chain(tokens().map(|token| self.tags.index(&token.xpos))).collect(),
            }
        };
        TaggingSet { sentences: sentences.iter().map(numbered).collect() }
    }
}

impl TaggingSet {
    /// How many sentences there are.
    pub fn len(&self) -> usize {
        self.sentences.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }

    /// The length of each sentence, [`ROOT`] included; what [`bucket`](crate::bucket) takes.
    pub fn lengths(&self) -> Vec<usize> {
        self.sentences.iter().map(|sentence| sentence.forms.len()).collect()
    }

    /// Replaces `forms` and `tags` by the sentences `indices`, each cut at `length` and padded up to it.
    ///
    /// # Shapes
    /// `forms`, `tags`: `[indices.len(), length]`, row-major.
    ///
    /// # Panics
    /// Where an index is not below [`len`](Self::len), as a slice does.
    pub fn padded_into(&self, indices: &[usize], length: usize, forms: &mut Vec<u32>, tags: &mut Vec<u32>) {
        forms.clear();
        tags.clear();
        for sentence in indices.iter().map(|&index| &self.sentences[index]) {
            push_padded(&sentence.forms, length, PAD, forms);
            push_padded(&sentence.tags, length, PAD, tags);
        }
    }
}

/// Reads a treebank from `folder`: the three files that end in `-train.conllu`, `-dev.conllu` and `-test.conllu`, each
/// as it is or with `.gz`.
///
/// # Errors
/// [`DataError`]: not a folder, a file missing or there twice, or what [`conllu::read`] says of one.
pub fn load(folder: &Path) -> Result<TaggingSplit, DataError> {
    if !folder.is_dir() {
        return Err(DataError::FolderMissing { folder: folder.to_owned() });
    }
    // All three are looked for before any is read: a missing file shows at once.
    let [train, dev, test] = ["train", "dev", "test"].map(|part| find(folder, part));
    let (train, dev, test) = (train?, dev?, test?);
    Ok(TaggingSplit::new(&conllu::read(&train)?, &conllu::read(&dev)?, &conllu::read(&test)?))
}

fn find(folder: &Path, part: &'static str) -> Result<PathBuf, DataError> {
    let unreadable = |source| DataError::Unreadable { file: folder.to_owned(), source };
    let endings = [format!("-{part}.conllu"), format!("-{part}.conllu.gz")];
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(name);
        }
    }
    found.sort();
    match found.as_slice() {
        [name] => Ok(folder.join(name)),
        _ => Err(DataError::TreebankFiles { folder: folder.to_owned(), part, found }),
    }
}
