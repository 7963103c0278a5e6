//! Tiny ImageNet: 200 kinds of things, 500 training and 50 test pictures of each, in their original folder.
//!
//! ```text
//! tiny-imagenet-200/wnids.txt                               one class a line; their order is that of the labels
//! tiny-imagenet-200/train/n01443537/images/n01443537_0.JPEG
//! tiny-imagenet-200/val/val_annotations.txt                 file name, class and four numbers, separated by tabs
//! tiny-imagenet-200/val/images/val_0.JPEG
//! ```
//!
//! The pictures of `test` have no published classes and are not read: those of `val` are the test set here.
//! Files are listed at once and decoded when they are wanted. A picture that cannot be decoded is an error then;
//! [`PictureFiles::check`] decodes all of them before, and leaves out those that cannot be.
//!
//! ```no_run
//! use braidnet_data::tiny_imagenet::TinyImageNet;
//!
//! let mut set = TinyImageNet::open("data/tiny-imagenet-200".as_ref())?;
//! set.train.limit(100);
//! for broken in set.train.check(4) {
//!     eprintln!("left out: {broken}");
//! }
//! # Ok::<(), braidnet_data::DataError>(())
//! ```
//!
//! Reference: Y. Le, X. Yang, *Tiny ImageNet visual recognition challenge*, CS 231N, Stanford, 2015.

mod decode;
mod listing;

use std::{
    path::{Path, PathBuf},
    thread,
};

pub use decode::decode;

use crate::{DataError, file, pictures::Pictures};

/// The most bytes read of one file. A picture of the right size has far fewer, even with much else in its file.
const MAX_FILE: u64 = 1 << 26;

/// The training and test pictures of a folder.
#[derive(Clone, Debug)]
pub struct TinyImageNet {
    /// What the network learns from: sorted by class, then by file name.
    pub train: PictureFiles,
    /// What it is judged by: the pictures of `val`, in the order of their annotations.
    pub test: PictureFiles,
}

/// Files of pictures, and the class of each.
#[derive(Clone, Debug)]
pub struct PictureFiles {
    samples: Vec<Sample>,
    classes: Vec<String>,
}

#[derive(Clone, Debug)]
struct Sample {
    file: PathBuf,
    class: usize,
}

impl TinyImageNet {
    /// Lists the pictures of `folder`, or of a folder `tiny-imagenet-200` in it. No picture is opened.
    ///
    /// Without `wnids.txt`, the classes are the folders of `train`, sorted by name. Pictures end in `.JPEG`, `.jpeg`,
    /// `.jpg` or `.png`, in small or capital letters; files with another ending and names that begin with a dot are
    /// passed over.
    ///
    /// # Errors
    /// [`DataError`], naming the folder, the file or the line, and what is wrong with it: a part of the set is
    /// missing, a class has no training pictures, is listed twice or not at all, an annotation is malformed, names
    /// an unknown class or a picture that is not there or annotated already, or a picture of `val` has none.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        listing::open(folder)
    }
}

impl PictureFiles {
    /// Keeps the first `per_class` pictures of each class, or all where there are no more.
    pub fn limit(&mut self, per_class: usize) {
        let mut counts = vec![0; self.classes.len()];
        self.samples.retain(|sample| {
            counts[sample.class] += 1;
            counts[sample.class] <= per_class
        });
    }

    /// Decodes every picture once, on `threads` threads (at least one), and drops those that cannot be.
    ///
    /// Returns what was wrong with each picture dropped, in their order: nothing where all are sound. The pictures
    /// after a dropped one move up, so this is called before indices are handed out, and the caller decides whether
    /// to go on without the broken ones. A class may be left with no pictures, see
    /// [`class_counts`](Pictures::class_counts).
    pub fn check(&mut self, threads: usize) -> Vec<DataError> {
        let share = self.samples.len().div_ceil(threads.max(1)).max(1);
        let broken: Vec<Option<DataError>> = thread::scope(|scope| {
            let check = |part: &[Sample]| part.iter().map(|sample| sample.decode().err()).collect::<Vec<_>>();
            let parts: Vec<_> = self.samples.chunks(share).map(|part| scope.spawn(move || check(part))).collect();
            let joined = parts.into_iter().map(|part| part.join());
            joined.flat_map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut sound = broken.iter().map(Option::is_none);
        self.samples.retain(|_| sound.next() == Some(true));
        broken.into_iter().flatten().collect()
    }

    /// The file of picture `index`.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Pictures::len), as a slice does.
    pub fn file(&self, index: usize) -> &Path {
        &self.samples[index].file
    }
}

impl Pictures for PictureFiles {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn label(&self, index: usize) -> usize {
        self.samples[index].class
    }

    fn decode(&self, index: usize) -> Result<Vec<u8>, DataError> {
        self.samples[index].decode()
    }

    /// The WordNet identifiers, such as `n01443537`.
    fn classes(&self) -> &[String] {
        &self.classes
    }
}

impl Sample {
    fn decode(&self) -> Result<Vec<u8>, DataError> {
        decode(&self.file, &file::read(&self.file, MAX_FILE)?)
    }
}
