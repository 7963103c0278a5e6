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
    let train = Files::find(folder, "train")?;
    let test = Files::find(folder, "t10k")?;
    let split = Split { train: train.read()?, test: test.read()? };

    let [train_shape, test_shape] = [&split.train, &split.test].map(|set| [set.rows(), set.cols()]);
    if train_shape != test_shape {
        return Err(DataError::ShapesDiffer { train: train.images, train_shape, test: test.images, test_shape });
    }
    Ok(split)
}

/// The two files of one set.
struct Files {
    images: PathBuf,
    labels: PathBuf,
}

impl Files {
    fn find(folder: &Path, part: &str) -> Result<Self, DataError> {
        Ok(Self {
            images: find(folder, &format!("{part}-images"), "idx3-ubyte")?,
            labels: find(folder, &format!("{part}-labels"), "idx1-ubyte")?,
        })
    }

    fn read(&self) -> Result<ImageSet, DataError> {
        let labels = idx::read_labels(&self.labels)?;
        if let Some(index) = labels.iter().position(|&label| usize::from(label) >= CLASSES) {
            let (file, label) = (self.labels.clone(), labels[index]);
            return Err(DataError::LabelOutOfRange { file, index, label, classes: CLASSES });
        }
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
