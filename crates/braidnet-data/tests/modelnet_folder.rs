//! The folder of ModelNet10: what is listed, and what is said of folders and models that do not fit.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod models;

use std::fs;

use braidnet_data::{
    DataError, LineFault,
    modelnet::{self, ModelSet},
    off,
    voxels::{Fill, VoxelSet, broken, voxelise},
};
use models::{Folder, TETRAHEDRON};

fn names(set: &ModelSet) -> Vec<(String, usize)> {
    let name = |i| set.file(i).file_name().unwrap().to_str().unwrap().to_owned();
    (0..set.len()).map(|i| (name(i), set.label(i))).collect()
}

#[test]
fn models_are_listed_by_class_and_name() {
    for root in ["", "ModelNet10"] {
        let folder = Folder::sound(root);
        let set = folder.open(None).unwrap();
        assert_eq!(set.train.class_names(), ["bed", "night_stand"]);
        assert_eq!(set.train.class_names(), set.test.class_names());
        let listed = [("bed_0001.off", 0), ("bed_0002.off", 0), ("night_stand_0001.OFF", 1)];
        assert_eq!(names(&set.train), listed.map(|(name, label)| (name.to_owned(), label)));
        assert_eq!(names(&set.test), [("bed_0003.off".to_owned(), 0), ("night_stand_0002.off".to_owned(), 1)]);
        assert_eq!((set.train.side(), set.test.side(), set.train.is_empty()), (8, 8, false));
    }
}

#[test]
fn voxels_are_those_of_the_mesh() {
    let folder = Folder::sound("");
    for (n, fill) in [(8, Fill::Solid), (13, Fill::Surface)] {
        let set = modelnet::open(folder.root(), n, fill, None).unwrap();
        for i in 0..set.train.len() {
            let expected = voxelise(&off::read(set.train.file(i)).unwrap(), n, fill).unwrap();
            assert_eq!(set.train.voxels(i).unwrap(), expected);
            assert_eq!(expected.len(), n * n * n);
        }
    }
}

#[test]
fn a_set_can_be_any_and_used_by_many_threads() {
    let folder = Folder::sound("");
    let set: Box<dyn VoxelSet> = Box::new(folder.open(None).unwrap().train);
    let grids = std::thread::scope(|scope| {
        let threads = [0, 1, 2].map(|i| {
            scope.spawn({
                let set = &set;
                move || set.voxels(i).unwrap()
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(grids, [0, 1, 2].map(|i| set.voxels(i).unwrap()));
}

#[test]
fn other_files_and_folders_do_not_count() {
    let folder = Folder::sound("");
    let listed = names(&folder.open(None).unwrap().train);
    for file in ["README.txt", ".DS_Store", "bed/train/._bed_0001.off", "bed/train/notes.txt", "bed/train/off"] {
        fs::write(folder.root().join(file), "something").unwrap();
    }
    for other in ["drafts", ".git/train", "bed/train/folder.off"] {
        fs::create_dir_all(folder.root().join(other)).unwrap();
    }
    assert_eq!(names(&folder.open(None).unwrap().train), listed);
}

#[test]
fn folders_that_do_not_fit_are_named() {
    let folder = Folder::sound("");
    let root = folder.root();
    let missing = root.join("missing");
    let error = modelnet::open(&missing, 8, Fill::Solid, None).unwrap_err();
    assert!(matches!(error, DataError::FolderMissing { folder } if folder == missing));
    let error = modelnet::open(&root.join("bed"), 8, Fill::Solid, None).unwrap_err();
    assert!(matches!(&error, DataError::ModelFolder { folder } if *folder == root.join("bed")));
    assert!(error.to_string().contains("bed: neither it nor a folder ModelNet10 in it"), "{error}");
    assert!(matches!(modelnet::open(root, 7, Fill::Solid, None), Err(DataError::VoxelSide { n: 7 })));

    fs::remove_file(root.join("bed/test/bed_0003.off")).unwrap();
    let without = |part: &str| {
        let error = folder.open(None).unwrap_err();
        assert!(error.to_string().starts_with("no model (.off) in "), "{error}");
        assert!(matches!(error, DataError::ModelsMissing { folder: named } if named == root.join(part)));
    };
    without("bed/test");
    fs::remove_dir(root.join("bed/test")).unwrap();
    without("bed/test");
    fs::create_dir_all(root.join("bath/test")).unwrap();
    without("bath/train");
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let folder = Folder::sound("");
    let cache = folder.root().join("file");
    fs::write(&cache, "no folder").unwrap();
    let error = folder.open(Some(&cache)).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot make the folder {}", cache.display())), "{error}");
    assert!(matches!(error, DataError::CacheFolder { folder, .. } if folder == cache));
}

#[test]
fn a_broken_model_is_named_when_it_is_asked_for() {
    let folder = Folder::sound("");
    let broken = folder.root().join("bed/train/bed_0002.off");
    fs::write(&broken, TETRAHEDRON.replace("3 0 1 3", "3 0 1 4")).unwrap();
    let cache = folder.root().join("cache");
    for cache in [None, Some(cache.as_path())] {
        let set = folder.open(cache).unwrap().train;
        set.voxels(0).unwrap();
        match set.voxels(1) {
            Err(DataError::Line { file, line: 8, fault: LineFault::NotAVertex { n_vertices: 4, .. } }) => {
                assert_eq!(file, broken)
            }
            other => panic!("{other:?}"),
        }
    }
    let set = folder.open(Some(&cache)).unwrap().train;
    fs::remove_file(&broken).unwrap();
    assert!(matches!(set.voxels(1), Err(DataError::Unreadable { file, .. }) if file == broken));
}

#[test]
fn broken_models_are_found_in_their_order() {
    let folder = Folder::sound("");
    for threads in [0, 1, 3, 16] {
        assert!(broken(&folder.open(None).unwrap().train, &[0, 1, 2], 0, threads).is_empty());
    }
    fs::write(folder.root().join("bed/train/bed_0000.off"), "no mesh").unwrap();
    fs::write(folder.root().join("night_stand/train/night_stand_0001.OFF"), "OFF\n").unwrap();
    let set = folder.open(None).unwrap().train;
    let samples: Vec<usize> = (0..set.len()).collect();
    assert_eq!(samples.len(), 4);
    for threads in [1, 3] {
        let found = broken(&set, &samples, 2, threads);
        let [first, second] = &found[..] else { panic!("{found:?}") };
        assert!(first.1.to_string().contains("bed_0000.off:1: begins with \"no mesh\""), "{first:?}");
        assert!(second.1.to_string().contains("night_stand_0001.OFF:1: sizes \"\""), "{second:?}");
        assert!(first.0 < second.0);
    }
    assert_eq!(broken(&set, &samples, 0, 1).len(), 1, "no others are tried behind one too many");
    assert!(broken(&set, &[1, 2], 0, 2).is_empty(), "only those asked for");
}
