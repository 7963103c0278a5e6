//! PyTorch's networks, one file a test, by the sequential schedule and by MGRIT iterated to stagnation.

use std::env;
use std::path::{Path, PathBuf};

use braidnet::prelude::*;

use crate::given::{device, given};
use crate::reference::{Family, File, compare, schedules};

/// PyTorch's files, if they are on this machine: below `BRAIDNET_SHARED`, or beside the workspace.
fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = env::var_os("BRAIDNET_SHARED").map_or_else(beside, PathBuf::from);
    let folder = shared.join("reference/torch");
    if !folder.is_dir() {
        println!("skipped: no folder {}", folder.display());
        return None;
    }
    Some(folder)
}

/// Loss, output and every gradient of a file, by all schedules.
fn agrees(name: &str) {
    let (Some(spec), Some(folder)) = (given(), folder()) else { return };
    let file = File::read(&folder.join(name).with_extension("safetensors")).unwrap();
    let (family, device) = (Family::of(&file).unwrap(), device(spec, 0));
    let mut failures = Vec::new();
    for (schedule_name, schedule) in schedules() {
        let compared = compare(&file, &family, &schedule, (&Communicator::alone(), &device)).unwrap();
        let outcome = compared.unwrap();
        let line = format!("{name:<16} {schedule_name:<36} {outcome}");
        println!("{line}");
        if !outcome.passes() {
            failures.push(line);
        }
    }
    assert!(failures.is_empty(), "{spec} differs from PyTorch:\n{}", failures.join("\n"));
}

macro_rules! tests_of_files {
    ($($name:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                agrees(stringify!($name));
            }
        )*
    };
}

tests_of_files! {
    blocks_3x4
    decoder_only_8
    encdec_4_4
    encoder_8
    gru_16
    odenet2d_16
    odenet2d_8
    odenet3d_8
}

#[test]
fn every_file_has_its_test() {
    let Some(folder) = folder() else { return };
    let paths = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    let mut names: Vec<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, FILES);
}
