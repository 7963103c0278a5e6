//! Any bytes in place of a CoNLL-U file: nothing panics, and what is read is what was written.
//!
//! `BRAIDNET_FUZZ_CASES` says how many of each kind.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{env, fmt::Write as _, io::Write as _, path::Path};

use braidnet_data::{
    DataError,
    conllu::{self, Id, Sentence, Token},
};
use flate2::{Compression, write::GzEncoder};
use proptest::{collection::vec, prelude::*, sample};

const NAME: &str = "some/en-train.conllu";

fn cases() -> u32 {
    env::var("BRAIDNET_FUZZ_CASES").map_or(500, |n| n.parse().unwrap())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Sentences as a file has them.
fn written(sentences: &[Sentence]) -> String {
    let mut text = String::new();
    for Sentence { comments, tokens } in sentences {
        comments.iter().for_each(|comment| writeln!(text, "{comment}").unwrap());
        for Token { id, form, lemma, upos, xpos, feats, head, deprel, deps, misc } in tokens {
            let columns = [form, lemma, upos, xpos, feats, head, deprel, deps, misc].map(String::as_str);
            writeln!(text, "{id}\t{}", columns.join("\t")).unwrap();
        }
        text.push('\n');
    }
    text
}

fn token(id: Id, columns: [String; 9]) -> Token {
    let [form, lemma, upos, xpos, feats, head, deprel, deps, misc] = columns;
    Token { id, form, lemma, upos, xpos, feats, head, deprel, deps, misc }
}

/// Ids of a sound sentence: for each word, whether a range of how many words begins, and how many empty nodes follow.
fn ids(words: &[(u32, u32)]) -> Vec<Id> {
    let n_words = words.len() as u32;
    let (mut ids, mut range_end) = (Vec::new(), 0);
    for (word, &(range, n_empty)) in (1..).zip(words) {
        if range > 0 && word > range_end && word + range <= n_words {
            range_end = word + range;
            ids.push(Id::Range(word, range_end));
        }
        ids.push(Id::Word(word));
        ids.extend((1..=n_empty).map(|node| Id::Empty(word, node)));
    }
    ids
}

fn sentence() -> impl Strategy<Value = Sentence> {
    let words = vec((0_u32..4, prop_oneof![4 => Just(0_u32), 1 => 1_u32..3]), 1..12);
    let usual = sample::select(vec!["_", "NN", "3:aux", "#", "1 000"]).prop_map(str::to_owned);
    let columns = prop::array::uniform9(prop_oneof![9 => usual, 1 => "[^\\t\\r\\n]{1,4}"]);
    (words.prop_map(|words| ids(&words)), vec("#[^\\r\\n]{0,9}", 0..3)).prop_flat_map(move |(ids, comments)| {
        vec(columns.clone(), ids.len()).prop_map(move |columns| {
            let tokens = ids.iter().zip(columns).map(|(&id, columns)| token(id, columns)).collect();
            Sentence { comments: comments.clone(), tokens }
        })
    })
}

/// The reader's answer, with what holds of every answer checked.
fn answer(bytes: &[u8]) -> Result<Option<Vec<Sentence>>, TestCaseError> {
    match conllu::parse(Path::new(NAME), bytes.to_vec()) {
        Ok(sentences) => {
            prop_assert!(!sentences.is_empty() && sentences.iter().all(|sentence| !sentence.tokens.is_empty()));
            Ok(Some(sentences))
        }
        Err(error) => {
            prop_assert!(error.to_string().contains(NAME), "{}", error);
            if let DataError::Line { line, .. } = error {
                // Of packed bytes, the lines are those inside.
                let n_lines = bytes.split(|&byte| byte == b'\n').count();
                prop_assert!(bytes.starts_with(&[0x1f, 0x8b]) || (1..=n_lines).contains(&line), "line {}", line);
            }
            Ok(None)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn sound_files_are_read_as_they_are(sentences in vec(sentence(), 1..4)) {
        let text = written(&sentences);
        prop_assert_eq!(answer(text.as_bytes())?, Some(sentences.clone()));
        prop_assert_eq!(answer(&gzip(text.as_bytes()))?, Some(sentences));
    }

    /// What is read from a changed file can be written and read again: no line is left out or made up. No carriage
    /// return comes in, which before a line feed is not part of the line.
    #[test]
    fn changed_files(
        sentences in vec(sentence(), 1..3),
        changes in vec((any::<sample::Index>(), 0_usize..3, vec(prop_oneof![
            Just(b'\t'), Just(b'\n'), Just(b'-'), Just(b'.'), Just(b'#'), b'0'..=b'9', 14_u8..,
        ], 0..3)), 1..5),
    ) {
        let mut bytes = written(&sentences).into_bytes();
        for (at, remove, insert) in changes {
            let at = at.index(bytes.len() + 1);
            let end = (at + remove).min(bytes.len());
            bytes.splice(at..end, insert);
        }
        if let Some(read) = answer(&bytes)? {
            let again = written(&read);
            prop_assert_eq!(answer(again.as_bytes())?, Some(read));
            // Comments at the end of the file belong to no sentence.
            let kept = |text: &str| -> Vec<String> {
                text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
            };
            let text = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(kept(&again), kept(text.trim_start_matches('\u{feff}')));
        }
    }

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..80), text in "[0-9.\\-\\t\\n#_x]{0,120}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            answer(bytes)?;
            answer(&gzip(bytes))?;
            answer(&[&[0x1f, 0x8b, 8][..], bytes].concat())?;
        }
    }
}
