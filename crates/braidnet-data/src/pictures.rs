//! Pictures in colour of 64 x 64 pixels, wherever they come from.
//!
//! [`Pictures`] is what an example asks for: a class and the bytes of every picture, decoded when they are wanted, from
//! any thread. [`TinyImageNet`](crate::tiny_imagenet::TinyImageNet) has them in files,
//! [`textures::generated`](crate::textures::generated) in memory. [`Augmentation`] varies the pictures of the training
//! set, [`Normalisation`] makes numbers of them.
//!
//! ```
//! use braidnet_data::{pictures::{Augmentation, Normalisation, Pictures}, textures};
//!
//! let train: Box<dyn Pictures> = Box::new(textures::generated(7, 2, 1, 20)?.train);
//! let (seed, epoch, index) = (7, 0, 3);
//! let picture = Augmentation::random(seed, epoch, index).apply(&train.decode(index as usize)?);
//! let numbers = Normalisation::default().apply(&picture);
//! assert_eq!(numbers.len(), 3 * 64 * 64);
//! # Ok::<(), braidnet_data::DataError>(())
//! ```

mod augmentation;
mod fault;
mod normalisation;

pub use augmentation::{Augmentation, PADDING};
pub use fault::PictureFault;
pub use normalisation::{IMAGENET_MEAN, IMAGENET_STD, Normalisation};

use crate::DataError;

/// Red, green and blue.
pub const CHANNELS: usize = 3;

/// Rows and columns of every picture.
pub const SIDE: usize = 64;

/// Bytes of a picture.
pub const SIZE: usize = CHANNELS * SIDE * SIDE;

/// Labelled pictures of [`SIDE`] x [`SIDE`] pixels.
///
/// Labels are known at once; a picture is decoded when it is asked for, and background threads may ask.
pub trait Pictures: Send + Sync {
    /// How many pictures there are.
    fn len(&self) -> usize;

    /// The class of picture `index`, a place in [`classes`](Self::classes).
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len), as a slice does.
    fn label(&self, index: usize) -> usize;

    /// The bytes of picture `index`.
    ///
    /// # Shapes
    /// `[CHANNELS, SIDE, SIDE]`, row-major: all of red, then green, then blue.
    ///
    /// # Errors
    /// Where the picture is in a file: [`DataError::Unreadable`] or [`DataError::Picture`], naming it.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len).
    fn decode(&self, index: usize) -> Result<Vec<u8>, DataError>;

    /// The names of the classes.
    fn classes(&self) -> &[String];

    /// Whether there are no pictures.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many pictures each class has.
    fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes().len()];
        (0..self.len()).for_each(|index| counts[self.label(index)] += 1);
        counts
    }
}
