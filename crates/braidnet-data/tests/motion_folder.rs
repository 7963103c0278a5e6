//! The folder of UCI HAR: what is read, and what is said of files that do not fit.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use braidnet_data::{
    DataError, LineFault,
    motion::{self, CHANNELS, MotionData},
};
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

/// A folder of this test's own, with a sound data set below `root`.
struct Folder {
    folder: TempDir,
    root: PathBuf,
}

/// Value of a channel in the files, before it is normalised.
fn raw(window: usize, step: usize, channel: usize) -> f64 {
    ((window * 31 + step * 17 + channel * 7) % 23) as f64 / 8.0 - 1.0
}

impl Folder {
    /// Six training and three test windows of four steps.
    fn sound(root: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let root = folder.path().join(root);
        let set = Self { folder, root };
        for (part, n) in [("train", 6), ("test", 3)] {
            fs::create_dir_all(set.root.join(part).join("Inertial Signals")).unwrap();
            for channel in 0..CHANNELS {
                // As the original has it, and in plain notation, in turn.
                let word = |window, step| match channel % 2 {
                    0 => format!(" {:.7e}", raw(window, step, channel)).replace('e', "e+00").replace("e+00-", "e-00"),
                    _ => format!("{:.3}", raw(window, step, channel)),
                };
                let line = |window| (0..4).map(|step| word(window, step)).collect::<Vec<_>>().join(" ") + "\n";
                set.write(part, channel, (0..n).map(line).collect::<String>());
            }
            set.write_labels(part, (0..n).map(|i| format!("{}\n", i % 6 + 1)).collect::<String>());
            fs::write(set.file(part, "subject"), "1\n".repeat(n)).unwrap();
        }
        set
    }

    fn file(&self, part: &str, kind: &str) -> PathBuf {
        self.root.join(part).join(format!("{kind}_{part}.txt"))
    }

    fn signals(&self, part: &str, channel: usize) -> PathBuf {
        let (sensor, axis) = (["body_acc", "body_gyro", "total_acc"][channel / 3], ["x", "y", "z"][channel % 3]);
        self.root.join(part).join("Inertial Signals").join(format!("{sensor}_{axis}_{part}.txt"))
    }

    fn write(&self, part: &str, channel: usize, text: impl AsRef<[u8]>) {
        fs::write(self.signals(part, channel), text).unwrap();
    }

    fn write_labels(&self, part: &str, text: impl AsRef<[u8]>) {
        fs::write(self.file(part, "y"), text).unwrap();
    }

    fn load(&self) -> Result<MotionData, DataError> {
        motion::load(self.folder.path())
    }

    /// The file, the line and the fault that loading names.
    fn fault(&self) -> (PathBuf, usize, LineFault) {
        match self.load() {
            Err(DataError::Line { file, line, fault }) => (file, line, fault),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_data_set_is_read_and_normalised() {
    let data = Folder::sound("").load().unwrap();
    assert_eq!((data.train.len(), data.train.steps, data.test.len(), data.test.steps), (6, 4, 3, 4));
    assert_eq!((&data.train.labels[..], &data.test.labels[..]), (&[0, 1, 2, 3, 4, 5][..], &[0, 1, 2][..]));
    for channel in 0..CHANNELS {
        let values: Vec<f64> = (0..6 * 4).map(|k| raw(k / 4, k % 4, channel)).collect();
        let mean = values.iter().sum::<f64>() / 24.0;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 24.0).sqrt();
        for (set, n) in [(&data.train, 6), (&data.test, 3)] {
            for (window, step) in (0..n).flat_map(|window| (0..4).map(move |step| (window, step))) {
                let got = f64::from(set.sample(window).0[step * CHANNELS + channel]);
                let expected = (raw(window, step, channel) - mean) / deviation;
                assert!((got - expected).abs() < 1e-3, "{window} {step} {channel}: {got} for {expected}");
            }
        }
    }
}

#[test]
fn the_folder_of_the_archive_and_files_without_people_do() {
    let inside = Folder::sound("UCI HAR Dataset");
    let data = inside.load().unwrap();
    assert_eq!(motion::load(&inside.root).unwrap(), data);
    assert_eq!(Folder::sound("").load().unwrap(), data);
    for part in ["train", "test"] {
        fs::remove_file(inside.file(part, "subject")).unwrap();
        let labels = fs::read_to_string(inside.file(part, "y")).unwrap();
        inside.write_labels(part, format!("{}\r\n\n", labels.trim_end().replace('\n', " \r\n")));
    }
    assert_eq!(inside.load().unwrap(), data);
}

#[test]
fn missing_folders_and_files_are_named() {
    let folder = TempDir::new().unwrap();
    let absent = folder.path().join("absent");
    assert!(matches!(motion::load(&absent), Err(DataError::FolderMissing { folder }) if folder == absent));
    fs::create_dir(folder.path().join("train")).unwrap();
    let error = motion::load(folder.path()).unwrap_err();
    assert!(matches!(&error, DataError::MotionFolder { folder: named } if named == folder.path()), "{error}");
    assert!(error.to_string().contains("unpack the archive there"), "{error}");

    for part in ["train", "test"] {
        let set = Folder::sound("");
        let files = (0..CHANNELS).map(|channel| set.signals(part, channel)).chain([set.file(part, "y")]);
        for file in files.collect::<Vec<_>>() {
            let text = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            let error = set.load().unwrap_err();
            assert!(matches!(&error, DataError::MotionFileMissing { file: named } if *named == file), "{error}");
            fs::write(&file, text).unwrap();
        }
        set.load().unwrap();
    }
}

#[test]
fn lines_of_another_length_are_named() {
    let set = Folder::sound("");
    let like = set.signals("train", 0);
    set.write("train", 5, "1 2 3 4\n".repeat(4) + "1 2 3\n1 2 3 4\n");
    let expected = LineFault::Steps { got: 3, expected: 4, like: like.clone() };
    assert_eq!(set.fault(), (set.signals("train", 5), 5, expected));
    let error = set.load().unwrap_err().to_string();
    let named =
        format!("{}:5: 3 values, but the first line of {} has 4", set.signals("train", 5).display(), like.display());
    assert!(error.starts_with(&named), "{error}");

    // The test windows are held to the training windows.
    let set = Folder::sound("");
    (0..CHANNELS).for_each(|channel| set.write("test", channel, "1 2 3 4 5\n".repeat(3)));
    let expected = LineFault::Steps { got: 5, expected: 4, like: set.signals("train", 0) };
    assert_eq!(set.fault(), (set.signals("test", 0), 1, expected));
}

#[test]
fn words_that_are_no_finite_number_are_named() {
    for word in ["abc", "1,5", "NaN", "inf", "-Infinity", "1e39", "--1", "0x10", "1e", "\u{fffd}"] {
        let set = Folder::sound("");
        set.write("test", 8, format!("1 2 3 4\n1 2 {word} 4\n1 2 3 4\n"));
        let expected = LineFault::NotFinite { column: 3, word: word.to_owned() };
        assert_eq!(set.fault(), (set.signals("test", 8), 2, expected));
    }
    let set = Folder::sound("");
    set.write("test", 8, "x".repeat(1_000));
    assert!(set.load().unwrap_err().to_string().contains(&format!("value 1 is \"{}...\"", "x".repeat(24))));
}

#[test]
fn labels_that_are_none_are_named() {
    for label in ["0", "7", "-1", "1.0", "walking", "1 2", "256"] {
        let set = Folder::sound("");
        set.write_labels("test", format!("1\n{label}\n3\n"));
        let expected = LineFault::NotAnActivity { label: label.to_owned(), classes: 6 };
        assert_eq!(set.fault(), (set.file("test", "y"), 2, expected));
    }
}

#[test]
fn counts_that_differ_are_named_with_both_files() {
    let counts = |set: &Folder| match set.load() {
        Err(DataError::WindowCountsDiffer { labels, n_labels, other, n_other }) => (labels, n_labels, other, n_other),
        other => panic!("{other:?}"),
    };
    for (channel, n) in [(0, 5), (3, 7), (8, 1)] {
        let set = Folder::sound("");
        set.write("train", channel, "1 2 3 4\n".repeat(n));
        assert_eq!(counts(&set), (set.file("train", "y"), 6, set.signals("train", channel), n));
    }
    let set = Folder::sound("");
    set.write_labels("test", "1\n2\n");
    fs::remove_file(set.file("test", "subject")).unwrap();
    assert_eq!(counts(&set), (set.file("test", "y"), 2, set.signals("test", 0), 3));
    let set = Folder::sound("");
    fs::write(set.file("train", "subject"), "1\n").unwrap();
    assert_eq!(counts(&set), (set.file("train", "y"), 6, set.file("train", "subject"), 1));
    let error = set.load().unwrap_err().to_string();
    assert!(
        error.contains("y_train.txt has 6 labels but") && error.contains("subject_train.txt has 1 lines"),
        "{error}"
    );
}

#[test]
fn empty_files_blank_lines_and_bytes_that_are_no_text_are_named() {
    for text in ["", "\n", " \r\n\n"] {
        for channel in [Some(0), Some(7), None] {
            let set = Folder::sound("");
            let file = channel.map_or_else(|| set.file("train", "y"), |channel| set.signals("train", channel));
            fs::write(&file, text).unwrap();
            let error = set.load().unwrap_err();
            assert!(matches!(&error, DataError::EmptyText { file: named, .. } if *named == file), "{error}");
        }
    }
    let set = Folder::sound("");
    set.write("train", 0, "1 2 3 4\n  \n1 2 3 4\n1 2 3 4\n1 2 3 4\n1 2 3 4\n");
    assert_eq!(set.fault(), (set.signals("train", 0), 2, LineFault::BlankWindow));
    let set = Folder::sound("");
    set.write("test", 2, b"1 2 3 4\n1 2 3 4\n1 2 \xff 4\n");
    assert_eq!(set.fault(), (set.signals("test", 2), 3, LineFault::NotUtf8));
}

/// The files of a sound set that any bytes can stand in for.
fn files(set: &Folder) -> Vec<PathBuf> {
    let signals = ["train", "test"].into_iter().flat_map(|part| (0..CHANNELS).map(move |channel| (part, channel)));
    let others = ["train", "test"].into_iter().flat_map(|part| ["y", "subject"].map(|kind| set.file(part, kind)));
    signals.map(|(part, channel)| set.signals(part, channel)).chain(others).collect()
}

/// What is read is whole, and what is not read is said with the name of a file.
fn answer(set: &Folder, file: &Path) -> Result<(), TestCaseError> {
    match set.load() {
        Ok(MotionData { train, test }) => {
            for set in [train, test] {
                prop_assert_eq!(set.signals.len(), set.n * set.steps * CHANNELS);
                prop_assert!(set.labels.len() == set.n && set.labels.iter().all(|&label| label < 6));
            }
        }
        Err(error) => {
            let named = file.display().to_string();
            prop_assert!(error.to_string().contains(&named), "{} is not named: {}", named, error);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_place_of_a_file(
        which in any::<prop::sample::Index>(),
        bytes in vec(any::<u8>(), 0..80),
        text in "[0-9.eE+\\- \\n\\r\\tNaninf]{0,120}",
        numbers in vec("(-?[0-9]{1,40}(\\.[0-9]*)?([eE][+-]?[0-9]{1,4})? ){3,5}", 2..7),
    ) {
        let set = Folder::sound("");
        let file = &files(&set)[which.index(22)];
        for bytes in [&bytes[..], text.as_bytes(), numbers.join("\n").as_bytes()] {
            fs::write(file, bytes).unwrap();
            answer(&set, file)?;
        }
    }
}
