//! Batches for training: where samples come from, which of them a rank gets, and a thread that fetches them ahead.
//!
//! - A [`Source`] gives the samples of an epoch one after another: [`InMemory`] any data set of `burn-dataset`, in an
//!   order of its own for every epoch; [`Stream`] an iterator, shuffled through a buffer; [`Bucketed`] a data set whose batches have samples of like length. [`Images`] and [`Labels`] are
//!   the two data sets of an [`ImageSet`](braidnet_data::ImageSet).
//! - [`Shards`] cuts each global batch over the data ranks, and each shard into micro-batches.
//! - A [`Feed`] turns samples into what the network takes, and a [`Loader`] does all of it, one step ahead.
//!
//! Inputs and targets are two feeds, because only the first layer rank needs inputs and only the last one targets. The
//! place in an epoch is a number of samples in the global order, so a run can go on mid-epoch on another number of
//! data ranks.
//!
//! ```
//! use std::sync::Arc;
//!
//! use braidnet_data::digits::DigitsConfig;
//! use braidnet_train::data::{EpochPlan, Feed, Images, InMemory, Labels, Loader, Order, Shards};
//!
//! let images = Arc::new(DigitsConfig { n_train: 100, n_test: 1, seed: 7 }.generate().train);
//! let inputs = Feed::new(InMemory(Images(Arc::clone(&images))), |samples| samples.concat());
//! let targets = Feed::new(InMemory(Labels(images)), |labels| labels);
//!
//! let plan = EpochPlan {
//!     n: 100,
//!     shards: Shards { batch: 32, micro_batches: 2, data_ranks: 1, data_rank: 0 },
//!     order: Order::Shuffled { seed: 7, epoch: 0 },
//!     position: 0,
//! };
//! let mut sizes = Vec::new();
//! for step in Loader::start(Some(&inputs), Some(&targets), plan)? {
//!     for micro in step?.micro {
//!         assert_eq!(micro.input.map(|pixels: Vec<f32>| pixels.len()), Some(micro.size * 28 * 28));
//!         assert_eq!(micro.target.map(|labels: Vec<i64>| labels.len()), Some(micro.size));
//!         sizes.push(micro.size);
//!     }
//! }
//! assert_eq!(sizes, [16, 16, 16, 16, 16, 16, 2, 2]);
//! # Ok::<(), braidnet_train::data::LoadError>(())
//! ```

mod bucketed;
mod error;
mod feed;
mod image_set;
mod in_memory;
mod loader;
mod shard;
mod source;
mod stream;

pub use bucketed::Bucketed;
pub use error::LoadError;
pub use feed::Feed;
pub use image_set::{Images, Labels};
pub use in_memory::InMemory;
pub use loader::{EpochPlan, LoadedStep, Loader, Micro};
pub use shard::{Shards, StepPlan};
pub use source::{Order, Reader, Source};
pub use stream::Stream;
