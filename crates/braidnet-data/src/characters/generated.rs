//! English-like text from a small grammar: what a network can learn from it is spelling, the order
//! of words, quotation marks that close, verbs that agree with a subject some words before, and
//! pronouns that agree with the name at the beginning of the sentence.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{
    DataError,
    characters::CharSplit,
    random::{Purpose, stream},
};

/// Characters enough to learn from in minutes.
pub const DEFAULT_CHARACTERS: usize = 300_000;

/// A name, and the pronouns for it.
const PEOPLE: &[[&str; 3]] = &[
    ["Anna", "she", "her"],
    ["Clara", "she", "her"],
    ["Edith", "she", "her"],
    ["Judith", "she", "her"],
    ["Ben", "he", "his"],
    ["David", "he", "his"],
    ["Felix", "he", "his"],
    ["Victor", "he", "his"],
];

/// One and many of a noun.
const NOUNS: &[[&str; 2]] = &[
    ["farmer", "farmers"],
    ["child", "children"],
    ["fox", "foxes"],
    ["horse", "horses"],
    ["boat", "boats"],
    ["river", "rivers"],
    ["letter", "letters"],
    ["window", "windows"],
    ["garden", "gardens"],
    ["mouse", "mice"],
    ["judge", "judges"],
    ["king", "kings"],
    ["sailor", "sailors"],
    ["stone", "stones"],
];

/// A verb for one and for many subjects, and its past.
const VERBS: &[[&str; 3]] = &[
    ["sees", "see", "saw"],
    ["finds", "find", "found"],
    ["follows", "follow", "followed"],
    ["hears", "hear", "heard"],
    ["paints", "paint", "painted"],
    ["leaves", "leave", "left"],
    ["knows", "know", "knew"],
    ["moves", "move", "moved"],
    ["expects", "expect", "expected"],
    ["hides", "hide", "hid"],
];

const ADJECTIVES: &[&str] =
    &["old", "quiet", "small", "grey", "clever", "empty", "brave", "yellow", "frozen", "lost", "tired", "bright"];
const PLACES: &[&str] =
    &["near the bridge", "in the village", "under the trees", "by the sea", "on the hill", "behind the wall"];
const TIMES: &[&str] = &["in the morning", "at night", "every summer", "before the storm", "after dinner", "today"];
const SAYINGS: &[&str] = &["says", "asks", "thinks", "whispers", "answers"];

/// Writes a text of `n_characters`, and cuts it as [`CharSplit::new`] does.
///
/// Sentence `i` is a function of (seed, `i`) and of nothing else: a longer text begins with the
/// shorter one.
///
/// # Errors
/// As [`CharSplit::new`].
pub fn generated(seed: u64, n_characters: usize, validation: f64) -> Result<CharSplit, DataError> {
    let mut text = String::with_capacity(n_characters + 200);
    let mut index = 0;
    while text.len() < n_characters {
        let rng = &mut stream(seed, 0, Purpose::Characters, index);
        text.push_str(&sentence(rng));
        text.push(if rng.random_range(0..6_u32) == 0 { '\n' } else { ' ' });
        index += 1;
    }
    // All of it is ASCII: a byte is a character.
    text.truncate(n_characters);
    CharSplit::new(&text, validation)
}

fn sentence(rng: &mut ChaCha8Rng) -> String {
    let text = match rng.random_range(0..4_u32) {
        0 => spoken(rng),
        1 => remembered(rng),
        2 => format!("{}, {}.", pick(TIMES, rng), statement(rng)),
        _ => format!("{}.", statement(rng)),
    };
    capitalised(&text)
}

/// `Anna whispers: "The fox that the farmers see follows every boat."`
fn spoken(rng: &mut ChaCha8Rng) -> String {
    let [name, ..] = pick(PEOPLE, rng);
    let end = pick(&[".", "!"], rng);
    format!("{name} {}: \"{}{end}\"", pick(SAYINGS, rng), capitalised(&statement(rng)))
}

/// `Ben heard the old horses, and he followed his letter at night.`
fn remembered(rng: &mut ChaCha8Rng) -> String {
    let [name, pronoun, possessive] = pick(PEOPLE, rng);
    let [[_, _, first], [_, _, second]] = [pick(VERBS, rng), pick(VERBS, rng)];
    let [owned, _] = pick(NOUNS, rng);
    format!("{name} {first} {}, and {pronoun} {second} {possessive} {owned} {}.", object(rng), pick(TIMES, rng))
}

/// A subject, what follows it, and a verb that agrees with it.
fn statement(rng: &mut ChaCha8Rng) -> String {
    let many = usize::from(rng.random::<bool>());
    let mut subject = phrase(many, rng);
    match rng.random_range(0..4_u32) {
        0 => subject = format!("{subject} {}", pick(PLACES, rng)),
        1 => subject = format!("{subject} that {} {}", pick(VERBS, rng)[many], object(rng)),
        2 => {
            let others = usize::from(rng.random::<bool>());
            subject = format!("{subject} that {} {}", phrase(others, rng), pick(VERBS, rng)[others]);
        }
        _ => {}
    }
    let verb = pick(VERBS, rng)[many];
    let object = object(rng);
    if rng.random() {
        format!("{subject} {verb} {object} {}", pick(PLACES, rng))
    } else {
        format!("{subject} {verb} {object}")
    }
}

fn object(rng: &mut ChaCha8Rng) -> String {
    let many = usize::from(rng.random::<bool>());
    phrase(many, rng)
}

/// An article, perhaps an adjective, and a noun; one of it or many.
fn phrase(many: usize, rng: &mut ChaCha8Rng) -> String {
    let article = pick(&[["the", "the"], ["this", "these"], ["every", "all"], ["that", "those"]], rng)[many];
    let noun = pick(NOUNS, rng)[many];
    if rng.random() { format!("{article} {} {noun}", pick(ADJECTIVES, rng)) } else { format!("{article} {noun}") }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + characters.as_str())
}

fn pick<T: Copy>(among: &[T], rng: &mut ChaCha8Rng) -> T {
    among[rng.random_range(0..among.len() as u32) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u64, n_characters: usize) -> String {
        let split = generated(seed, n_characters, 0.0).unwrap();
        split.characters.decode(split.train.codes())
    }

    #[test]
    fn texts_have_the_length_asked_for_and_longer_ones_begin_with_shorter_ones() {
        let long = text(4, 5_000);
        assert_eq!(long.len(), 5_000);
        assert_eq!(text(4, 1_234), long[..1_234]);
        assert_ne!(text(5, 5_000), long);
    }

    #[test]
    fn sentences_keep_the_rules_of_the_grammar() {
        let mut text = text(1, 100_000);
        // The last sentence is cut.
        text.truncate(text.rfind('\n').unwrap());
        assert_eq!(text.matches('"').count(), 2 * text.matches(": \"").count());
        for [name, pronoun, possessive] in PEOPLE {
            let of_name = text.split(['.', '!']).filter(|sentence| sentence.trim_start().starts_with(name));
            let remembered: Vec<&str> = of_name.filter(|sentence| sentence.contains(", and ")).collect();
            assert!(remembered.len() > 20, "{} sentences on {name}", remembered.len());
            let right = remembered.iter().filter(|sentence| sentence.contains(&format!(", and {pronoun} ")));
            assert!(right.filter(|sentence| sentence.contains(possessive)).count() == remembered.len());
        }
        for [one, many] in NOUNS {
            assert!(text.contains(&format!("these {many}")) && !text.contains(&format!("these {one} ")), "{one}");
        }
    }

    #[test]
    fn hardly_any_sentence_comes_twice() {
        let text = text(0, 100_000);
        let sentences: Vec<&str> = text.split_inclusive(['.', '!']).map(str::trim).filter(|s| s.len() > 1).collect();
        let distinct: std::collections::HashSet<&str> = sentences.iter().copied().collect();
        assert!(distinct.len() > sentences.len() * 95 / 100, "{} of {}", distinct.len(), sentences.len());
    }
}
