//! Words and their numbers.

use std::{cmp::Reverse, collections::HashMap};

/// Words numbered from the most frequent on, after a few numbers that stand for no word.
///
/// Numbers are given by frequency in the training text; of words as frequent, the one that appears
/// first goes first. The special numbers before them (padding, unknown word, ...) have names to be
/// printed, which are not words: a text that spells one out gets a number of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// Names of the specials, then the words.
    words: Vec<String>,
    indices: HashMap<String, u32>,
    unknown: u32,
}

impl Vocabulary {
    /// The words of a text. `unknown` is the place of the unknown word among the specials.
    pub(crate) fn by_frequency<'a>(specials: &[&str], unknown: u32, text: impl IntoIterator<Item = &'a str>) -> Self {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut counts: Vec<(&str, u64)> = Vec::new();
        for word in text {
            let place = *places.entry(word).or_insert_with(|| {
                counts.push((word, 0));
                counts.len() - 1
            });
            counts[place].1 += 1;
        }
        // Stable: first appearance stays first.
        counts.sort_by_key(|&(_, count)| Reverse(count));
        let words = specials.iter().copied().chain(counts.iter().map(|&(word, _)| word));
        let words: Vec<String> = words.map(str::to_owned).collect();
        let indices = (0..).zip(&words).skip(specials.len()).map(|(index, word)| (word.clone(), index)).collect();
        Self { words, indices, unknown }
    }

    /// The number of a word; that of the unknown word where it is not in the vocabulary.
    pub fn index(&self, word: &str) -> u32 {
        self.indices.get(word).copied().unwrap_or(self.unknown)
    }

    /// The word, or the name of the special, with a number.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len), as a slice does.
    pub fn word(&self, index: u32) -> &str {
        &self.words[index as usize]
    }

    /// How many numbers there are, specials included: the rows of an embedding.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Never: the specials are always there.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// Appends `ids`, cut at `length` and filled with `pad` up to it.
pub(crate) fn push_padded(ids: &[u32], length: usize, pad: u32, out: &mut Vec<u32>) {
    let end = out.len() + length;
    out.extend(&ids[..ids.len().min(length)]);
    out.resize(end, pad);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vocabulary {
        Vocabulary::by_frequency(&["<p>", "<u>"], 1, text.split_whitespace())
    }

    #[test]
    fn frequency_first_then_first_appearance() {
        let vocabulary = of("c b a b d a b");
        let words: Vec<&str> = (0..vocabulary.len() as u32).map(|index| vocabulary.word(index)).collect();
        assert_eq!(words, ["<p>", "<u>", "b", "a", "c", "d"]);
        assert_eq!((vocabulary.index("c"), vocabulary.index("nothing")), (4, 1));
    }

    #[test]
    fn specials_are_not_words() {
        assert_eq!(of("a").index("<p>"), 1);
        let spelled_out = of("<p> a <p>");
        assert_eq!((spelled_out.index("<p>"), spelled_out.index("a"), spelled_out.len()), (2, 3, 4));
    }

    #[test]
    fn padding_cuts_and_fills() {
        let mut out = vec![9];
        push_padded(&[1, 2, 3], 2, 0, &mut out);
        push_padded(&[4], 3, 7, &mut out);
        assert_eq!(out, [9, 1, 2, 4, 7, 7]);
    }
}
