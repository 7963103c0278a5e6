//! The generated texts: the same on every machine, and learnt only by who looks at the right place.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{HashMap, HashSet};

use braidnet_data::{
    Vocabulary,
    characters::{self, DEFAULT_CHARACTERS},
    pairs,
    tagging::{self, TaggedSentence, TaggingSet, TaggingSplit, UNKNOWN},
};

fn spelled(vocabulary: &Vocabulary, ids: &[u32]) -> String {
    ids.iter().map(|&id| vocabulary.word(id)).collect::<Vec<_>>().join(" ")
}

#[test]
fn texts_are_the_same_everywhere() {
    // A change of these values changes every result reported on generated texts.
    let split = tagging::generated(7, 3, 1, 1);
    let TaggedSentence { forms, tags } = split.train.sentences.iter().min_by_key(|s| s.forms.len()).unwrap();
    let tagged = [spelled(&split.vocabulary.forms, forms), spelled(&split.vocabulary.tags, tags)];
    let split = characters::generated(7, 160, 0.5).unwrap();
    let text = split.characters.decode(split.train.codes());
    let split = pairs::generated(7, 6, 1).unwrap();
    let pair = &split.train.pairs[4];
    let pair = [spelled(&split.source, &pair.source), spelled(&split.target, &pair.target)];
    assert_eq!(tagged, ["<r> keri gilu kemo dala nigu .", "<r> STATE FACT VERB FACT FACT STOP"]);
    assert_eq!(text, "That clever farmer that hides that lost child leaves this quiet fox. Edith think");
    assert_eq!(pair, ["eighty two thousand four hundred and forty two <eos>", "<bos> 8 2 4 4 2 <eos>"]);
}

/// The part of the words of `test` whose tag is the one most frequent in `train` for what `sees` sees of them.
fn accuracy<K: std::hash::Hash + Eq>(train: &TaggingSet, test: &TaggingSet, sees: fn(&[u32]) -> K) -> f64 {
    let words = |set: &TaggingSet| -> Vec<(K, u32)> {
        let of = |s: &TaggedSentence| (1..s.forms.len()).map(|i| (sees(&s.forms[..=i]), s.tags[i])).collect::<Vec<_>>();
        set.sentences.iter().flat_map(of).collect()
    };
    let mut counts: HashMap<K, HashMap<u32, usize>> = HashMap::new();
    for (seen, tag) in words(train) {
        *counts.entry(seen).or_default().entry(tag).or_default() += 1;
    }
    let best = |seen| Some(*counts.get(seen)?.iter().max_by_key(|(_, n)| **n)?.0);
    let words = words(test);
    words.iter().filter(|(seen, tag)| best(seen) == Some(*tag)).count() as f64 / words.len() as f64
}

#[test]
fn tags_need_the_word_its_neighbour_and_the_last_opener() {
    let split = tagging::generated(0, 20_000, 0, 500);
    let alone = accuracy(&split.train, &split.test, |forms| forms[forms.len() - 1]);
    let in_pairs = accuracy(&split.train, &split.test, |forms| [forms[forms.len() - 1], forms[forms.len() - 2]]);
    println!("{alone:.3} of the words from the word alone, {in_pairs:.3} with the word before");
    assert!((0.65..0.8).contains(&alone));
    assert!((alone + 0.05..0.88).contains(&in_pairs));
}

/// What a form can be in the training set.
fn tags_of(split: &TaggingSplit) -> HashMap<u32, HashSet<&str>> {
    let mut tags: HashMap<u32, HashSet<&str>> = HashMap::new();
    for sentence in &split.train.sentences {
        for (&form, &tag) in sentence.forms.iter().zip(&sentence.tags) {
            tags.entry(form).or_default().insert(split.vocabulary.tags.word(tag));
        }
    }
    tags
}

#[test]
fn with_all_three_every_tag_is_known() {
    let split = tagging::generated(0, 5_000, 0, 500);
    let tags_of = tags_of(&split);
    let (mut opener, mut distance, mut farthest) = ("", 0, 0);
    for sentence in &split.test.sentences {
        let mut before = "<r>";
        for (form, &tag) in sentence.forms.iter().zip(&sentence.tags) {
            let tag = split.vocabulary.tags.word(tag);
            distance += 1;
            if *form != UNKNOWN {
                let possible = &tags_of[form];
                let known = match (possible.len(), possible.contains("NOUN")) {
                    (1, _) => possible.iter().next().unwrap(),
                    (_, true) => {
                        if before == "ART" {
                            "NOUN"
                        } else {
                            "VERB"
                        }
                    }
                    (_, false) => {
                        if opener == "STATE" {
                            "FACT"
                        } else {
                            "DOUBT"
                        }
                    }
                };
                assert_eq!(known, tag);
            }
            match tag {
                "STATE" | "ASK" => (opener, distance) = (tag, 0),
                "FACT" | "DOUBT" => farthest = farthest.max(distance),
                _ => {}
            }
            before = tag;
        }
    }
    assert_eq!(farthest, 10);
}

#[test]
fn sentences_are_of_all_lengths_and_words_hardly_ever_unknown() {
    let split = tagging::generated(3, 2_000, 200, 200);
    assert_eq!([&split.train, &split.dev, &split.test].map(TaggingSet::len), [2_000, 200, 200]);
    let lengths: HashSet<usize> = split.train.lengths().into_iter().collect();
    assert_eq!(lengths, (tagging::SHORTEST + 1..=tagging::LONGEST + 1).collect());
    // Nine tags, and the three special numbers.
    assert_eq!(split.vocabulary.tags.len(), 3 + 9);
    let words: Vec<u32> = split.test.sentences.iter().flat_map(|sentence| sentence.forms.clone()).collect();
    let unknown = words.iter().filter(|&&word| word == UNKNOWN).count();
    assert!(unknown * 100 < words.len(), "{unknown} of {}", words.len());
    assert_ne!(split.dev.sentences, split.test.sentences);
}

#[test]
fn larger_sets_begin_with_smaller_ones() {
    let words = |seed, n| {
        let split = tagging::generated(seed, n, 0, 0);
        let spell = |s: &TaggedSentence| spelled(&split.vocabulary.forms, &s.forms);
        split.train.sentences.iter().map(spell).collect::<Vec<_>>()
    };
    assert_eq!(words(3, 30)[..], words(3, 90)[..30]);
    assert_ne!(words(3, 30), words(4, 30));
}

#[test]
fn the_default_text_is_plain_english() {
    let split = characters::generated(0, DEFAULT_CHARACTERS, 0.1).unwrap();
    assert_eq!((split.train.len(), split.validation.len()), (270_000, 30_000));
    let text = split.characters.decode(&(0..split.characters.len() as u32).collect::<Vec<_>>());
    assert!(text.chars().all(|c| c.is_ascii_alphabetic() || "\n \"!,.:".contains(c)), "{text:?}");
}
