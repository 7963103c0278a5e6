//! What a tagger reaches that sees one word at a time.

use std::collections::HashMap;

use braidnet::data::tagging::TaggingSet;

/// Gives every form the tag that it most often has in the training set.
pub struct WordAlone {
    tags: HashMap<u32, u32>,
    /// For forms that are not there: the most frequent tag of all.
    other: u32,
}

impl WordAlone {
    /// Counts the tags of a training set.
    pub fn new(train: &TaggingSet) -> Self {
        let mut counts: HashMap<u32, HashMap<u32, usize>> = HashMap::new();
        let mut of_all: HashMap<u32, usize> = HashMap::new();
        for (form, tag) in tokens(train) {
            *counts.entry(form).or_default().entry(tag).or_default() += 1;
            *of_all.entry(tag).or_default() += 1;
        }
        let tags = counts.into_iter().map(|(form, tags)| (form, most_frequent(&tags))).collect();
        Self { tags, other: most_frequent(&of_all) }
    }

    /// The part of the tokens that it tags rightly, the root of each sentence too.
    pub fn accuracy(&self, set: &TaggingSet) -> f64 {
        let is_right = |(form, tag): &(u32, u32)| self.tags.get(form).unwrap_or(&self.other) == tag;
        tokens(set).filter(is_right).count() as f64 / tokens(set).count() as f64
    }
}

fn tokens(set: &TaggingSet) -> impl Iterator<Item = (u32, u32)> {
    set.sentences.iter().flat_map(|sentence| sentence.forms.iter().copied().zip(sentence.tags.iter().copied()))
}

/// The tag with the highest count; of those as frequent, the one with the lowest number.
fn most_frequent(counts: &HashMap<u32, usize>) -> u32 {
    counts.iter().max_by_key(|(tag, n)| (**n, std::cmp::Reverse(**tag))).map_or(0, |(tag, _)| *tag)
}
