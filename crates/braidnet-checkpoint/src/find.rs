//! Which checkpoint to resume from, and which instead.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{Checkpoint, CheckpointError, Instead, files, index::INDEX, layout};

/// The checkpoint that a path means: the folder of one, or a folder of many; of those the one that `latest` names, or
/// without such a file the newest that can be opened. `None` where the folder is not there or holds no checkpoint.
///
/// # Errors
/// [`CheckpointError::Refused`] where the checkpoint meant is not sound, with the one to use instead: going back is for
/// the user to decide.
pub fn find(path: impl AsRef<Path>) -> Result<Option<Checkpoint>, CheckpointError> {
    let path = path.as_ref();
    if layout::is_named_checkpoint(path) || path.join(INDEX).is_file() {
        return Checkpoint::open(path).map(Some);
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(CheckpointError::NotAFolder { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CheckpointError::io("read", path)(error)),
    }
    match layout::read_latest(path) {
        Ok(Some(step)) => Checkpoint::open(layout::folder(path, step)).map(Some),
        Ok(None) => newest(path),
        Err(cause) => Err(with_instead(cause, path, None)),
    }
}

/// The newest checkpoint that can be opened. Where there are some and none can, the newest one's fault.
fn newest(root: &Path) -> Result<Option<Checkpoint>, CheckpointError> {
    let mut fault = None;
    for step in layout::steps(root)? {
        match Checkpoint::open_listed(&layout::folder(root, step)) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    fault.map_or(Ok(None), |cause| Err(with_instead(cause, root, None)))
}

/// The error of a checkpoint, with what to use instead.
pub fn refused(folder: &Path, cause: CheckpointError) -> CheckpointError {
    with_instead(cause, files::parent(folder), layout::step_of(folder))
}

fn with_instead(cause: CheckpointError, root: &Path, before: Option<u64>) -> CheckpointError {
    let instead = match complete_before(root, before) {
        Some(folder) => Instead::Before { folder },
        None => Instead::Nothing { root: root.to_owned() },
    };
    CheckpointError::Refused { cause: Box::new(cause), instead }
}

/// The newest checkpoint below a step that is complete by its hashes.
fn complete_before(root: &Path, before: Option<u64>) -> Option<PathBuf> {
    // A folder that cannot be listed has nothing to offer; why is not what the user needs to hear.
    let steps = layout::steps(root).unwrap_or_default().into_iter();
    let mut folders = steps.filter(|&step| before.is_none_or(|before| step < before)).map(|s| layout::folder(root, s));
    folders.find(|folder| Checkpoint::open_complete(folder).is_ok())
}
