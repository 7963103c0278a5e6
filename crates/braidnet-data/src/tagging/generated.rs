//! A small artificial language in which a tag is not a matter of the word alone.
//!
//! A sentence is a few clauses and a full stop. An opener begins each clause and says what it is:
//! a statement or a question. Inside come articles, nouns, verbs and adverbs, and two kinds of
//! ambiguous words:
//!
//! - a *shifter* is a noun right after an article, and a verb anywhere else;
//! - a *twin* takes the tag of its clause, however far back the opener is, up to ten words.
//!
//! So a network has to look at the word before, and for the last opener, whatever lies between. The
//! two tags of an ambiguous word are about as frequent: the best guess from the word alone is wrong
//! half of the time.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{
    conllu::{Id, Sentence, Token},
    random::{Purpose, stream},
    tagging::TaggingSplit,
};

/// Tokens of the shortest sentence, without the root.
pub const SHORTEST: usize = 3;

/// Tokens of the longest sentence, without the root.
pub const LONGEST: usize = 40;

/// Words between two openers, at most.
const LONGEST_CLAUSE: usize = 10;

/// A class of words: the first of its forms in the list of all, and how many.
struct Class(u32, u32);

const STATEMENT: Class = Class(0, 4);
const QUESTION: Class = Class(4, 4);
const ARTICLE: Class = Class(8, 6);
const NOUN: Class = Class(14, 150);
const VERB: Class = Class(164, 100);
const ADVERB: Class = Class(264, 60);
const SHIFTER: Class = Class(324, 80);
const TWIN: Class = Class(404, 80);

/// Makes up the three sets: `n_train`, `n_dev` and `n_test` sentences of 3 to 40 tokens, nine tags.
///
/// Sentence `i` of a set is a function of (seed, set, `i`) and of nothing else, so larger sets begin
/// with the smaller ones. The sets have the same rules and words; a rare word can be unknown.
pub fn generated(seed: u64, n_train: usize, n_dev: usize, n_test: usize) -> TaggingSplit {
    let [train, dev, test] = [(0, n_train), (1, n_dev), (2, n_test)].map(|(part, n)| {
        let sentences = (0..n as u64).map(|i| sentence(&mut stream(seed, part, Purpose::Tagging, i)));
        sentences.collect::<Vec<_>>()
    });
    TaggingSplit::new(&train, &dev, &test)
}

fn sentence(rng: &mut ChaCha8Rng) -> Sentence {
    let length = rng.random_range(SHORTEST as u32..=LONGEST as u32) as usize;
    let mut words = Vec::with_capacity(length);
    while words.len() < length - 1 {
        clause(length - 1 - words.len(), rng, &mut words);
    }
    words.push((".".to_owned(), "STOP"));
    let tokens = (1..).zip(words).map(|(i, (form, tag))| token(i, form, tag)).collect();
    Sentence { comments: Vec::new(), tokens }
}

/// Appends an opener and up to ten words, `space` together at most.
fn clause(space: usize, rng: &mut ChaCha8Rng, words: &mut Vec<(String, &'static str)>) {
    let (opener, opener_tag, twin_tag) =
        if rng.random() { (STATEMENT, "STATE", "FACT") } else { (QUESTION, "ASK", "DOUBT") };
    words.push((form(opener, rng), opener_tag));
    let n_words = rng.random_range(1..=LONGEST_CLAUSE as u32) as usize;
    let mut after_article = false;
    for _ in 0..n_words.min(space - 1) {
        let (class, tag) = match (after_article, rng.random_range(0..20_u32)) {
            (true, 0..13) => (SHIFTER, "NOUN"),
            (true, _) => (NOUN, "NOUN"),
            (false, 0..6) => (ARTICLE, "ART"),
            (false, 6) => (VERB, "VERB"),
            (false, 7) => (ADVERB, "ADV"),
            (false, 8..12) => (SHIFTER, "VERB"),
            (false, _) => (TWIN, twin_tag),
        };
        after_article = tag == "ART";
        words.push((form(class, rng), tag));
    }
}

fn token(i: u32, form: String, tag: &str) -> Token {
    let none = || "_".to_owned();
    Token {
        id: Id::Word(i),
        form,
        lemma: none(),
        upos: none(),
        xpos: tag.to_owned(),
        feats: none(),
        head: none(),
        deprel: none(),
        deps: none(),
        misc: none(),
    }
}

/// A word of a class; the lesser of two draws, so that some are frequent and some are rare.
fn form(Class(first, n): Class, rng: &mut ChaCha8Rng) -> String {
    let (a, b) = (rng.random_range(0..n), rng.random_range(0..n));
    spelling(first + a.min(b))
}

/// A word of two syllables: another one for each number below 5,625.
fn spelling(word: u32) -> String {
    const CONSONANTS: &[u8; 15] = b"bdfghklmnprstvz";
    const VOWELS: &[u8; 5] = b"aeiou";
    // 1,001 and 75 x 75 have no common factor: neighbours get unlike spellings, and none comes twice.
    let number = (word * 1_001 % 5_625) as usize;
    let syllable = |s: usize| [CONSONANTS[s / 5], VOWELS[s % 5]].map(char::from);
    [syllable(number / 75), syllable(number % 75)].as_flattened().iter().collect()
}
