//! A text as a sequence of characters, for networks that guess the next one.
//!
//! [`read`] takes any file of text, [`generated`] writes one on the spot.

mod generated;

use std::path::Path;

use crate::{DataError, file};

pub use generated::{DEFAULT_CHARACTERS, generated};

/// The characters of a corpus, numbered in the order of Unicode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Characters {
    /// Sorted, each once.
    characters: Vec<char>,
}

impl Characters {
    /// The characters of a text.
    pub fn new(text: &str) -> Self {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters.dedup();
        Self { characters }
    }

    /// How many there are: the rows of an embedding, and the classes of the output.
    pub fn len(&self) -> usize {
        self.characters.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// The codes of a text, such as a prompt.
    ///
    /// # Errors
    /// [`DataError::UnknownCharacter`], naming the first character that the corpus does not have.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let code = |(i, character)| match self.characters.binary_search(&character) {
            Ok(code) => Ok(code as u32),
            Err(_) => Err(DataError::UnknownCharacter { character, position: i + 1 }),
        };
        text.chars().enumerate().map(code).collect()
    }

    /// The text of codes, such as those sampled from a network.
    ///
    /// # Panics
    /// Where a code is not below [`len`](Self::len), as a slice does.
    pub fn decode(&self, codes: &[u32]) -> String {
        codes.iter().map(|&code| self.characters[code as usize]).collect()
    }
}

/// A part of a text in codes, read as windows.
///
/// Windows do not overlap, but that the last target of one is the first input of the next: over all
/// windows every character is a target once, but the first, and a rest shorter than a window at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CharCorpus {
    codes: Vec<u32>,
}

impl CharCorpus {
    /// How many characters there are.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The codes of the text.
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// How many windows of `length` inputs there are; at least one.
    ///
    /// # Errors
    /// [`DataError::ZeroWindow`] where `length` is 0, [`DataError::CorpusTooShort`] where there are
    /// not `length + 1` characters.
    pub fn n_windows(&self, length: usize) -> Result<usize, DataError> {
        if length == 0 {
            return Err(DataError::ZeroWindow);
        }
        match self.codes.len().saturating_sub(1) / length {
            0 => Err(DataError::CorpusTooShort { window: length, got: self.codes.len() }),
            n => Ok(n),
        }
    }

    /// Window `index`: `length` inputs, and the characters that follow each.
    ///
    /// # Panics
    /// Where `index` is not below [`n_windows`](Self::n_windows), as a slice does.
    pub fn window(&self, index: usize, length: usize) -> (&[u32], &[u32]) {
        let codes = &self.codes[index * length..=(index + 1) * length];
        (&codes[..length], &codes[1..])
    }
}

/// A text cut in two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CharSplit {
    /// The characters of the whole text, so that neither part has an unknown one.
    pub characters: Characters,
    /// The beginning: what the network learns from.
    pub train: CharCorpus,
    /// The end: what it is judged by.
    pub validation: CharCorpus,
}

impl CharSplit {
    /// Cuts `text`, keeping the fraction `validation` of it at the end; the training part is rounded down to whole
    /// characters.
    ///
    /// # Errors
    /// [`DataError::BadFraction`] where `validation` is not in 0..1, and [`DataError::CorpusTooShort`]
    /// where the training part has not at least two characters.
    pub fn new(text: &str, validation: f64) -> Result<Self, DataError> {
        if !(0.0..1.0).contains(&validation) {
            return Err(DataError::BadFraction { fraction: validation });
        }
        let characters = Characters::new(text);
        let mut codes = characters.encode(text)?;
        let n_train = (codes.len() as f64 * (1.0 - validation)) as usize;
        let validation = CharCorpus { codes: codes.split_off(n_train) };
        let train = CharCorpus { codes };
        train.n_windows(1)?;
        Ok(Self { characters, train, validation })
    }
}

/// Reads a text, plain or gzip, and cuts it as [`CharSplit::new`] does.
///
/// # Errors
/// [`DataError`]: unreadable, damaged gzip, too large, not UTF-8, empty; or what [`CharSplit::new`] says.
pub fn read(file: &Path, validation: f64) -> Result<CharSplit, DataError> {
    let text = file::read_text(file)?;
    if text.is_empty() {
        return Err(DataError::EmptyText { file: file.to_owned(), wanted: "character" });
    }
    CharSplit::new(&text, validation)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_are_shifted_by_one_and_do_not_overlap() {
        let split = CharSplit::new("hello world", 0.0).unwrap();
        let text = |codes| split.characters.decode(codes);
        assert_eq!(split.train.n_windows(3).unwrap(), 3);
        let windows: Vec<_> = (0..3).map(|i| split.train.window(i, 3)).map(|(x, y)| (text(x), text(y))).collect();
        let expected = [("hel", "ell"), ("lo ", "o w"), ("wor", "orl")];
        assert_eq!(windows, expected.map(|(x, y)| (x.to_owned(), y.to_owned())));
        assert_eq!((split.train.n_windows(10).unwrap(), split.validation.len()), (1, 0));
    }

    #[test]
    fn codes_are_in_order_and_unknown_characters_named() {
        let characters = Characters::new("banana €");
        assert_eq!(characters.encode(" abn€").unwrap(), [0, 1, 2, 3, 4]);
        let error = characters.encode("na ñ").unwrap_err();
        assert_eq!(
            error.to_string(),
            "character 'ñ' (number 4) is not in the vocabulary: use the corpus's characters only"
        );
    }

    #[test]
    fn the_end_is_kept_for_validation() {
        let split = CharSplit::new("aaaaaaabcd", 0.3).unwrap();
        assert_eq!(split.characters.decode(split.validation.codes()), "bcd");
        assert_eq!(split.train.len(), 7);
        assert_eq!(split.characters.len(), 4);
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        for fraction in [-0.1, 1.0, f64::NAN] {
            assert!(matches!(CharSplit::new("abc", fraction), Err(DataError::BadFraction { .. })), "{fraction}");
        }
        assert!(matches!(CharSplit::new("", 0.0), Err(DataError::CorpusTooShort { window: 1, got: 0 })));
        assert!(matches!(CharSplit::new("abc", 0.6), Err(DataError::CorpusTooShort { window: 1, got: 1 })));
        let train = CharSplit::new("abc", 0.0).unwrap().train;
        assert!(matches!(train.n_windows(3), Err(DataError::CorpusTooShort { window: 3, got: 3 })));
        assert!(matches!(train.n_windows(0), Err(DataError::ZeroWindow)));
    }

    proptest! {
        #[test]
        fn every_character_is_a_target_once(text in ".{2,200}", length in 1_usize..40) {
            let split = CharSplit::new(&text, 0.0).unwrap();
            prop_assert_eq!(split.characters.decode(split.train.codes()), text);
            let n = split.train.n_windows(length).unwrap_or(0);
            let targets: Vec<u32> = (0..n).flat_map(|i| split.train.window(i, length).1).copied().collect();
            prop_assert_eq!(&targets, &split.train.codes()[1..1 + n * length]);
            prop_assert!(split.train.len() - 1 - targets.len() < length);
        }
    }
}
