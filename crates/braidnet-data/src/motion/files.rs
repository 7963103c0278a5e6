//! The folder of UCI HAR: text files, one line a window.

use std::path::{Path, PathBuf};

use super::{CHANNELS, CLASSES, MotionData, MotionSet};
use crate::{DataError, LineFault, file, line_fault::shown};

/// The folder in the data set's archive.
const ARCHIVE: &str = "UCI HAR Dataset";

/// The sensors in the order of the channels, each along three directions.
const SENSORS: [&str; 3] = ["body_acc", "body_gyro", "total_acc"];

/// Reads both sets of UCI HAR, or of another set of such files, and [normalises](MotionData::normalise) them.
///
/// `folder` holds the folders `train` and `test`, or else a folder `UCI HAR Dataset` that does. In each of the two
/// are `y_train.txt`, one label from 1 to 6 a line, and in `Inertial Signals` the nine files
/// `body_acc_x_train.txt` to `total_acc_z_train.txt`, one window a line; for `test` likewise. Windows may have any
/// number of steps, but all the same. Labels become 0 to 5. Where there is a `subject_train.txt`, it has as many lines.
///
/// # Errors
/// [`DataError`], naming the folder, the file or the line, and what is wrong with it: missing, unreadable, not UTF-8,
/// empty, a value that is not a finite number, lines of different lengths, files of different lengths, a label that is
/// none.
pub fn load(folder: &Path) -> Result<MotionData, DataError> {
    if !folder.is_dir() {
        return Err(DataError::FolderMissing { folder: folder.to_owned() });
    }
    let candidates = [folder.to_owned(), folder.join(ARCHIVE)];
    let Some(root) = candidates.iter().find(|root| root.join("train").is_dir() && root.join("test").is_dir()) else {
        return Err(DataError::MotionFolder { folder: folder.to_owned() });
    };
    let parts = ["train", "test"].map(|part| Files::of(root, part));
    // All are looked for before any is read: a missing file shows at once.
    for file in parts.iter().flat_map(|files| files.signals.iter().chain([&files.labels])) {
        if !file.is_file() {
            return Err(DataError::MotionFileMissing { file: file.clone() });
        }
    }
    let mut shape = None;
    let [train, test] = &parts;
    let mut data = MotionData { train: train.read(&mut shape)?, test: test.read(&mut shape)? };
    data.normalise();
    Ok(data)
}

/// The files of one set.
struct Files {
    signals: Vec<PathBuf>,
    labels: PathBuf,
    subjects: PathBuf,
}

/// How many steps every window has, and the file whose first line says so.
struct Steps {
    steps: usize,
    file: PathBuf,
}

impl Files {
    fn of(root: &Path, part: &str) -> Self {
        let folder = root.join(part);
        let signal =
            |sensor: &str, axis: char| folder.join("Inertial Signals").join(format!("{sensor}_{axis}_{part}.txt"));
        Self {
            signals: SENSORS.iter().flat_map(|sensor| "xyz".chars().map(|axis| signal(sensor, axis))).collect(),
            labels: folder.join(format!("y_{part}.txt")),
            subjects: folder.join(format!("subject_{part}.txt")),
        }
    }

    fn read(&self, shape: &mut Option<Steps>) -> Result<MotionSet, DataError> {
        let labels = read_labels(&self.labels)?;
        let n = labels.len();
        if self.subjects.is_file() {
            let n_subjects = file::read_text(&self.subjects)?.trim_end().lines().count();
            self.same_count(n, &self.subjects, n_subjects)?;
        }
        let mut signals = Vec::new();
        for (channel, file) in self.signals.iter().enumerate() {
            let values = read_values(file, shape)?;
            let steps = shape.as_ref().map_or(1, |shape| shape.steps);
            self.same_count(n, file, values.len() / steps)?;
            signals.resize(n * steps * CHANNELS, 0.0);
            signals.iter_mut().skip(channel).step_by(CHANNELS).zip(values).for_each(|(to, value)| *to = value);
        }
        Ok(MotionSet { steps: signals.len() / (n * CHANNELS), signals, labels, n })
    }

    fn same_count(&self, n_labels: usize, other: &Path, n_other: usize) -> Result<(), DataError> {
        if n_labels == n_other {
            return Ok(());
        }
        let (labels, other) = (self.labels.clone(), other.to_owned());
        Err(DataError::WindowCountsDiffer { labels, n_labels, other, n_other })
    }
}

fn read_labels(file: &Path) -> Result<Vec<u8>, DataError> {
    labels(file, &file::read_text(file)?)
}

fn labels(file: &Path, text: &str) -> Result<Vec<u8>, DataError> {
    lines(file, text)?
        .map(|(line, label)| match label.trim().parse::<u8>() {
            Ok(label) if (1..=CLASSES as u8).contains(&label) => Ok(label - 1),
            _ => {
                let fault = LineFault::NotAnActivity { label: shown(label.trim()), classes: CLASSES };
                Err(DataError::Line { file: file.to_owned(), line, fault })
            }
        })
        .collect()
}

fn read_values(file: &Path, shape: &mut Option<Steps>) -> Result<Vec<f32>, DataError> {
    values(file, &file::read_text(file)?, shape)
}

/// The numbers of all lines, each of which has as many as the first line of the first file.
fn values(file: &Path, text: &str, shape: &mut Option<Steps>) -> Result<Vec<f32>, DataError> {
    let mut values = Vec::new();
    for (line, text) in lines(file, text)? {
        let fault = |fault| DataError::Line { file: file.to_owned(), line, fault };
        let before = values.len();
        for word in text.split_ascii_whitespace() {
            match word.parse::<f32>() {
                Ok(value) if value.is_finite() => values.push(value),
                _ => return Err(fault(LineFault::NotFinite { column: values.len() - before + 1, word: shown(word) })),
            }
        }
        let got = values.len() - before;
        let Steps { steps, file: like } = shape.get_or_insert_with(|| Steps { steps: got, file: file.to_owned() });
        if got != *steps {
            return Err(fault(LineFault::Steps { got, expected: *steps, like: like.clone() }));
        }
    }
    Ok(values)
}

/// The lines of a file, at least one and none of them blank, and their numbers.
fn lines<'a>(file: &Path, text: &'a str) -> Result<impl Iterator<Item = (usize, &'a str)>, DataError> {
    let text = text.trim_ascii_end();
    if text.is_empty() {
        return Err(DataError::EmptyText { file: file.to_owned(), wanted: "line" });
    }
    match text.lines().position(|line| line.trim_ascii().is_empty()) {
        Some(i) => Err(DataError::Line { file: file.to_owned(), line: i + 1, fault: LineFault::BlankWindow }),
        None => Ok((1..).zip(text.lines())),
    }
}
