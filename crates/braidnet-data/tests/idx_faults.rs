//! Damaged idx files: each fault has its own error, which names the file, and nothing panics.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{io::Write, path::Path};

use braidnet_data::{
    DataError,
    idx::{self, IdxImages},
};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

const NAME: &str = "some/train-images";

fn file(magic: u32, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let words = std::iter::once(&magic).chain(dims);
    words.flat_map(|word| word.to_be_bytes()).chain(data.iter().copied()).collect()
}

/// Three images of 2 x 4 pixels.
fn images() -> Vec<u8> {
    file(0x803, &[3, 2, 4], &std::array::from_fn::<u8, 24, _>(|i| i as u8))
}

fn labels() -> Vec<u8> {
    file(0x801, &[3], &[5, 0, 9])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn parse_images(bytes: &[u8]) -> Result<IdxImages, DataError> {
    idx::parse_images(Path::new(NAME), bytes)
}

fn parse_labels(bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    idx::parse_labels(Path::new(NAME), bytes)
}

#[test]
fn sound_files_are_read_plain_and_packed() {
    for bytes in [images(), gzip(&images())] {
        let read = parse_images(&bytes).unwrap();
        assert_eq!((read.n_images, read.rows, read.cols), (3, 2, 4));
        assert_eq!(read.pixels, (0..24).collect::<Vec<u8>>());
    }
    for bytes in [labels(), gzip(&labels())] {
        assert_eq!(parse_labels(&bytes).unwrap(), [5, 0, 9]);
    }
}

#[test]
fn gzip_in_two_members_is_one_file() {
    let whole = images();
    let (head, tail) = whole.split_at(20);
    assert_eq!(parse_images(&[gzip(head), gzip(tail)].concat()).unwrap().n_images, 3);
}

#[test]
fn short_files_tell_both_sizes() {
    let whole = images();
    for (len, wanted) in [(0, 16), (3, 16), (15, 16), (16, 40), (39, 40)] {
        for bytes in [whole[..len].to_vec(), gzip(&whole[..len])] {
            let error = parse_images(&bytes).unwrap_err();
            let DataError::Truncated { expected, got, .. } = error else { panic!("{error}") };
            assert_eq!((expected, got), (wanted, len as u64));
        }
    }
}

#[test]
fn long_files_are_refused() {
    let long = [images(), vec![0]].concat();
    for bytes in [long.clone(), gzip(&long)] {
        let error = parse_images(&bytes).unwrap_err();
        assert!(matches!(error, DataError::TrailingBytes { expected: 40, .. }), "{error}");
    }
}

#[test]
fn swapped_files_are_told_by_their_magic() {
    let error = parse_images(&labels()).unwrap_err();
    assert!(matches!(error, DataError::WrongMagic { expected: 0x803, got: 0x801, .. }));
    let error = parse_labels(&images()).unwrap_err();
    assert!(matches!(error, DataError::WrongMagic { expected: 0x801, got: 0x803, .. }));
    assert_eq!(
        error.to_string(),
        "some/train-images: the file starts with 0x00000803, but idx labels start with 0x00000801: \
         check that images and labels are not swapped"
    );
}

#[test]
fn zero_dimensions_are_named() {
    for (dims, name) in [([0, 2, 4], "images"), ([3, 0, 4], "rows"), ([3, 2, 0], "columns")] {
        let error = parse_images(&file(0x803, &dims, &[])).unwrap_err();
        let DataError::ZeroCount { dimension, .. } = error else { panic!("{error}") };
        assert_eq!(dimension, name);
    }
    assert!(matches!(parse_labels(&file(0x801, &[0], &[])), Err(DataError::ZeroCount { .. })));
}

#[test]
fn headers_that_promise_too_much_allocate_nothing() {
    let error = parse_images(&file(0x803, &[u32::MAX; 3], &[1, 2])).unwrap_err();
    let DataError::TooLarge { total, .. } = error else { panic!("{error}") };
    assert_eq!(total, u128::from(u32::MAX).pow(3));
    // Just within the limit: believed only as far as there are bytes.
    let error = parse_images(&file(0x803, &[1 << 20, 32, 32], &[1, 2])).unwrap_err();
    assert!(matches!(error, DataError::Truncated { got: 18, .. }), "{error}");
}

#[test]
fn damaged_gzip_is_an_error_wherever_the_damage_is() {
    let packed = gzip(&images());
    for len in 2..packed.len() {
        let error = parse_images(&packed[..len]).unwrap_err();
        assert!(matches!(error, DataError::CorruptGzip { .. }), "{len} bytes: {error}");
    }
    // The checksum is in the last eight bytes; only a reader that goes to the end sees it.
    let mut wrong_sum = packed.clone();
    wrong_sum[packed.len() - 6] ^= 1;
    assert!(matches!(parse_images(&wrong_sum), Err(DataError::CorruptGzip { .. })));
    let followed = [packed, vec![7; 30]].concat();
    assert!(matches!(parse_images(&followed), Err(DataError::CorruptGzip { .. })));
}

/// What holds of every answer, whatever the bytes.
fn check_answers(bytes: &[u8]) -> Result<(), TestCaseError> {
    match parse_images(bytes) {
        Ok(read) => {
            prop_assert_eq!(read.pixels.len(), read.n_images * read.rows * read.cols);
            prop_assert!(!read.pixels.is_empty());
        }
        Err(error) => prop_assert!(error.to_string().contains(NAME), "{}", error),
    }
    match parse_labels(bytes) {
        Ok(read) => prop_assert!(!read.is_empty()),
        Err(error) => prop_assert!(error.to_string().contains(NAME), "{}", error),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        check_answers(&bytes)?;
        check_answers(&gzip(&bytes))?;
    }

    #[test]
    fn mutated_files_never_panic(
        packed: bool,
        of_images: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        keep in prop::option::of(any::<prop::sample::Index>()),
        extra in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let whole = if of_images { images() } else { labels() };
        let mut bytes = if packed { gzip(&whole) } else { whole };
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        bytes.extend(extra);
        check_answers(&bytes)?;
    }
}
