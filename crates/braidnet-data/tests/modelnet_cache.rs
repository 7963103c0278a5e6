//! Grids kept from one run to the next: read where they are sound, and made again where anything is wrong with them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod models;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use braidnet_data::{
    modelnet::{self, ModelSet},
    voxels::{Fill, VoxelSet, broken},
};
use models::{Folder, TETRAHEDRON};
use proptest::{collection::vec, prelude::*, sample};
use tempfile::TempDir;

/// Models, a cache, and the grid of the first model as it should be.
struct Case {
    folder: Folder,
    cache: TempDir,
    sound: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        let (folder, cache) = (Folder::sound(""), TempDir::new().unwrap());
        let sound = folder.open(None).unwrap().train.voxels(0).unwrap();
        Self { folder, cache, sound }
    }

    fn open(&self) -> ModelSet {
        self.folder.open(Some(self.cache.path())).unwrap().train
    }

    fn kept(&self) -> PathBuf {
        self.cache.path().join("bed/train/bed_0001.off.8-solid.voxels")
    }

    fn model(&self) -> PathBuf {
        self.folder.file("bed/train/bed_0001.off")
    }

    /// Replaces the model by one that is broken, of the same size and time: whoever reads it, fails.
    fn break_unseen(&self) {
        let metadata = fs::metadata(self.model()).unwrap();
        fs::write(self.model(), "x".repeat(metadata.len() as usize)).unwrap();
        File::options().write(true).open(self.model()).unwrap().set_modified(metadata.modified().unwrap()).unwrap();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_grid_is_read_where_it_is_kept() {
    let case = Case::new();
    assert_eq!(files(case.cache.path()).len(), 0);
    assert_eq!(case.open().voxels(0).unwrap(), case.sound);
    assert_eq!(files(case.cache.path()), [case.kept()]);
    assert_eq!(fs::metadata(case.kept()).unwrap().len(), 44 + 64, "a bit a voxel");
    case.break_unseen();
    assert_eq!(case.open().voxels(0).unwrap(), case.sound, "not made again");
}

#[test]
fn a_check_fills_the_cache() {
    let case = Case::new();
    let set = case.open();
    assert!(broken(&set, &[0, 1, 2], 0, 2).is_empty());
    assert_eq!((files(case.cache.path()).len(), set.unkept()), (3, 0));
    case.break_unseen();
    assert!(broken(&case.open(), &[0, 1, 2], 0, 2).is_empty());
    fs::remove_file(case.kept()).unwrap();
    assert_eq!(broken(&case.open(), &[0, 1, 2], 0, 2).len(), 1);
}

#[test]
fn grids_of_other_sizes_and_fills_do_not_meet() {
    let case = Case::new();
    for (n, fill) in [(8, Fill::Solid), (8, Fill::Surface), (9, Fill::Solid)] {
        let open = |cache| modelnet::open(case.folder.root(), n, fill, cache).unwrap().train;
        for _ in 0..2 {
            assert_eq!(open(Some(case.cache.path())).voxels(0).unwrap(), open(None).voxels(0).unwrap());
        }
    }
    assert_eq!(files(case.cache.path()).len(), 3);
    // Not even where somebody has given one the name of another.
    fs::copy(case.cache.path().join("bed/train/bed_0001.off.8-surface.voxels"), case.kept()).unwrap();
    assert_eq!(case.open().voxels(0).unwrap(), case.sound);
}

#[test]
fn a_changed_model_is_made_again() {
    let case = Case::new();
    case.open().voxels(0).unwrap();
    let sound = fs::read_to_string(case.model()).unwrap();
    let other = TETRAHEDRON.replace("0 1 0\n", "0 2.25 0\n");
    assert_ne!(sound.len(), other.len());
    let time = fs::metadata(case.model()).unwrap().modified().unwrap();
    let touch = |time| File::options().write(true).open(case.model()).unwrap().set_modified(time).unwrap();

    // Another size with the same time.
    fs::write(case.model(), &other).unwrap();
    touch(time);
    let changed = case.open().voxels(0).unwrap();
    assert_ne!(changed, case.sound);
    assert_eq!(changed, case.folder.open(None).unwrap().train.voxels(0).unwrap());

    // Another time with the same size; also one before 1970, and one to come.
    for time in [
        time + Duration::from_nanos(1000),
        SystemTime::UNIX_EPOCH - Duration::from_secs(7),
        time + Duration::from_secs(1 << 30),
    ] {
        for y in ["2.25", "0.25"] {
            fs::write(case.model(), other.replace("2.25", y)).unwrap();
            touch(if y == "0.25" { time } else { time + Duration::from_secs(1) });
            let expected = case.folder.open(None).unwrap().train.voxels(0).unwrap();
            assert_eq!(case.open().voxels(0).unwrap(), expected);
        }
    }
    fs::write(case.model(), "broken").unwrap();
    assert!(case.open().voxels(0).is_err(), "an old grid is not given for a model that is broken now");
}

#[test]
fn a_damaged_grid_is_made_again_and_kept() {
    let case = Case::new();
    case.open().voxels(0).unwrap();
    let kept = fs::read(case.kept()).unwrap();
    let version = [&kept[..7], &[kept[7] + 1], &kept[8..]].concat();
    let mut bit = kept.clone();
    bit[60] ^= 4;
    for damaged in [version, bit, kept[..50].to_vec(), Vec::new(), [&kept[..], b"x"].concat()] {
        fs::write(case.kept(), damaged).unwrap();
        assert_eq!(case.open().voxels(0).unwrap(), case.sound);
        assert_eq!(fs::read(case.kept()).unwrap(), kept);
    }
}

#[test]
fn a_grid_that_cannot_be_kept_is_made_each_time() {
    let case = Case::new();
    fs::create_dir_all(case.kept().join("in the way")).unwrap();
    let set = case.open();
    for unkept in 1..3 {
        assert_eq!(set.voxels(0).unwrap(), case.sound);
        assert_eq!(set.unkept(), unkept);
    }
    assert_eq!(files(case.cache.path()).len(), 0, "nothing unfinished is left");
    // A cache deleted meanwhile is made again.
    fs::remove_dir_all(case.cache.path()).unwrap();
    assert_eq!(set.voxels(0).unwrap(), case.sound);
    assert_eq!((set.unkept(), files(case.cache.path())), (2, vec![case.kept()]));
}

#[test]
fn many_may_write_and_damage_one_file_at_once() {
    let case = Case::new();
    case.open().voxels(0).unwrap();
    let kept = fs::read(case.kept()).unwrap();
    thread::scope(|scope| {
        for k in 0..4 {
            let (case, kept) = (&case, &kept);
            scope.spawn(move || {
                let set = case.open();
                for i in 0..50 {
                    if k == 0 {
                        fs::write(case.kept(), &kept[..(7 * i) % kept.len()]).unwrap();
                    }
                    assert_eq!(set.voxels(0).unwrap(), case.sound);
                }
            });
        }
    });
    assert_eq!(files(case.cache.path()), [case.kept()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_bytes_in_the_cache_change_nothing(bytes in vec(any::<u8>(), 0..150), at in any::<sample::Index>()) {
        let case = Case::new();
        let set = case.open();
        set.voxels(0).unwrap();
        let mut kept = fs::read(case.kept()).unwrap();
        let at = at.index(kept.len());
        let end = kept.len().min(at + bytes.len());
        kept.splice(at..end, bytes);
        fs::write(case.kept(), kept).unwrap();
        prop_assert_eq!(set.voxels(0).unwrap(), case.sound);
    }
}
