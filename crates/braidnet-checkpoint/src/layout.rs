//! Names in the folder of checkpoints.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use crate::{CheckpointError, files};

pub const LATEST: &str = "latest";
const LATEST_NEW: &str = "latest.tmp";
const UNFINISHED: &str = ".tmp";
/// Longer than any name of a checkpoint.
const MAX_NAME: u64 = 64;

pub fn folder_name(step: u64) -> String {
    format!("step-{step:08}")
}

pub fn folder(root: &Path, step: u64) -> PathBuf {
    root.join(folder_name(step))
}

/// The folder of a checkpoint that is being written, or removed.
pub fn unfinished(root: &Path, step: u64) -> PathBuf {
    root.join(folder_name(step) + UNFINISHED)
}

/// The step that a folder is named for; one spelling each.
pub fn parse(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (folder_name(step) == name).then_some(step)
}

/// The step of a path, from its last name.
pub fn step_of(path: &Path) -> Option<u64> {
    parse(path.file_name()?.to_str()?)
}

/// Whether a path has the name of a checkpoint, also of an unfinished one.
pub fn is_named_checkpoint(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| parse(name.strip_suffix(UNFINISHED).unwrap_or(name)).is_some())
}

/// The steps with a folder, newest first; whether they are complete is another question.
pub fn steps(root: &Path) -> Result<Vec<u64>, CheckpointError> {
    let mut steps: Vec<u64> = folders(root)?.iter().filter_map(|name| parse(name)).collect();
    steps.sort_unstable_by(|a, b| b.cmp(a));
    Ok(steps)
}

/// Removes what runs that ended midway have left.
pub fn remove_leftovers(root: &Path) -> Result<(), CheckpointError> {
    for name in folders(root)? {
        if name.strip_suffix(UNFINISHED).and_then(parse).is_some() {
            remove_folder(&root.join(name))?;
        }
    }
    match fs::remove_file(root.join(LATEST_NEW)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(CheckpointError::io("remove", &root.join(LATEST_NEW))(error))
        }
        _ => Ok(()),
    }
}

pub fn remove_folder(folder: &Path) -> Result<(), CheckpointError> {
    fs::remove_dir_all(folder).map_err(CheckpointError::io("remove", folder))
}

/// Names of the folders in a folder; links do not count.
fn folders(root: &Path) -> Result<Vec<String>, CheckpointError> {
    let list = || -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    };
    list().map_err(CheckpointError::io("list", root))
}

/// The step that `latest` names, or `None` where there is no such file.
pub fn read_latest(root: &Path) -> Result<Option<u64>, CheckpointError> {
    let file = root.join(LATEST);
    let mut content = Vec::new();
    let read = files::open(&file).and_then(|(opened, _)| {
        opened.take(MAX_NAME).read_to_end(&mut content).map_err(CheckpointError::io("read", &file))
    });
    match read {
        Err(CheckpointError::MissingFile { .. }) => return Ok(None),
        read => read?,
    };
    let content = String::from_utf8_lossy(&content);
    match parse(content.strip_suffix('\n').unwrap_or(&content)) {
        Some(step) => Ok(Some(step)),
        None => Err(CheckpointError::BadLatest { file, content: content.into_owned() }),
    }
}

pub fn write_latest(root: &Path, step: u64) -> Result<(), CheckpointError> {
    let new = root.join(LATEST_NEW);
    // A commit that failed here may have left one.
    let created = File::create(&new).map_err(CheckpointError::io("write", &new))?;
    let write = |mut created: File| {
        std::io::Write::write_all(&mut created, (folder_name(step) + "\n").as_bytes())?;
        created.sync_all()
    };
    write(created).map_err(CheckpointError::io("write", &new))?;
    files::rename(&new, &root.join(LATEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_one_spelling() {
        for step in [0, 400, 99_999_999, 100_000_000, u64::MAX] {
            assert_eq!(parse(&folder_name(step)), Some(step));
        }
        for name in ["step-400", "step-+0000400", "step-0000000400", "step-", "step-00000400.tmp", "../step-00000400"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn paths_are_told_by_their_last_name() {
        assert_eq!(step_of(Path::new("runs/step-00000400/")), Some(400));
        assert!(is_named_checkpoint(Path::new("step-00000400.tmp")));
        assert!(!is_named_checkpoint(Path::new("runs")));
        assert!(!is_named_checkpoint(Path::new("/")));
    }
}
