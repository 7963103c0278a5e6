//! A folder of four files: the names accepted, the faults between files, and the real MNIST where
//! it is at hand.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

use braidnet_data::{DataError, idx, mnist};

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = env::temp_dir().join(format!("braidnet-data-{}-{test}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The four files, with `n_train` and `n_test` images of 2 x 3 pixels, all labels 4.
    fn with_files(test: &str, n_train: u8, n_test: u8) -> Self {
        let folder = Self::new(test);
        for (part, n) in [("train", n_train), ("t10k", n_test)] {
            folder.images(&format!("{part}-images-idx3-ubyte"), [n, 2, 3]);
            folder.labels(&format!("{part}-labels-idx1-ubyte"), &vec![4; n.into()]);
        }
        folder
    }

    fn images(&self, name: &str, [n, rows, cols]: [u8; 3]) {
        let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, rows, 0, 0, 0, cols];
        bytes.resize(16 + usize::from(n) * usize::from(rows) * usize::from(cols), 100);
        fs::write(self.0.join(name), bytes).unwrap();
    }

    fn labels(&self, name: &str, labels: &[u8]) {
        let bytes = [&[0, 0, 8, 1, 0, 0, 0, labels.len() as u8], labels].concat();
        fs::write(self.0.join(name), bytes).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.0.join(from), self.0.join(to)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind in the temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn dashes_dots_and_gz_are_all_found() {
    let folder = Folder::with_files("names", 5, 2);
    folder.rename("train-images-idx3-ubyte", "train-images.idx3-ubyte");
    // The ending says gzip, the bytes do not: the bytes are right.
    folder.rename("t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz");
    let split = mnist::load(&folder.0).unwrap();
    assert_eq!((split.train.len(), split.test.len()), (5, 2));
    assert_eq!((split.train.rows(), split.train.cols(), split.train.classes()), (2, 3, 10));
    assert_eq!(split.test.label(1), 4);
}

#[test]
fn a_missing_folder_is_named() {
    let error = mnist::load(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(matches!(error, DataError::FolderMissing { .. }));
    assert!(error.to_string().starts_with("/nowhere/at/all is not a folder"), "{error}");
}

#[test]
fn a_missing_file_lists_the_names_tried() {
    let folder = Folder::with_files("missing", 5, 2);
    fs::remove_file(folder.0.join("t10k-labels-idx1-ubyte")).unwrap();
    let error = mnist::load(&folder.0).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz or t10k-labels.idx1-ubyte or \
             t10k-labels.idx1-ubyte.gz in {}: the folder should hold the four MNIST files \
             (train and t10k, images and labels)",
            folder.0.display()
        )
    );
}

#[test]
fn images_and_labels_must_be_as_many() {
    let folder = Folder::with_files("counts", 5, 2);
    folder.labels("train-labels-idx1-ubyte", &[1; 6]);
    let error = mnist::load(&folder.0).unwrap_err();
    assert!(matches!(error, DataError::CountsDiffer { n_images: 5, n_labels: 6, .. }), "{error}");
}

#[test]
fn labels_are_digits() {
    let folder = Folder::with_files("labels", 5, 2);
    folder.labels("t10k-labels-idx1-ubyte", &[9, 10]);
    let error = mnist::load(&folder.0).unwrap_err();
    assert!(error.to_string().contains("t10k-labels-idx1-ubyte: label 10 of image 1 is not in 0..=9"), "{error}");
}

#[test]
fn training_and_test_images_are_of_one_size() {
    let folder = Folder::with_files("shapes", 5, 2);
    folder.images("t10k-images-idx3-ubyte", [2, 3, 2]);
    let error = mnist::load(&folder.0).unwrap_err();
    assert!(matches!(error, DataError::ShapesDiffer { test_shape: [3, 2], .. }), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    // A folder opens as a file but cannot be read as one.
    let folder = Folder::new("unreadable");
    let error = idx::read_labels(&folder.0).unwrap_err();
    assert!(matches!(error, DataError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("unreadable"), "{error}");
}

#[test]
fn the_real_mnist_is_read() {
    let Some(folder) = common::real_folder("mnist") else { return };
    let split = mnist::load(&folder).unwrap();
    assert_eq!((split.train.len(), split.test.len()), (60_000, 10_000));
    assert_eq!((split.train.rows(), split.train.cols()), (28, 28));
    assert_eq!((split.train.label(0), split.test.label(0)), (5, 7));
    assert_eq!(split.train.class_counts(), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(split.test.class_counts(), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);

    // Normalised with its own mean and deviation, the training set has mean 0 and deviation 1.
    let (mut pixels, mut sum, mut squares) = (Vec::new(), 0.0, 0.0);
    for i in 0..split.train.len() {
        split.train.normalised_into(&[i], &mut pixels);
        sum += pixels.iter().map(|&x| f64::from(x)).sum::<f64>();
        squares += pixels.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    }
    let n = (split.train.len() * 784) as f64;
    assert!((sum / n).abs() < 1e-3 && (squares / n - 1.0).abs() < 1e-3, "{} {}", sum / n, squares / n);
}
