//! Any bytes in place of an idx file: nothing panics, no answer is larger than the bytes allow, and a file that was
//! changed is never taken for the one written.
//!
//! `BRAIDNET_FUZZ_CASES` says how many of each kind.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{env, io::Write, path::Path};

use braidnet_data::idx;
use flate2::{Compression, write::GzEncoder};
use proptest::{collection::vec, prelude::*, sample};

const NAME: &str = "some/train-images";

fn cases() -> u32 {
    env::var("BRAIDNET_FUZZ_CASES").map_or(2_000, |n| n.parse().unwrap())
}

fn file(magic: u32, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let words = std::iter::once(&magic).chain(dims);
    words.flat_map(|word| word.to_be_bytes()).chain(data.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A sound file of either kind, with any data.
fn sound() -> impl Strategy<Value = Vec<u8>> {
    let images = (1_u32..5, 1_u32..6, 1_u32..6)
        .prop_flat_map(|(n, rows, cols)| (Just([n, rows, cols]), vec(any::<u8>(), (n * rows * cols) as usize)))
        .prop_map(|(dims, data)| file(0x803, &dims, &data));
    let labels = vec(any::<u8>(), 1..40).prop_map(|data| file(0x801, &[data.len() as u32], &data));
    prop_oneof![images, labels]
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
    Truncate,
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let kind = prop_oneof![
            any::<u8>().prop_map(Kind::Set),
            (0_u8..8).prop_map(Kind::Flip),
            (1_usize..8).prop_map(Kind::Remove),
            vec(any::<u8>(), 1..8).prop_map(Kind::Insert),
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
            Kind::Truncate => bytes.truncate(at),
        }
    }
}

/// The plain file that an answer stands for, or `None` where both readers refuse.
fn answer(bytes: &[u8]) -> Result<Option<Vec<u8>>, TestCaseError> {
    let images = match idx::parse_images(Path::new(NAME), bytes) {
        Ok(read) => {
            let dims = [read.n_images, read.rows, read.cols].map(|dim| dim as u32);
            Some(file(0x803, &dims, &read.pixels))
        }
        Err(error) => {
            prop_assert!(error.to_string().contains(NAME), "{}", error);
            None
        }
    };
    let labels = match idx::parse_labels(Path::new(NAME), bytes) {
        Ok(labels) => Some(file(0x801, &[labels.len() as u32], &labels)),
        Err(error) => {
            prop_assert!(error.to_string().contains(NAME), "{}", error);
            None
        }
    };
    prop_assert!(images.is_none() || labels.is_none(), "read as images and as labels");
    Ok(images.or(labels))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn sound_files_are_read_as_they_are(whole in sound()) {
        prop_assert_eq!(answer(&gzip(&whole))?, Some(whole.clone()));
        prop_assert_eq!(answer(&whole)?, Some(whole));
    }

    /// A plain file is all there is to an answer: no bytes are left out or made up.
    #[test]
    fn changed_plain_files(whole in sound(), changes in vec(Change::any(), 1..4)) {
        let mut bytes = whole;
        changes.iter().for_each(|change| change.apply(&mut bytes));
        let answer = answer(&bytes)?;
        prop_assert!(answer.is_none() || answer == Some(bytes));
    }

    /// Gzip has a checksum: a change is seen, unless it is in what the content does not depend on.
    #[test]
    fn changed_packed_files(whole in sound(), changes in vec(Change::any(), 1..4)) {
        let mut bytes = gzip(&whole);
        changes.iter().for_each(|change| change.apply(&mut bytes));
        let answer = answer(&bytes)?;
        prop_assert!(answer.is_none() || answer == Some(whole));
    }

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..80), dims in vec(any::<u32>(), 0..4), of_images: bool) {
        let under_header = file(if of_images { 0x803 } else { 0x801 }, &dims, &bytes);
        for bytes in [bytes, under_header] {
            let plain = answer(&bytes)?;
            prop_assert!(plain.is_none_or(|plain| plain == bytes));
            let packed = answer(&gzip(&bytes))?;
            prop_assert!(packed.is_none_or(|packed| packed == bytes));
            let followed = [&[0x1f, 0x8b, 8][..], &bytes].concat();
            prop_assert_eq!(answer(&followed)?, None);
        }
    }
}
