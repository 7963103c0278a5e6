//! Any bytes in place of an index or a file: nothing panics, and nothing is taken for what was written but that.
//!
//! `BRAIDNET_FUZZ_CASES` says how many of each kind. A million is a matter of minutes for an index, of more for a file:
//! use a release build.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use braidnet_checkpoint::{Checkpoint, Index, NamedTensor, PartName, import};
use common::{folder, hash_line, replace_file, saved};
use proptest::{collection::vec, prelude::*, sample};

/// The part whose file is damaged, and its place in the index.
const PART: PartName = PartName::Layer(0);
const PLACE: usize = 1;

fn cases() -> u32 {
    env::var("BRAIDNET_FUZZ_CASES").map_or(500, |n| n.parse().unwrap())
}

/// A sound index.
static INDEX: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let root = saved(&[7]);
    fs::read(folder(&root, 7).join("index.json")).unwrap()
});

fn parse(text: &[u8], hash: &str) -> Result<Index, braidnet_checkpoint::CheckpointError> {
    Index::parse(Path::new("some/step-00000007"), text, hash.as_bytes())
}

/// One change of some bytes.
#[derive(Clone, Debug)]
struct Change {
    at: sample::Index,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Set(u8),
    Flip(u8),
    Remove(usize),
    Insert(Vec<u8>),
    Repeat(usize),
    Truncate,
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let kind = prop_oneof![
            any::<u8>().prop_map(Kind::Set),
            (0_u8..8).prop_map(Kind::Flip),
            (1_usize..40).prop_map(Kind::Remove),
            vec(any::<u8>(), 1..12).prop_map(Kind::Insert),
            // Pieces of JSON go further than bytes do.
            pieces().prop_map(|text| Kind::Insert(text.into_bytes())),
            (1_usize..200).prop_map(Kind::Repeat),
            Just(Kind::Truncate),
        ];
        (any::<sample::Index>(), kind).prop_map(|(at, kind)| Self { at, kind })
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.at.index(bytes.len());
        let next = |n: usize| at..(at + n).min(bytes.len());
        match &self.kind {
            Kind::Set(byte) => bytes[at] = *byte,
            Kind::Flip(bit) => bytes[at] ^= 1 << bit,
            Kind::Remove(n) => drop(bytes.drain(next(*n))),
            Kind::Insert(new) => drop(bytes.splice(at..at, new.iter().copied())),
            Kind::Repeat(n) => {
                let piece = bytes[next(*n)].to_vec();
                bytes.splice(at..at, piece);
            }
            Kind::Truncate => bytes.truncate(at),
        }
    }
}

fn pieces() -> impl Strategy<Value = String> {
    sample::select(vec![
        "0",
        "9",
        "-",
        "e9",
        ".5",
        "18446744073709551615",
        "null",
        "true",
        "{",
        "}",
        "[",
        "]",
        "[]",
        "{}",
        ",",
        ":",
        "\"",
        "../",
        "\\u0000",
        "\"x\":1,",
        "[[[[[[[[",
        "1,2,3,",
        "\"F64\"",
        "\"layers.00009\"",
    ])
    .prop_map(str::to_owned)
}

fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    changes.iter().for_each(|change| change.apply(&mut bytes));
    bytes
}

/// What holds of every index that is accepted, whatever its bytes: it is the whole network, names only its own files,
/// and is written as it was read.
fn check_index(text: &[u8]) -> Result<bool, TestCaseError> {
    let index = match parse(text, &hash_line(text)) {
        Ok(index) => index,
        Err(error) => {
            prop_assert!(error.to_string().starts_with("some/step-00000007/index."), "{}", error);
            return Ok(false);
        }
    };
    let names: Vec<_> = index.parts.iter().map(|part| part.name).collect();
    prop_assert_eq!(names, PartName::all(index.run.n_layers).collect::<Vec<_>>());
    for part in &index.parts {
        prop_assert_eq!(&part.parameters.name, &format!("{}.safetensors", part.name));
        let moments = format!("{}.optimizer.safetensors", part.name);
        prop_assert!(part.moments.as_ref().is_none_or(|file| file.name == moments));
    }
    let again = serde_json::to_vec(&index).unwrap();
    prop_assert!(parse(&again, &hash_line(&again)).is_ok());
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn index_of_random_bytes(bytes in vec(any::<u8>(), 0..200), hash in vec(any::<u8>(), 0..80)) {
        prop_assert!(!check_index(&bytes)?);
        prop_assert!(Index::parse(Path::new(""), &bytes, &hash).is_err());
        prop_assert!(Index::parse(Path::new(""), &INDEX, &hash).is_err());
    }

    #[test]
    fn index_of_random_pieces(pieces in vec(pieces(), 0..40)) {
        prop_assert!(!check_index(pieces.concat().as_bytes())?);
    }

    #[test]
    fn index_that_was_changed(changes in vec(Change::any(), 1..4)) {
        let text = changed(&INDEX, &changes);
        prop_assert_eq!(parse(&text, &hash_line(&INDEX)).is_ok(), text == *INDEX);
        check_index(&text)?;
    }

    #[test]
    fn hash_that_was_changed(changes in vec(Change::any(), 1..4)) {
        let sound = hash_line(&INDEX);
        let hash = changed(sound.as_bytes(), &changes);
        let parsed = Index::parse(Path::new(""), &INDEX, &hash);
        prop_assert_eq!(parsed.is_ok(), hash == sound.as_bytes());
    }
}

/// A checkpoint whose file of one part is written anew in every case.
struct Damaged {
    _root: tempfile::TempDir,
    folder: PathBuf,
    file: PathBuf,
    bytes: Vec<u8>,
}

impl Damaged {
    fn new() -> Self {
        let root = saved(&[7]);
        let folder = folder(&root, 7);
        let file = folder.join(format!("{PART}.safetensors"));
        let bytes = fs::read(&file).unwrap();
        Self { _root: root, folder, file, bytes }
    }
}

fn whole(tensor: &NamedTensor) -> bool {
    tensor.bytes.len() * 8 == tensor.shape.iter().product::<usize>() * tensor.dtype.bitsize()
}

/// With the hash of the damaged file in the index, the header is all that stands between it and the caller.
fn check_file(damaged: &Damaged, bytes: &[u8]) -> Result<(), TestCaseError> {
    match import(&damaged.file) {
        Ok(tensors) => prop_assert!(tensors.iter().all(whole)),
        Err(error) => prop_assert!(error.to_string().contains("layers.00000.safetensors"), "{}", error),
    }
    replace_file(&damaged.folder, PLACE, bytes);
    let Ok(checkpoint) = Checkpoint::open(&damaged.folder) else { return Ok(()) };
    match checkpoint.read_part(PART) {
        Ok(part) => {
            let listed = &checkpoint.index().part(PART).unwrap().parameters.tensors;
            prop_assert_eq!(part.parameters.len(), listed.len());
            for tensor in &part.parameters {
                let entry = listed.iter().find(|entry| entry.name == tensor.name).unwrap();
                prop_assert_eq!((&tensor.shape, tensor.dtype), (&entry.shape, entry.dtype));
                prop_assert!(whole(tensor));
            }
        }
        Err(error) => prop_assert!(error.to_string().contains("layers.00000.safetensors"), "{}", error),
    }
    Ok(())
}

#[test]
fn files_that_were_changed() {
    let damaged = Damaged::new();
    let sound = Checkpoint::open(&damaged.folder).unwrap();
    proptest!(ProptestConfig::with_cases(cases()), |(changes in vec(Change::any(), 1..4))| {
        let bytes = changed(&damaged.bytes, &changes);
        fs::write(&damaged.file, &bytes).unwrap();
        prop_assert_eq!(sound.read_part(PART).is_ok(), bytes == damaged.bytes);
        check_file(&damaged, &bytes)?;
    });
}

#[test]
fn files_of_random_bytes() {
    let damaged = Damaged::new();
    let sound = Checkpoint::open(&damaged.folder).unwrap();
    let header = (any::<Option<u8>>(), vec(any::<u8>(), 0..200));
    proptest!(ProptestConfig::with_cases(cases()), |((header, mut bytes) in header)| {
        // A size of the header that is not absurd goes further.
        if let Some(size) = header {
            bytes.splice(0..0, u64::from(size).to_le_bytes());
        }
        fs::write(&damaged.file, &bytes).unwrap();
        prop_assert!(sound.read_part(PART).is_err());
        check_file(&damaged, &bytes)?;
    });
}
