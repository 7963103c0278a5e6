//! Any bytes in place of a picture or of the annotations: nothing panics, and what is refused is named.
//!
//! `BRAIDNET_FUZZ_CASES` says how many of each kind.

use std::{env, fs, path::Path};

use braidnet_data::{
    pictures::{Pictures, SIZE},
    tiny_imagenet::{self, TinyImageNet},
};
use image::{ImageFormat, Rgb, RgbImage};
use proptest::{collection::vec, prelude::*, sample::Index};
use tempfile::TempDir;

use super::encoded;

fn cases() -> u32 {
    env::var("BRAIDNET_FUZZ_CASES").map_or(300, |n| n.parse().unwrap())
}

/// A picture of many colours.
fn sound(format: ImageFormat) -> Vec<u8> {
    encoded(RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 4) as u8, (y * 3) as u8, (x * y) as u8])), format)
}

/// What is decoded is a whole picture, and what is not names the file.
fn answer(bytes: &[u8]) -> Result<bool, TestCaseError> {
    match tiny_imagenet::decode(Path::new("some/n01_7.JPEG"), bytes) {
        Ok(picture) => prop_assert_eq!(picture.len(), SIZE),
        Err(error) => {
            prop_assert!(error.to_string().starts_with("some/n01_7.JPEG: "), "{}", error);
            return Ok(false);
        }
    }
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn random_bytes_are_no_picture(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(!answer(&bytes)?);
        for start in [&b"\xff\xd8\xff\xe0"[..], b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x40\0\0\0\x40"] {
            prop_assert!(!answer(&[start, &bytes].concat())?);
        }
    }

    #[test]
    fn changed_pictures(of_jpeg: bool, changes in vec((any::<Index>(), any::<u8>()), 1..6), end in any::<Index>()) {
        let mut bytes = sound(if of_jpeg { ImageFormat::Jpeg } else { ImageFormat::Png });
        let end = end.index(bytes.len());
        prop_assert!(answer(&bytes)?);
        // The last bytes of a PNG are a checksum of nothing, which no picture depends on.
        prop_assert!(!of_jpeg && end + 12 >= bytes.len() || !answer(&bytes[..end])?, "cut to {}", end);
        changes.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes[..]) = *byte);
        answer(&bytes)?;
        answer(&bytes[..end])?;
    }

    #[test]
    fn any_bytes_in_place_of_a_list(
        bytes in vec(any::<u8>(), 0..80),
        text in "[va01.JPEGn\\t\\r\\n /.-]{0,120}",
        lines in vec("(val_[0-2].JPEG|x)\t(n0[1-3]|n)\t[0-9]{1,3}\t-?[0-9]{1,3}\t[0-9]{1,3}\t[0-9]{1,400}", 0..4),
    ) {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        for path in ["train/n01/images/a.JPEG", "train/n02/images/a.JPEG", "val/images/val_0.JPEG", "val/images/val_1.JPEG"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "").unwrap();
        }
        let sound = "val_1.JPEG\tn01\t0\t0\t9\t9\nval_0.JPEG\tn02\t0\t0\t9\t9\n";
        for bytes in [&bytes[..], text.as_bytes(), lines.join("\n").as_bytes()] {
            for annotations in [true, false] {
                fs::write(root.join("val/val_annotations.txt"), if annotations { bytes } else { sound.as_bytes() }).unwrap();
                fs::write(root.join("wnids.txt"), if annotations { b"n01\nn02" } else { bytes }).unwrap();
                match TinyImageNet::open(root) {
                    Ok(set) => {
                        prop_assert_eq!((set.train.len(), set.test.len()), (2, 2));
                        prop_assert!((0..2).all(|i| set.test.label(i) < 2));
                    }
                    Err(error) => prop_assert!(error.to_string().contains(&root.display().to_string()), "{}", error),
                }
            }
        }
    }
}
