//! The one error type of this crate.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{Dtype, PartName};

/// What can be wrong with a checkpoint, or with a call. Names the file, and the tensor where one is concerned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A checkpoint was refused, and what to use in its place.
    #[error("{cause}; {instead}")]
    Refused {
        /// What is wrong.
        cause: Box<CheckpointError>,
        /// The checkpoint before it, if there is a good one.
        instead: Instead,
    },

    /// The operating system refused.
    #[error("cannot {action} {}: {source}: check the path, its permissions and the free space", path.display())]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The reason given by the operating system.
        source: io::Error,
    },

    /// A folder was expected.
    #[error("{} is not a folder: name a folder of checkpoints, or one of them", path.display())]
    NotAFolder {
        /// The path given.
        path: PathBuf,
    },

    /// A file is not there.
    #[error("{} is missing: the checkpoint is not complete", file.display())]
    MissingFile {
        /// The file.
        file: PathBuf,
    },

    /// Something that is not a plain file has the name of one.
    #[error("{} is not a plain file: the folder was changed", file.display())]
    NotAFile {
        /// The file.
        file: PathBuf,
    },

    /// A file is longer or shorter than written.
    #[error("{}: {got} bytes, but {expected} were written: the file is cut short or was changed", file.display())]
    WrongSize {
        /// The file.
        file: PathBuf,
        /// Bytes written.
        expected: u64,
        /// Bytes found.
        got: u64,
    },

    /// A file is not the one written.
    #[error("{}: SHA-256 is {got}, but {expected} was written: the file is damaged or was changed", file.display())]
    WrongHash {
        /// The file.
        file: PathBuf,
        /// The hash written.
        expected: String,
        /// The hash found.
        got: String,
    },

    /// More bytes than this crate is willing to hold.
    #[error("{}: {what} of {got} bytes, more than the limit of {limit}: the file is damaged or foreign", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// What is so large.
        what: &'static str,
        /// Its bytes.
        got: u64,
        /// The most accepted.
        limit: u64,
    },

    /// `index.json` is no JSON, or that of something else.
    #[error("{} is not the index of a braidnet checkpoint: {source}", file.display())]
    NotAnIndex {
        /// The file.
        file: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },

    /// `index.json` is of a format that this version does not know.
    #[error(
        "{} is of format {format}, made by braidnet {version}, but braidnet {} reads format {}: {}",
        file.display(), env!("CARGO_PKG_VERSION"), crate::FORMAT,
        if *format > u64::from(crate::FORMAT) { "upgrade braidnet" } else { "the file was changed" }
    )]
    OtherFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: u64,
        /// The library that made it.
        version: String,
    },

    /// `index.sha256` does not hold a hash.
    #[error("{} does not hold the SHA-256 of index.json: the file is damaged or was changed", file.display())]
    NotAHash {
        /// The file.
        file: PathBuf,
    },

    /// A name that no part has.
    #[error("`{name}` is not the name of a part: use open, close or layers.NNNNN")]
    BadPartName {
        /// The name, at most 80 characters of it.
        name: String,
    },

    /// A part of the network is not there.
    #[error("{}: part {part} is missing of a network with {n_layers} layers", file.display())]
    MissingPart {
        /// The index or the folder looked at.
        file: PathBuf,
        /// The first part that is missing.
        part: PartName,
        /// Layers that the network has.
        n_layers: usize,
    },

    /// A part is there twice.
    #[error("{}: part {part} is there twice: let one rank write it", file.display())]
    DuplicatePart {
        /// The index or the file concerned.
        file: PathBuf,
        /// The part.
        part: PartName,
    },

    /// A layer that the network does not have.
    #[error("{}: part {part} is no part of a network with {n_layers} layers", file.display())]
    UnexpectedPart {
        /// The index.
        file: PathBuf,
        /// The part.
        part: PartName,
        /// Layers that the network has.
        n_layers: usize,
    },

    /// The index names another file than the part's own.
    #[error("{}: part {part} names the file `{got}`, expected `{expected}`: the index was changed", file.display())]
    BadFileName {
        /// The index.
        file: PathBuf,
        /// The part.
        part: PartName,
        /// The name that the part's file has.
        expected: String,
        /// The name found.
        got: String,
    },

    /// The index lists what no file can be.
    #[error("{}: the entry of `{entry}` makes no sense ({reason}): the index was changed", file.display())]
    BadEntry {
        /// The index.
        file: PathBuf,
        /// The file listed.
        entry: String,
        /// Why.
        reason: &'static str,
    },

    /// A file is not in the safetensors format.
    #[error("{} is not a whole safetensors file: {reason}", file.display())]
    NotSafetensors {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },

    /// A tensor that cannot be.
    #[error("{}: tensor `{tensor}` {reason}", file.display())]
    BadTensor {
        /// The file, or the index.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Why.
        reason: &'static str,
    },

    /// Two tensors of one name.
    #[error("{}: tensor `{tensor}` is there twice: give every tensor a name of its own", file.display())]
    DuplicateTensor {
        /// The file, or the index.
        file: PathBuf,
        /// The tensor.
        tensor: String,
    },

    /// A tensor of the index is not in its file.
    #[error("{}: tensor `{tensor}` is missing, but the index lists it", file.display())]
    MissingTensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
    },

    /// A tensor of the file is not in the index.
    #[error("{}: tensor `{tensor}` is not in the index", file.display())]
    ExtraTensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
    },

    /// A tensor has another shape than the index says.
    #[error("{}: tensor `{tensor}` has shape {got:?}, but the index says {expected:?}", file.display())]
    WrongShape {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Shape in the index.
        expected: Vec<usize>,
        /// Shape in the file.
        got: Vec<usize>,
    },

    /// A tensor has another type than the index says.
    #[error("{}: tensor `{tensor}` is of type {got}, but the index says {expected}", file.display())]
    WrongDtype {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Type in the index.
        expected: Dtype,
        /// Type in the file.
        got: Dtype,
    },

    /// A tensor of another type than the caller asked for.
    #[error("tensor `{tensor}` is of type {dtype}, not F32: convert its bytes")]
    NotF32 {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: Dtype,
    },

    /// The folder is named for one step and holds another.
    #[error("{} holds step {got}: the folder was renamed, give it its own name", folder.display())]
    StepDiffers {
        /// The folder.
        folder: PathBuf,
        /// The step in its index.
        got: u64,
    },

    /// `latest` names no checkpoint.
    #[error("{} holds `{content}`, not the name of a checkpoint: the file is damaged or foreign", file.display())]
    BadLatest {
        /// The file.
        file: PathBuf,
        /// The beginning of its content.
        content: String,
    },

    /// The checkpoint is of another network.
    #[error(
        "{} is of another network: `{at}` is {got}, but {expected} here: build the network of the checkpoint, \
         or take a checkpoint of this one",
        folder.display()
    )]
    OtherNetwork {
        /// The checkpoint.
        folder: PathBuf,
        /// Where the descriptions differ first, as a JSON pointer.
        at: String,
        /// The value of the caller's network, or `nothing`.
        expected: String,
        /// The value of the checkpoint, or `nothing`.
        got: String,
    },

    /// Parts are written to, or committed from, a folder that was not made.
    #[error("{} is not there: begin the checkpoint before its parts are written, once for every commit", folder.display())]
    NotBegun {
        /// The folder that `begin` makes.
        folder: PathBuf,
    },

    /// The folder to be made exists, and is no whole checkpoint.
    #[error("{} exists and is never overwritten, but it is damaged: move it away ({cause})", folder.display())]
    ExistsDamaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        cause: Box<CheckpointError>,
    },

    /// The folder to be made exists.
    #[error("{} exists and is never overwritten: let one run at a time write there", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },

    /// A manifest is of another step than the commit.
    #[error("a manifest of step {got} in the commit of step {expected}: commit what was written for the step")]
    OtherStep {
        /// The step committed.
        expected: u64,
        /// The step of the manifest.
        got: u64,
    },

    /// Another run writes checkpoints there.
    #[error("another run is writing checkpoints to {}: stop it, or name another folder", root.display())]
    Locked {
        /// The folder of checkpoints.
        root: PathBuf,
    },
}

impl CheckpointError {
    /// For `map_err`: an error of the operating system, with what was tried on what.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// What to use in place of a refused checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// This one, complete by its hashes.
    Before {
        /// Its folder.
        folder: PathBuf,
    },
    /// There is no complete one before it.
    Nothing {
        /// The folder searched.
        root: PathBuf,
    },
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before { folder } => {
                let name = folder.file_name().unwrap_or_default().display();
                write!(f, "the checkpoint before it, `{name}`, is complete: resume from {}", folder.display())
            }
            Self::Nothing { root } => {
                write!(f, "there is no complete checkpoint before it in {}: start anew", root.display())
            }
        }
    }
}
