//! The index of a checkpoint: the state of the run, and what every file holds.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CheckpointError, Dtype, PartName, Scalar, files, validate::validate};

/// Format of the checkpoints that this version writes and reads.
pub const FORMAT: u32 = 1;

pub(crate) const INDEX: &str = "index.json";
pub(crate) const INDEX_HASH: &str = "index.sha256";
/// The most bytes of an index: room for a hundred thousand layers.
pub(crate) const MAX_INDEX: u64 = 1 << 28;

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// Optimizer steps done.
    pub step: u64,
    /// The epoch that the run is in.
    pub epoch: u64,
    /// Samples of that epoch consumed.
    pub position: u64,
    /// Seed of all randomness.
    pub seed: u64,
    /// Layers between the opening and the closing one.
    pub n_layers: usize,
    /// The schedule, in the caller's words.
    pub schedule: String,
    /// The network, in the caller's words; see [`Checkpoint::check_network`](crate::Checkpoint::check_network).
    pub network: Value,
    /// What else the caller keeps. Fractions in it and in `network` may lose their last bit on the way through JSON;
    /// those that must not belong to [`Part::scalars`](crate::Part::scalars).
    pub extra: Map<String, Value>,
}

/// What `index.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Version of the library that wrote it.
    #[serde(rename = "braidnet")]
    pub version: String,
    /// Format of the checkpoint.
    pub format: u32,
    /// The state of the run.
    pub run: RunState,
    /// All parts, in order.
    pub parts: Vec<PartEntry>,
}

/// A part in the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartEntry {
    /// Which part.
    pub name: PartName,
    /// The file of its parameters.
    pub parameters: FileEntry,
    /// The file of the optimizer's moments, where there are any.
    pub moments: Option<FileEntry>,
    /// Numbers of the optimizer.
    pub scalars: BTreeMap<String, Scalar>,
}

impl PartEntry {
    /// The files of the part.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        std::iter::once(&self.parameters).chain(&self.moments)
    }
}

/// A file in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name in the folder of the checkpoint.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hex.
    pub sha256: String,
    /// Its tensors, in the order of their bytes.
    pub tensors: Vec<TensorEntry>,
}

/// A tensor in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorEntry {
    /// Its global name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dims.
    pub shape: Vec<usize>,
}

/// What one rank wrote. Sent, as JSON, to the rank that commits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The step of the checkpoint.
    pub step: u64,
    /// The parts written.
    pub parts: Vec<PartEntry>,
}

/// What every format has had and will have.
#[derive(Deserialize)]
struct Preamble {
    braidnet: String,
    format: u64,
}

impl Index {
    /// The index of a new checkpoint; `file` is for errors.
    pub(crate) fn new(file: &Path, run: &RunState, mut parts: Vec<PartEntry>) -> Result<Self, CheckpointError> {
        parts.sort_by_key(|part| part.name);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let index = Self { version, format: FORMAT, run: run.clone(), parts };
        validate(&index, file)?;
        Ok(index)
    }

    /// The index from the bytes of `index.json` and of `index.sha256`; the folder is only named in errors.
    ///
    /// # Errors
    /// [`CheckpointError`] for another format, bytes of another hash, what is no index, and an index that contradicts
    /// itself.
    pub fn parse(folder: &Path, text: &[u8], hash: &[u8]) -> Result<Self, CheckpointError> {
        let file = folder.join(INDEX);
        // The format first: another version may keep its hash elsewhere. Other bytes than JSON are told by their hash.
        if let Ok(Preamble { braidnet: version, format }) = serde_json::from_slice(text)
            && format != u64::from(FORMAT)
        {
            return Err(CheckpointError::OtherFormat { file, format, version });
        }
        check_hash(folder, text, hash)?;
        let index: Self = serde_json::from_slice(text)
            .map_err(|source| CheckpointError::NotAnIndex { file: file.clone(), source })?;
        validate(&index, &file)?;
        Ok(index)
    }

    pub(crate) fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let text = files::read_small(&folder.join(INDEX), "an index", MAX_INDEX)?;
        // An index without its hash is mostly that of something else, and better told as such.
        let hash = files::read_small(&folder.join(INDEX_HASH), "a hash", 1024);
        if hash.is_err() {
            let not_ours = |source| CheckpointError::NotAnIndex { file: folder.join(INDEX), source };
            serde_json::from_slice::<Preamble>(&text).map_err(not_ours)?;
        }
        Self::parse(folder, &text, &hash?)
    }

    /// Writes the index, its hash first: a folder with `index.json` has all else.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), CheckpointError> {
        let file = folder.join(INDEX);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| CheckpointError::NotAnIndex { file: file.clone(), source })?;
        let got = text.len() as u64;
        if got > MAX_INDEX {
            return Err(CheckpointError::TooLarge { file, what: "an index", got, limit: MAX_INDEX });
        }
        files::write_new(&folder.join(INDEX_HASH), hash_line(&files::sha256(&text)).as_bytes())?;
        files::write_new(&file, &text)
    }

    /// The entry of a part.
    pub fn part(&self, name: PartName) -> Option<&PartEntry> {
        // Sorted, as `validate` saw.
        self.parts.binary_search_by_key(&name, |part| part.name).ok().map(|n| &self.parts[n])
    }

    /// All files, in order.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.parts.iter().flat_map(PartEntry::files)
    }

    /// Bytes of all files.
    pub fn n_bytes(&self) -> u64 {
        self.files().fold(0, |sum, file| sum.saturating_add(file.size))
    }
}

/// The line that `sha256sum` writes.
fn hash_line(sha256: &str) -> String {
    format!("{sha256}  {INDEX}\n")
}

fn check_hash(folder: &Path, text: &[u8], hash: &[u8]) -> Result<(), CheckpointError> {
    let in_file = |name: &str| -> PathBuf { folder.join(name) };
    let line = str::from_utf8(hash).ok();
    let Some(expected) = line.and_then(|line| line.get(..64)).filter(|sum| hash == hash_line(sum).as_bytes()) else {
        return Err(CheckpointError::NotAHash { file: in_file(INDEX_HASH) });
    };
    let got = files::sha256(text);
    if got == expected {
        return Ok(());
    }
    Err(CheckpointError::WrongHash { file: in_file(INDEX), expected: expected.to_owned(), got })
}
