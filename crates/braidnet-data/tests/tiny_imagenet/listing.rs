//! Folders, lists and annotations.

use std::{fs, path::PathBuf};

use braidnet_data::{DataError, LineFault, pictures::Pictures, tiny_imagenet::TinyImageNet};
use tempfile::TempDir;

use super::{CLASSES, Folder, annotation, colour, files, flat, is_flat};

#[test]
fn pictures_are_listed_by_class_and_by_annotation_and_decoded() {
    let folder = Folder::sound("");
    let TinyImageNet { train, test } = folder.open().unwrap();
    assert_eq!((train.classes(), test.classes()), (&CLASSES.map(str::to_owned)[..], train.classes()));
    assert_eq!((train.class_counts(), test.class_counts()), (vec![4; 3], vec![2; 3]));
    for i in 0..12 {
        let (class, picture) = (i / 4, i % 4);
        assert_eq!((train.label(i), train.file(i)), (class, folder.train(class, picture).as_path()));
        assert!(is_flat(&train.decode(i).unwrap(), colour(class, picture)), "picture {i}");
    }
    for (i, picture) in [5, 0, 4, 1, 3, 2].into_iter().enumerate() {
        assert_eq!((test.label(i), test.file(i)), (picture % 3, folder.val(picture).as_path()));
        assert!(is_flat(&test.decode(i).unwrap(), colour(picture % 3, picture)), "picture {i}");
    }
}

#[test]
fn the_folder_of_the_archive_lists_without_and_other_endings_do() {
    let inside = Folder::sound("tiny-imagenet-200");
    let set = inside.open().unwrap();
    assert_eq!(files(&TinyImageNet::open(&inside.root).unwrap().train), files(&set.train));
    fs::remove_file(inside.list()).unwrap();
    let sorted = inside.open().unwrap();
    assert_eq!(sorted.train.classes(), ["n01", "n02", "n03"]);
    assert_eq!((sorted.test.label(0), set.test.label(0)), (1, 2));
    assert_eq!((0..12).map(|i| sorted.train.label(i)).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);

    // Windows' line ends, an empty last line; what the desktop leaves behind; other endings.
    fs::write(inside.list(), CLASSES.join(" \r\n") + "\r\n\n").unwrap();
    inside.annotate((0..6).map(annotation).collect::<String>().replace('\n', "\r\n"));
    let images = inside.train(0, 0).parent().unwrap().to_owned();
    for name in [".DS_Store", "._n03_0.JPEG", "readme.txt", "none"] {
        fs::write(images.join(name), "x").unwrap();
    }
    fs::create_dir(inside.root.join("train/.cache")).unwrap();
    fs::write(inside.root.join("train/notes.txt"), "x").unwrap();
    for name in ["z.jpg", "z.PNG", "z.Jpeg"] {
        fs::write(images.join(name), flat([9; 3])).unwrap();
    }
    assert_eq!(inside.open().unwrap().train.class_counts(), [7, 4, 4]);
}

#[test]
fn a_limit_keeps_the_first_of_each_class() {
    let folder = Folder::sound("");
    let TinyImageNet { mut train, mut test } = folder.open().unwrap();
    train.limit(2);
    let expected: Vec<PathBuf> = (0..6).map(|i| folder.train(i / 2, i % 2)).collect();
    assert_eq!((files(&train), train.class_counts()), (expected, vec![2; 3]));
    test.limit(1);
    assert_eq!(files(&test), [5, 0, 4].map(|picture| folder.val(picture)));
    test.limit(100);
    assert_eq!(test.len(), 3);
    test.limit(0);
    assert!(test.is_empty());
}

#[test]
fn missing_folders_and_files_are_named() {
    let folder = TempDir::new().unwrap();
    let absent = folder.path().join("absent");
    assert!(matches!(TinyImageNet::open(&absent), Err(DataError::FolderMissing { folder }) if folder == absent));
    fs::create_dir(folder.path().join("train")).unwrap();
    let error = TinyImageNet::open(folder.path()).unwrap_err();
    assert!(matches!(&error, DataError::TinyImageNetFolder { folder: named } if named == folder.path()), "{error}");

    let set = Folder::sound("");
    fs::remove_file(set.annotations()).unwrap();
    let error = set.open().unwrap_err();
    assert!(matches!(&error, DataError::TinyImageNetPart { path } if *path == set.annotations()), "{error}");
    let set = Folder::sound("");
    fs::remove_dir_all(set.root.join("val/images")).unwrap();
    let error = set.open().unwrap_err();
    assert!(matches!(&error, DataError::TinyImageNetPart { path } if path.ends_with("val/images")), "{error}");
}

#[test]
fn classes_that_are_missing_empty_or_not_listed_are_named() {
    let none = |set: &Folder| match set.open() {
        Err(DataError::NoPictures { class, folder }) => (class, folder),
        other => panic!("{other:?}"),
    };
    for with_list in [true, false] {
        let set = Folder::sound("");
        let images = set.train(1, 0).parent().unwrap().to_owned();
        if !with_list {
            fs::remove_file(set.list()).unwrap();
        }
        (0..4).for_each(|picture| fs::remove_file(set.train(1, picture)).unwrap());
        assert_eq!(none(&set), ("n01".to_owned(), images.clone()));
        fs::remove_dir(&images).unwrap();
        assert_eq!(none(&set), ("n01".to_owned(), images));
    }
    let set = Folder::sound("");
    fs::remove_dir_all(set.root.join("train/n02")).unwrap();
    assert_eq!(none(&set), ("n02".to_owned(), set.root.join("train")));
    // A list is no way out of the folder.
    let set = Folder::sound("");
    fs::write(set.list(), CLASSES.join("\n") + "\n../train/n01\n").unwrap();
    assert_eq!(none(&set).0, "../train/n01");

    let set = Folder::sound("");
    fs::write(set.list(), "n01\nn02\n").unwrap();
    let error = set.open().unwrap_err();
    let (left, list) = (set.root.join("train/n03"), set.list());
    assert!(
        matches!(&error, DataError::ClassNotListed { folder, list: by } if *folder == left && *by == list),
        "{error}"
    );

    let set = Folder::sound("");
    fs::remove_file(set.list()).unwrap();
    CLASSES.iter().for_each(|class| fs::remove_dir_all(set.root.join("train").join(class)).unwrap());
    assert!(matches!(set.open(), Err(DataError::NoClasses { folder }) if folder == set.root.join("train")));
}

#[test]
fn lists_of_classes_with_faults_are_named() {
    let set = Folder::sound("");
    fs::write(set.list(), "n03\nn01\nn03\nn02\n").unwrap();
    assert_eq!(set.fault(), (set.list(), 3, LineFault::ClassTwice { wnid: "n03".to_owned(), first: 1 }));
    fs::write(set.list(), "n03\n\nn01\nn02\n").unwrap();
    assert_eq!(set.fault(), (set.list(), 2, LineFault::Blank));
    fs::write(set.list(), b"n03\n\xff\n").unwrap();
    assert_eq!(set.fault(), (set.list(), 2, LineFault::NotUtf8));
    fs::write(set.list(), "\n").unwrap();
    assert!(matches!(set.open(), Err(DataError::EmptyText { file, .. }) if file == set.list()));
}

#[test]
fn annotations_with_faults_are_named() {
    let set = Folder::sound("");
    let sound: Vec<String> = (0..6).map(annotation).collect();
    let fault = |line: &str| {
        let mut lines = sound.clone();
        lines[3] = format!("{line}\n");
        set.annotate(lines.concat());
        let (file, line, fault) = set.fault();
        assert_eq!((file, line), (set.annotations(), 4));
        fault
    };
    for (got, line) in
        [(1, "val_3.JPEG"), (2, "val_3.JPEG\tn03"), (5, "val_3.JPEG\tn03\t0\t0\t1"), (7, "a\tb\t0\t0\t1\t1\t")]
    {
        assert_eq!(fault(line), LineFault::AnnotationColumns { got });
    }
    assert_eq!(fault("val_3.JPEG n03 0 0 1 1"), LineFault::AnnotationColumns { got: 1 });
    let expected = LineFault::NotFinite { column: 5, word: "x1".to_owned() };
    assert_eq!(fault("val_3.JPEG\tn03\t0\t0\tx1\t1"), expected);
    let expected = LineFault::NotFinite { column: 6, word: "NaN".to_owned() };
    assert_eq!(fault("val_3.JPEG\tn03\t0\t0\t1\tNaN"), expected);
    for wnid in ["n04", "", "n03 "] {
        let expected = LineFault::UnknownClass { wnid: wnid.to_owned(), classes: 3 };
        assert_eq!(fault(&format!("val_3.JPEG\t{wnid}\t0\t0\t1\t1")), expected);
    }
    let long = "w".repeat(1_000);
    let cut = format!("{}...", "w".repeat(40));
    assert_eq!(fault(&format!("val_3.JPEG\t{long}\t0\t0\t1\t1")), LineFault::UnknownClass { wnid: cut, classes: 3 });
    for name in ["val_6.JPEG", "", "../val_annotations.txt", "val_3.jpeg"] {
        let expected = LineFault::PictureAbsent { name: name.to_owned(), folder: set.root.join("val/images") };
        assert_eq!(fault(&format!("{name}\tn03\t0\t0\t1\t1")), expected);
    }
    let expected = LineFault::AnnotatedTwice { name: "val_1.JPEG".to_owned(), first: 2 };
    assert_eq!(fault("val_1.JPEG\tn01\t0\t0\t1\t1"), expected);
    assert_eq!(fault(" "), LineFault::Blank);

    set.annotate("");
    assert!(matches!(set.open(), Err(DataError::EmptyText { file, .. }) if file == set.annotations()));
    set.annotate(sound[..5].concat());
    let error = set.open().unwrap_err();
    assert!(matches!(&error, DataError::NotAnnotated { file, .. } if *file == set.val(5)), "{error}");
}
