//! Data sets for the examples: images, text, motion and voxels, from files or made up on the spot.
//!
//! Plain memory, no tensors: an [`ImageSet`] holds bytes and labels, and turns a batch of indices
//! into normalised floats; sentences are numbers, and a batch of them is padded to one length; windows of
//! motion are floats of one length. For each task,
//! one source is files and another a generator, so that every example runs with nothing downloaded:
//!
//! | task | files | generated |
//! |---|---|---|
//! | digits of images | [`mnist`]: the four MNIST files, or others like them | [`digits`]: written as by hand |
//! | what a picture in colour shows | [`tiny_imagenet`]: the folder of Tiny ImageNet | [`textures`]: shapes with textures |
//! | a tag for every word | [`tagging::load`]: a treebank, see [`conllu`] | [`tagging::generated`]: a small language |
//! | the next character | [`characters::read`]: any text | [`characters::generated`]: English-like |
//! | the activity of a person | [`motion::load`]: the text files of UCI HAR | [`motion::generated`]: six ways to move |
//! | the kind of a thing in space | [`modelnet`]: meshes made into [`voxels`] | [`solids`]: furniture of boxes and cylinders |
//! | translation | [`pairs::load`]: two files, line by line | [`pairs::generated`]: numbers in words and digits |
//!
//! [`sampler`] gives the order of an epoch and cuts it into batches; [`bucket`] does so for sentences, with
//! those of similar length in one batch. All randomness is a function of a seed and an index, never
//! of the number of ranks or of samples, so every rank can make the same data on its own.
//!
//! ```
//! use braidnet_data::{digits::DigitsConfig, sampler};
//!
//! let split = DigitsConfig { n_train: 100, n_test: 20, seed: 7 }.generate();
//! let mut pixels = Vec::new();
//! for batch in sampler::batches(&sampler::epoch_order(split.train.len(), 7, 0), 32)? {
//!     split.train.normalised_into(batch, &mut pixels);
//!     assert_eq!(pixels.len(), batch.len() * 28 * 28);
//! }
//! # Ok::<(), braidnet_data::DataError>(())
//! ```
//!
//! Sentences, padded to the longest of their batch:
//!
//! ```
//! use braidnet_data::{bucket, tagging};
//!
//! let split = tagging::generated(7, 100, 20, 20);
//! let lengths = split.train.lengths();
//! let (mut forms, mut tags) = (Vec::new(), Vec::new());
//! for batch in bucket::bucketed_batches(&lengths, 8, 7, 0)? {
//!     let longest = batch.iter().map(|&sentence| lengths[sentence]).max().unwrap_or(0);
//!     split.train.padded_into(&batch, longest, &mut forms, &mut tags);
//!     assert_eq!((forms.len(), tags.len()), (batch.len() * longest, batch.len() * longest));
//! }
//! # Ok::<(), braidnet_data::DataError>(())
//! ```
//!
//! The vocabulary that all crates share is in `docs/conventions.md`.

pub mod bucket;
pub mod characters;
pub mod conllu;
pub mod digits;
mod error;
mod file;
pub mod idx;
mod images;
mod line_fault;
pub mod mnist;
pub mod modelnet;
pub mod motion;
pub mod off;
pub mod pairs;
pub mod pictures;
mod random;
pub mod sampler;
pub mod solids;
pub mod tagging;
pub mod textures;
pub mod tiny_imagenet;
mod vocabulary;
pub mod voxels;

pub use error::DataError;
pub use images::{ImageSet, MNIST_MEAN, MNIST_STD, Split};
pub use line_fault::LineFault;
pub use pictures::PictureFault;
pub use vocabulary::Vocabulary;
