//! MNIST, or any set of the same four files (Fashion-MNIST, KMNIST), from a folder.
//!
//! Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, *Gradient-based learning applied to
//! document recognition*, Proceedings of the IEEE, 1998.

use std::path::{Path, PathBuf};

use crate::{
    DataError, ImageSet, Split,
    idx::{self, IdxImages},
};

/// Digits 0 to 9.
pub const CLASSES: usize = 10;

/// Reads the training and the test set from `folder`.
///
/// The folder holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`
/// and `t10k-labels-idx1-ubyte`, each as it is or with `.gz`, and with a dot for the second dash
/// (`train-images.idx3-ubyte`) as some archives have it. Where several are there, a dash goes before
/// a dot, and plain before packed.
///
/// # Errors
/// [`DataError`], naming the folder or the file and what is wrong with it. Training and test images
/// of different sizes are an error, sizes other than 28 x 28 are not.
pub fn load(folder: &Path) -> Result<Split, DataError> {
    if !folder.is_dir() {
        return Err(DataError::FolderMissing { folder: folder.to_owned() });
    }
    // All four are looked for before any is read: a missing file shows at once.
    let train = Files::find(folder, Part::Train)?;
    let test = Files::find(folder, Part::Test)?;
    let split = Split { train: train.read()?, test: test.read()? };

    let [train_shape, test_shape] = [&split.train, &split.test].map(|set| [set.rows(), set.cols()]);
    if train_shape != test_shape {
        return Err(DataError::ShapesDiffer { train: train.images, train_shape, test: test.images, test_shape });
    }
    Ok(split)
}

/// One of the two sets of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// To learn from.
    Train,
    /// To be judged by.
    Test,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "t10k",
        }
    }
}

/// Reads the images of one set alone, for who needs no classes: every label is 0, of one class.
///
/// # Errors
/// As [`load`].
pub fn load_images(folder: &Path, part: Part) -> Result<ImageSet, DataError> {
    let file = find_in(folder, part, "images", "idx3-ubyte")?;
    let IdxImages { pixels, n_images, rows, cols } = idx::read_images(&file)?;
    ImageSet::new(pixels, rows, cols, vec![0; n_images], 1)
}

/// Reads the classes of one set alone, for who needs no images: they are of 0 x 0 pixels.
///
/// # Errors
/// As [`load`].
pub fn load_labels(folder: &Path, part: Part) -> Result<ImageSet, DataError> {
    let file = find_in(folder, part, "labels", "idx1-ubyte")?;
    ImageSet::new(Vec::new(), 0, 0, read_labels(&file)?, CLASSES)
}

fn find_in(folder: &Path, part: Part, what: &str, kind: &str) -> Result<PathBuf, DataError> {
    if !folder.is_dir() {
        return Err(DataError::FolderMissing { folder: folder.to_owned() });
    }
    find(folder, &format!("{}-{what}", part.name()), kind)
}

fn read_labels(file: &Path) -> Result<Vec<u8>, DataError> {
    let labels = idx::read_labels(file)?;
    match labels.iter().position(|&label| usize::from(label) >= CLASSES) {
        Some(index) => {
            let (file, label) = (file.to_owned(), labels[index]);
            Err(DataError::LabelOutOfRange { file, index, label, classes: CLASSES })
        }
        None => Ok(labels),
    }
}

/// The two files of one set.
struct Files {
    images: PathBuf,
    labels: PathBuf,
}

impl Files {
    fn find(folder: &Path, part: Part) -> Result<Self, DataError> {
        Ok(Self {
            images: find_in(folder, part, "images", "idx3-ubyte")?,
            labels: find_in(folder, part, "labels", "idx1-ubyte")?,
        })
    }

    fn read(&self) -> Result<ImageSet, DataError> {
        let labels = read_labels(&self.labels)?;
        let IdxImages { pixels, n_images, rows, cols } = idx::read_images(&self.images)?;
        if n_images != labels.len() {
            return Err(DataError::CountsDiffer {
                images: self.images.clone(),
                n_images,
                labels: self.labels.clone(),
                n_labels: labels.len(),
            });
        }
        ImageSet::new(pixels, rows, cols, labels, CLASSES)
    }
}

fn find(folder: &Path, stem: &str, kind: &str) -> Result<PathBuf, DataError> {
    let names = ["-", "."].iter().flat_map(|dash| ["", ".gz"].map(|end| format!("{stem}{dash}{kind}{end}")));
    let looked_for: Vec<String> = names.collect();
    match looked_for.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => Err(DataError::FileMissing { folder: folder.to_owned(), looked_for }),
    }
}
