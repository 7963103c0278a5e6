//! Treebanks, texts and translations from files: what is found, and what is said of files that do not fit.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{fs, path::PathBuf};

use braidnet_data::{
    DataError, LineFault, characters,
    pairs::{self, PairFiles},
    tagging,
};
use tempfile::TempDir;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

/// A sentence of CoNLL-U, given as form/tag.
fn sentence(words: &str) -> String {
    let word = |(i, word): (usize, &str)| {
        let (form, tag) = word.split_once('/').unwrap();
        format!("{}\t{form}\t_\t_\t{tag}\t_\t_\t_\t_\t_\n", i + 1)
    };
    words.split(' ').enumerate().map(word).collect::<String>() + "\n"
}

#[test]
fn a_treebank_is_numbered_by_its_training_set() {
    let train = format!("1-2\tdogs\t_\t_\t_\t_\t_\t_\t_\t_\n{}", sentence("the/D dog/N barks/V the/D"));
    let dev = sentence("the/N cat/X dogs/_");
    let folder = folder(&[
        ("xx-ud-train.conllu", &train),
        ("xx-ud-dev.conllu", &dev),
        ("xx-ud-test.conllu", &dev),
        ("README.md", "no data"),
    ]);
    let split = tagging::load(folder.path()).unwrap();
    // the, dogs, dog, barks after the three specials; tags D, _, N, V.
    assert_eq!(split.train.sentences[0].forms, [2, 4, 3, 5, 6, 3]);
    assert_eq!(split.train.sentences[0].tags, [2, 4, 3, 5, 6, 3]);
    assert_eq!(split.dev.sentences[0].forms, [2, 3, 1, 4]);
    assert_eq!(split.dev.sentences[0].tags, [2, 5, 1, 4]);

    let (mut forms, mut tags) = (vec![8; 3], Vec::new());
    split.train.padded_into(&[0, 0], 8, &mut forms, &mut tags);
    assert_eq!(forms, [2, 4, 3, 5, 6, 3, 0, 0, 2, 4, 3, 5, 6, 3, 0, 0]);
    split.dev.padded_into(&[0], 3, &mut forms, &mut tags);
    assert_eq!((forms, tags), (vec![2, 3, 1], vec![2, 5, 1]));
}

#[test]
fn a_treebank_has_one_file_of_each_part() {
    let text = sentence("a/B");
    let missing = folder(&[("xx-train.conllu", &text), ("xx-test.conllu", &text)]);
    let error = tagging::load(missing.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("one file should end in -dev.conllu or -dev.conllu.gz, found none: leave exactly one there")
    );
    let twice = folder(&[("y-train.conllu.gz", &text), ("x-train.conllu", &text)]);
    let error = tagging::load(twice.path()).unwrap_err().to_string();
    assert!(error.contains("found x-train.conllu and y-train.conllu.gz: leave exactly one"), "{error}");
    let error = tagging::load(&missing.path().join("none")).unwrap_err();
    assert!(matches!(error, DataError::FolderMissing { .. }), "{error}");
}

#[test]
fn a_text_is_read_and_an_empty_one_refused() {
    let folder = folder(&[("text", "one two"), ("empty", ""), ("mark", "\u{feff}")]);
    let split = characters::read(&folder.path().join("text"), 0.5).unwrap();
    assert_eq!(split.characters.decode(split.train.codes()), "one");
    for name in ["empty", "mark"] {
        let error = characters::read(&folder.path().join(name), 0.5).unwrap_err();
        assert!(
            error.to_string().ends_with(&format!("{name}: no character in it: fetch the file again, or name another"))
        );
    }
    fs::write(folder.path().join("latin"), b"one\ncaf\xe9\n").unwrap();
    let error = characters::read(&folder.path().join("latin"), 0.5).unwrap_err();
    assert!(error.to_string().contains("latin:2: not UTF-8"), "{error}");
}

/// Two files of translations, and the folder that holds them.
fn translations(source: &str, target: &str) -> (TempDir, PairFiles) {
    let folder = folder(&[("text.de", source), ("text.en", target)]);
    let [source, target] = ["text.de", "text.en"].map(|name| folder.path().join(name));
    (folder, PairFiles { source, target })
}

#[test]
fn pairs_are_numbered_with_their_ends() {
    let (_train_folder, train) = translations("ein Haus\r\nein  Hund\n", "a house\na dog");
    let (_test_folder, test) = translations("Hund Katze\n", "a cat\n");
    let split = pairs::load(&train, &test).unwrap();
    assert_eq!((split.source.len(), split.target.len()), (7, 7));
    let ids: Vec<_> = split.train.pairs.iter().map(|pair| (pair.source.clone(), pair.target.clone())).collect();
    assert_eq!(ids, [(vec![4, 5, 2], vec![1, 4, 5, 2]), (vec![4, 6, 2], vec![1, 4, 6, 2])]);
    let pair = &split.test.pairs[0];
    assert_eq!((&pair.source[..], &pair.target[..]), (&[6, 3, 2][..], &[1, 4, 3, 2][..]));
    assert_eq!((split.source.word(6), split.target.word(pairs::PAD)), ("Hund", "<pad>"));
    assert_eq!(split.train.lengths(), [4, 4]);

    let (mut sources, mut targets) = (vec![7], vec![7]);
    split.train.padded_into(&[1, 0], [2, 5], &mut sources, &mut targets);
    assert_eq!((sources, targets), (vec![4, 6, 4, 5], vec![1, 4, 6, 2, 0, 1, 4, 5, 2, 0]));
}

#[test]
fn translations_that_do_not_align_are_refused() {
    let refused = |source, target| {
        let (folder, files) = translations(source, target);
        let folder: PathBuf = folder.path().to_owned();
        (pairs::read(&files).unwrap_err(), folder)
    };
    let (error, folder) = refused("a\nb\n", "c\nd\ne\n");
    let name = |name: &str| folder.join(name).display().to_string();
    assert_eq!(
        error.to_string(),
        format!(
            "{} has 2 lines but {} has 3: line by line, one should be the translation of the other",
            name("text.de"),
            name("text.en")
        )
    );
    let (error, _) = refused("a\nb\n", "c\n \t\n");
    assert!(error.to_string().contains("text.en:2: empty: give every line"), "{error}");
    assert!(matches!(error, DataError::Line { line: 2, fault: LineFault::Empty, .. }));
    let (error, _) = refused("", "c\n");
    assert!(error.to_string().contains("text.de: no line in it"), "{error}");
    let absent = PairFiles { source: PathBuf::from("/nowhere/de"), target: PathBuf::from("/nowhere/en") };
    assert!(matches!(pairs::read(&absent), Err(DataError::Unreadable { .. })));
}
