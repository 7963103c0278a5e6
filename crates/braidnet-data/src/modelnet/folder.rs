//! The folders of classes, and the models in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::DataError;

/// The folder in the data set's archive.
const ARCHIVE: &str = "ModelNet10";

/// A folder with models to train with and to test with.
pub(super) struct Class {
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

/// The classes in a folder, or in the one of the archive in it, by name.
pub(super) fn classes(folder: &Path) -> Result<Vec<Class>, DataError> {
    if !folder.is_dir() {
        return Err(DataError::FolderMissing { folder: folder.to_owned() });
    }
    for root in [folder.to_owned(), folder.join(ARCHIVE)] {
        let classes = if root.is_dir() { classes_in(&root)? } else { Vec::new() };
        if !classes.is_empty() {
            return Ok(classes);
        }
    }
    Err(DataError::ModelFolder { folder: folder.to_owned() })
}

fn classes_in(root: &Path) -> Result<Vec<Class>, DataError> {
    let mut folders = seen(root)?;
    folders.retain(|folder| folder.join("train").is_dir() || folder.join("test").is_dir());
    Ok(folders.into_iter().map(|folder| Class { name: name(&folder), folder }).collect())
}

/// The models in the folder of one part of a class, by name; at least one.
pub(super) fn models(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = if folder.is_dir() { seen(folder)? } else { Vec::new() };
    files.retain(|file| file.extension().is_some_and(|end| end.eq_ignore_ascii_case("off")) && !file.is_dir());
    if files.is_empty() {
        return Err(DataError::ModelsMissing { folder: folder.to_owned() });
    }
    Ok(files)
}

/// What is in a folder by name, but for what is hidden: some archives have a hidden twin of every file.
fn seen(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> =
        entries.map_err(|source| DataError::Unreadable { file: folder.to_owned(), source })?;
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
