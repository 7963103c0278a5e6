//! A checkpoint that is read.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    CheckpointError, FileEntry, Index, NamedTensor, Part, PartEntry, PartName, RunState, files, find::refused, layout,
    tensor_file,
};

/// A checkpoint on the disk: its index is sound, its files are there in the sizes written. Their hashes are checked
/// when they are read. Nothing here writes.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    index: Index,
}

impl Checkpoint {
    /// Opens the checkpoint in a folder.
    ///
    /// # Errors
    /// [`CheckpointError::Refused`] for whatever is wrong with it, with the checkpoint before it to use instead.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        Self::open_listed(folder.as_ref()).map_err(|cause| refused(folder.as_ref(), cause))
    }

    /// As [`Checkpoint::open`], but says only what is wrong.
    pub(crate) fn open_listed(folder: &Path) -> Result<Self, CheckpointError> {
        let index = Index::read(folder)?;
        if layout::step_of(folder).is_some_and(|step| step != index.run.step) {
            return Err(CheckpointError::StepDiffers { folder: folder.to_owned(), got: index.run.step });
        }
        for entry in index.files() {
            let file = folder.join(&entry.name);
            files::check_size(&file, entry.size, files::plain_size(&file)?)?;
        }
        Ok(Self { folder: folder.to_owned(), index })
    }

    /// As [`Checkpoint::open_listed`], with all hashes.
    pub(crate) fn open_complete(folder: &Path) -> Result<Self, CheckpointError> {
        let checkpoint = Self::open_listed(folder)?;
        checkpoint.check_files()?;
        Ok(checkpoint)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The state of the run.
    pub fn run(&self) -> &RunState {
        &self.index.run
    }

    /// All parts, in order.
    pub fn part_names(&self) -> impl Iterator<Item = PartName> {
        self.index.parts.iter().map(|part| part.name)
    }

    /// Reads one part, and holds it against the index: size, hash, names, types and shapes.
    ///
    /// # Errors
    /// [`CheckpointError::MissingPart`] for a part that the network does not have; else [`CheckpointError::Refused`],
    /// with the checkpoint before it to use instead.
    pub fn read_part(&self, name: PartName) -> Result<Part, CheckpointError> {
        let entry = self.entry(name)?;
        let part = || {
            let parameters = self.read_file(&entry.parameters)?;
            let moments = entry.moments.as_ref().map(|moments| self.read_file(moments)).transpose()?;
            Ok(Part { name, parameters, moments: moments.unwrap_or_default(), scalars: entry.scalars.clone() })
        };
        part().map_err(|cause| refused(&self.folder, cause))
    }

    /// Reads the parameters of one part, as [`Checkpoint::read_part`] does, and nothing of the optimizer.
    ///
    /// # Errors
    /// As [`Checkpoint::read_part`].
    pub fn read_parameters(&self, name: PartName) -> Result<Vec<NamedTensor>, CheckpointError> {
        self.read_file(&self.entry(name)?.parameters).map_err(|cause| refused(&self.folder, cause))
    }

    fn entry(&self, name: PartName) -> Result<&PartEntry, CheckpointError> {
        let (file, n_layers) = (&self.folder, self.index.run.n_layers);
        let missing = || CheckpointError::MissingPart { file: file.clone(), part: name, n_layers };
        self.index.part(name).ok_or_else(missing)
    }

    fn read_file(&self, entry: &FileEntry) -> Result<Vec<NamedTensor>, CheckpointError> {
        let file = self.folder.join(&entry.name);
        files::check_hash(&file, entry.size, &entry.sha256)?;
        tensor_file::read(&file, Some(&entry.tensors))
    }

    /// Checks all files as [`Checkpoint::read_part`] does, in little memory.
    ///
    /// # Errors
    /// [`CheckpointError::Refused`] for the first file that is not as written.
    pub fn verify(&self) -> Result<(), CheckpointError> {
        self.check_files().map_err(|cause| refused(&self.folder, cause))
    }

    fn check_files(&self) -> Result<(), CheckpointError> {
        self.index.files().try_for_each(|entry| tensor_file::check(&self.folder.join(&entry.name), entry))
    }

    /// Checks that the checkpoint is of the network that the caller describes, as
    /// [`RunState::network`](crate::RunState::network) did when it was saved.
    ///
    /// # Errors
    /// [`CheckpointError::OtherNetwork`] with the first place where the two differ.
    pub fn check_network(&self, network: &Value) -> Result<(), CheckpointError> {
        // Through text and back, as the saved one went: fractions may change in their last bit.
        let expected = serde_json::from_str(&network.to_string()).unwrap_or_else(|_| network.clone());
        let Some((at, expected, got)) = difference(String::new(), Some(&expected), Some(&self.index.run.network))
        else {
            return Ok(());
        };
        Err(CheckpointError::OtherNetwork { folder: self.folder.clone(), at, expected, got })
    }
}

/// The first place where two values differ, and what is there in each.
fn difference(at: String, left: Option<&Value>, right: Option<&Value>) -> Option<(String, String, String)> {
    match (left, right) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let more = b.keys().filter(|key| !a.contains_key(*key));
            let mut keys = a.keys().chain(more);
            keys.find_map(|key| difference(format!("{at}/{key}"), a.get(key), b.get(key)))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            (0..a.len().max(b.len())).find_map(|n| difference(format!("{at}/{n}"), a.get(n), b.get(n)))
        }
        _ if left == right => None,
        _ => {
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            Some((at, text(left), text(right)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let differ = |a: &Value, b: &Value| difference(String::new(), Some(a), Some(b)).map(|(at, ..)| at);
        let network = json!({"depth": 32, "widths": [4, 8], "head": {"classes": 10}});
        assert_eq!(differ(&network, &network.clone()), None);
        assert_eq!(differ(&network, &json!({"depth": 32, "widths": [4, 8]})).as_deref(), Some("/head"));
        assert_eq!(differ(&json!({"depth": 32}), &json!({"depth": 32, "more": 1})).as_deref(), Some("/more"));
        let wider = json!({"depth": 32, "widths": [4, 9], "head": {"classes": 10}});
        assert_eq!(differ(&network, &wider).as_deref(), Some("/widths/1"));
        assert_eq!(differ(&json!([1]), &json!([1, 2])).as_deref(), Some("/1"));
        assert_eq!(differ(&json!(1), &json!("1")).as_deref(), Some(""));
    }
}
