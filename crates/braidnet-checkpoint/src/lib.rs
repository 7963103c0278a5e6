//! Checkpoints of a network spread over ranks, as files.
//!
//! The crate knows neither ranks nor tensors of any framework: the caller gathers bytes and sends manifests. Files are
//! per part of the network, by global layer, so what was written on eight ranks is read on three.
//!
//! ```text
//! ROOT/latest                                      name of the newest checkpoint
//! ROOT/step-00000400/open.safetensors              parameters of the opening layer
//! ROOT/step-00000400/layers.00017.safetensors      parameters of layer 17
//! ROOT/step-00000400/layers.00017.optimizer.safetensors
//! ROOT/step-00000400/close.safetensors
//! ROOT/step-00000400/index.json                    run state, and size, SHA-256, shapes of every file
//! ROOT/step-00000400/index.sha256                  SHA-256 of index.json, as `sha256sum -c` reads it
//! ```
//!
//! A checkpoint appears by one rename, after all its bytes are on the disk, so a crash leaves the one before it in
//! force. What is read is held against the index, and a refusal names the file, the tensor where there is one, and the
//! checkpoint to use instead. Loading never writes.
//!
//! ```
//! use braidnet_checkpoint::{Begun, Committer, NamedTensor, Part, PartName, RunState, find};
//! # let folder = tempfile::tempdir()?;
//! # let root = folder.path();
//! # let keep = std::num::NonZeroUsize::MIN;
//! let writer = Committer::open(root, keep)?;
//! let weight = NamedTensor::from_f32("layers.00000.weight", &[2], &[0.5, -1.0]);
//! let parts = [
//!     Part::new(PartName::Open),
//!     Part { parameters: vec![weight], ..Part::new(PartName::Layer(0)) },
//!     Part::new(PartName::Close),
//! ];
//! if writer.begin(400)? == Begun::New {
//!     let manifest = writer.store().write_parts(400, &parts)?; // every rank, through a `Store` of its own
//!     writer.commit(vec![manifest], &RunState { step: 400, n_layers: 1, ..RunState::default() })?;
//! }
//! let checkpoint = find(root)?.ok_or("nothing saved")?;
//! assert_eq!(checkpoint.read_part(PartName::Layer(0))?.parameters[0].to_f32()?, [0.5, -1.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checkpoint;
mod error;
mod export;
mod files;
mod find;
mod header;
mod index;
mod layout;
mod part;
mod part_name;
mod store;
mod tensor;
mod tensor_file;
mod validate;

pub use checkpoint::Checkpoint;
pub use error::{CheckpointError, Instead};
pub use export::{export, export_tensors, import};
pub use find::find;
pub use index::{FORMAT, FileEntry, Index, Manifest, PartEntry, RunState, TensorEntry};
pub use part::{Part, Scalar};
pub use part_name::PartName;
pub use safetensors::Dtype;
pub use store::{Begun, Committer, Store};
pub use tensor::NamedTensor;
