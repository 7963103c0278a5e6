//! Tiny ImageNet: what is listed and decoded, and what is said of folders and files that do not fit.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod fuzz;
mod listing;
mod pictures;

use std::{fs, io::Cursor, path::PathBuf};

use braidnet_data::{
    DataError, LineFault,
    pictures::{Pictures, SIDE, SIZE},
    tiny_imagenet::{PictureFiles, TinyImageNet},
};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

const CLASSES: [&str; 3] = ["n03", "n01", "n02"];

/// A folder of this test's own, with a sound data set below `root`: three classes, four training pictures of each, and
/// six of `val`.
struct Folder {
    folder: TempDir,
    root: PathBuf,
}

/// A colour of its own for every picture.
fn colour(class: usize, picture: usize) -> [u8; 3] {
    [40 + 60 * class as u8, 30 + 40 * picture as u8, 120]
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn flat(colour: [u8; 3]) -> Vec<u8> {
    encoded(RgbImage::from_pixel(64, 64, Rgb(colour)), ImageFormat::Jpeg)
}

fn annotation(picture: usize) -> String {
    format!("val_{picture}.JPEG\t{}\t0\t32\t44\t62\n", CLASSES[picture % 3])
}

impl Folder {
    fn sound(root: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let set = Self { root: folder.path().join(root), folder };
        for (class, name) in CLASSES.iter().enumerate() {
            fs::create_dir_all(set.root.join("train").join(name).join("images")).unwrap();
            (0..4).for_each(|picture| fs::write(set.train(class, picture), flat(colour(class, picture))).unwrap());
            // The boxes of the training pictures, which nothing reads.
            fs::write(set.root.join("train").join(name).join(format!("{name}_boxes.txt")), "x").unwrap();
        }
        fs::create_dir_all(set.root.join("val/images")).unwrap();
        (0..6).for_each(|picture| fs::write(set.val(picture), flat(colour(picture % 3, picture))).unwrap());
        // Not in the order of their names.
        set.annotate([5, 0, 4, 1, 3, 2].map(annotation).concat());
        fs::write(set.list(), CLASSES.join("\n") + "\n").unwrap();
        set
    }

    fn train(&self, class: usize, picture: usize) -> PathBuf {
        let name = CLASSES[class];
        self.root.join("train").join(name).join("images").join(format!("{name}_{picture}.JPEG"))
    }

    fn val(&self, picture: usize) -> PathBuf {
        self.root.join("val/images").join(format!("val_{picture}.JPEG"))
    }

    fn list(&self) -> PathBuf {
        self.root.join("wnids.txt")
    }

    fn annotations(&self) -> PathBuf {
        self.root.join("val/val_annotations.txt")
    }

    fn annotate(&self, text: impl AsRef<[u8]>) {
        fs::write(self.annotations(), text).unwrap();
    }

    fn open(&self) -> Result<TinyImageNet, DataError> {
        TinyImageNet::open(self.folder.path())
    }

    /// The file, the line and the fault that opening names.
    fn fault(&self) -> (PathBuf, usize, LineFault) {
        match self.open() {
            Err(DataError::Line { file, line, fault }) => (file, line, fault),
            other => panic!("{other:?}"),
        }
    }
}

/// Whether a decoded picture has one colour, up to what JPEG changes.
fn is_flat(picture: &[u8], colour: [u8; 3]) -> bool {
    assert_eq!(picture.len(), SIZE);
    let planes = picture.chunks(SIDE * SIDE).zip(colour);
    planes.into_iter().all(|(plane, value)| plane.iter().all(|pixel| pixel.abs_diff(value) <= 4))
}

fn files(set: &PictureFiles) -> Vec<PathBuf> {
    (0..set.len()).map(|i| set.file(i).to_owned()).collect()
}
