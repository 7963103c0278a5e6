//! Which pictures a folder has, and of which class each is.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fs,
    path::{Path, PathBuf},
};

use super::{PictureFiles, Sample, TinyImageNet};
use crate::{DataError, LineFault, file};

/// The folder in the data set's archive.
const ARCHIVE: &str = "tiny-imagenet-200";

/// Columns of an annotation: file name, class, and a box in the picture.
const COLUMNS: usize = 6;

/// The classes and the place of each.
type Classes = HashMap<String, usize>;

pub(super) fn open(folder: &Path) -> Result<TinyImageNet, DataError> {
    if !folder.is_dir() {
        return Err(DataError::FolderMissing { folder: folder.to_owned() });
    }
    let candidates = [folder.to_owned(), folder.join(ARCHIVE)];
    let Some(root) = candidates.iter().find(|root| root.join("train").is_dir() && root.join("val").is_dir()) else {
        return Err(DataError::TinyImageNetFolder { folder: folder.to_owned() });
    };
    let classes = classes(root)?;
    let places: Classes = classes.iter().cloned().zip(0..).collect();
    let train = train(&root.join("train"), &classes)?;
    let test = val(&root.join("val"), &places)?;
    let [train, test] = [train, test].map(|samples| PictureFiles { samples, classes: classes.clone() });
    Ok(TinyImageNet { train, test })
}

/// The classes in the order of their list; or, where there is none, sorted.
fn classes(root: &Path) -> Result<Vec<String>, DataError> {
    let (list, train) = (root.join("wnids.txt"), root.join("train"));
    let mut folders = entries(&train)?;
    folders.retain(|_, path| path.is_dir());
    if !list.exists() {
        if folders.is_empty() {
            return Err(DataError::NoClasses { folder: train });
        }
        return Ok(folders.into_keys().collect());
    }
    let listed = listed(&list, &file::read_text(&list)?)?;
    match folders.into_iter().find(|(name, _)| !listed.contains_key(name)) {
        Some((_, folder)) => Err(DataError::ClassNotListed { folder, list }),
        None => {
            let mut classes: Vec<(String, usize)> = listed.into_iter().collect();
            classes.sort_unstable_by_key(|&(_, line)| line);
            Ok(classes.into_iter().map(|(class, _)| class).collect())
        }
    }
}

/// The classes of the list, and the line of each.
fn listed(list: &Path, text: &str) -> Result<HashMap<String, usize>, DataError> {
    let mut listed = HashMap::new();
    for (line, wnid) in lines(list, text, "class")? {
        let wnid = wnid.trim();
        match listed.entry(wnid.to_owned()) {
            Entry::Vacant(place) => place.insert(line),
            Entry::Occupied(first) => {
                let fault = LineFault::ClassTwice { wnid: shown(wnid), first: *first.get() };
                return Err(DataError::Line { file: list.to_owned(), line, fault });
            }
        };
    }
    Ok(listed)
}

/// The pictures of `train`, class by class.
fn train(train: &Path, classes: &[String]) -> Result<Vec<Sample>, DataError> {
    // Only names of folders that are there are made into paths, whatever the list has.
    let folders = entries(train)?;
    let mut samples = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        let none = |folder| DataError::NoPictures { class: shown(name), folder };
        let folder = folders.get(name).ok_or_else(|| none(train.to_owned()))?.join("images");
        let before = samples.len();
        if folder.is_dir() {
            samples.extend(pictures(&folder)?.into_values().map(|file| Sample { file, class }));
        }
        if samples.len() == before {
            return Err(none(folder));
        }
    }
    Ok(samples)
}

/// The pictures of `val`, annotation by annotation.
fn val(val: &Path, classes: &Classes) -> Result<Vec<Sample>, DataError> {
    let (annotations, images) = (val.join("val_annotations.txt"), val.join("images"));
    for (path, is_there) in [(&annotations, annotations.is_file()), (&images, images.is_dir())] {
        if !is_there {
            return Err(DataError::TinyImageNetPart { path: path.clone() });
        }
    }
    let mut files = pictures(&images)?;
    let mut samples = Vec::with_capacity(files.len());
    let mut first_lines = HashMap::new();
    let text = file::read_text(&annotations)?;
    for (line, text) in lines(&annotations, &text, "annotation")? {
        let fault = |fault| DataError::Line { file: annotations.clone(), line, fault };
        let (name, class) = annotation(text, classes).map_err(fault)?;
        if let Some(first) = first_lines.insert(name, line) {
            return Err(fault(LineFault::AnnotatedTwice { name: shown(name), first }));
        }
        match files.remove(name) {
            Some(file) => samples.push(Sample { file, class }),
            None => return Err(fault(LineFault::PictureAbsent { name: shown(name), folder: images })),
        }
    }
    match files.into_values().next() {
        Some(file) => Err(DataError::NotAnnotated { file, annotations }),
        None => Ok(samples),
    }
}

/// The file name and the class of a line. The box is not used, but has to be one: a line that was damaged shows.
fn annotation<'a>(line: &'a str, classes: &Classes) -> Result<(&'a str, usize), LineFault> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [name, wnid, edges @ ..] = &columns[..] else {
        return Err(LineFault::AnnotationColumns { got: columns.len() });
    };
    if columns.len() != COLUMNS {
        return Err(LineFault::AnnotationColumns { got: columns.len() });
    }
    for (edge, column) in edges.iter().zip(3..) {
        if !edge.trim().parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(LineFault::NotFinite { column, word: shown(edge) });
        }
    }
    match classes.get(*wnid) {
        Some(&class) => Ok((name, class)),
        None => Err(LineFault::UnknownClass { wnid: shown(wnid), classes: classes.len() }),
    }
}

/// The lines of a list, at least one and none of them blank, and their numbers.
fn lines<'a>(
    file: &Path,
    text: &'a str,
    wanted: &'static str,
) -> Result<impl Iterator<Item = (usize, &'a str)>, DataError> {
    let text = text.trim_ascii_end();
    if text.is_empty() {
        return Err(DataError::EmptyText { file: file.to_owned(), wanted });
    }
    match text.lines().position(|line| line.trim().is_empty()) {
        Some(i) => Err(DataError::Line { file: file.to_owned(), line: i + 1, fault: LineFault::Blank }),
        None => Ok((1..).zip(text.lines())),
    }
}

/// The pictures in a folder, by name.
fn pictures(folder: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut files = entries(folder)?;
    files.retain(|_, path| {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        ending.is_some_and(|ending| ["jpeg", "jpg", "png"].contains(&&ending[..]))
    });
    Ok(files)
}

/// What a folder holds, by name and therefore sorted, without names that begin with a dot.
fn entries(folder: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let unreadable = |source| DataError::Unreadable { file: folder.to_owned(), source };
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            entries.insert(name, entry.path());
        }
    }
    Ok(entries)
}

/// The beginning of a word from a file that may hold anything.
fn shown(word: &str) -> String {
    const LONGEST: usize = 40;
    if word.chars().nth(LONGEST).is_none() {
        return word.to_owned();
    }
    word.chars().take(LONGEST).chain("...".chars()).collect()
}
