//! Data sets for the examples: MNIST files and generated digits.
//!
//! Plain memory, no tensors: an [`ImageSet`] holds bytes and labels, and turns a batch of indices
//! into normalised floats. Where the bytes come from is one of two modules:
//!
//! - [`mnist`] reads the four MNIST files (or any set of the same format) from a folder;
//! - [`digits`] draws handwritten-looking digits, as many as asked, so that every example runs with nothing downloaded.
//!
//! [`sampler`] gives the order of an epoch and cuts it into batches. All randomness is a function
//! of a seed and an index, never of the number of ranks or of images, so every rank can make the
//! same data on its own.
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
//! The vocabulary that all crates share is in `docs/conventions.md`.

pub mod digits;
mod error;
pub mod idx;
mod images;
pub mod mnist;
pub mod sampler;

pub use error::DataError;
pub use images::{ImageSet, MNIST_MEAN, MNIST_STD, Split};
