//! The example on voxels: runs, command lines to refuse, and folders like that of ModelNet10.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Refusal, Run};

const NAME: &str = "modelnet";

pub const RUNS: &[Run] = &[
    Run {
        example: NAME,
        args: &["--side=9", "--layers=8", "--train-per-class=4", "--test-per-class=2", "--epochs=1"],
        on_threads: &["--layer-ranks=3", "--data-ranks=2"],
        under_mpirun: &[2],
    },
    // Three levels, each with a grid of its own.
    Run {
        example: NAME,
        args: &["--side=8", "--layers=8", "--train-per-class=2", "--test-per-class=1", "--epochs=1", "--batch=10"],
        on_threads: &["--coarsen-space=0,1", "--fwd-levels=3", "--bwd-levels=3", "--fwd-cfactor=2", "--bwd-cfactor=2"],
        under_mpirun: &[],
    },
    Run {
        example: NAME,
        args: &["--data=SOLIDS/pyramids", "--side=8", "--layers=8", "--batch=4", "--epochs=1"],
        on_threads: &["--fill=surface"],
        under_mpirun: &[2],
    },
    Run {
        example: NAME,
        args: &["--data=SOLIDS/two-cut", "--skip-broken=2", "--side=8", "--layers=8", "--batch=4", "--epochs=1"],
        on_threads: &["--restriction=injection", "--coarsen-space=0", "--no-baseline"],
        under_mpirun: &[2],
    },
];

pub const REFUSALS: &[Refusal] = &[
    refusal(&["--layers", "0"], "layers is 0"),
    refusal(&["--channels", "0"], "channels is 0"),
    refusal(&["--side", "7"], "--side is 7: use 8 to 128"),
    refusal(&["--side", "129"], "--side is 129: use 8 to 128"),
    refusal(
        &["--side", "8", "--bwd-cfactor", "2", "--bwd-levels", "5", "--coarsen-space", "0,1,2,3"],
        "[8, 8, 8] have no points left on level 4",
    ),
    refusal(&["--layers", "4", "--layer-ranks", "5"], "ranks"),
    refusal(&["--train-per-class", "0"], "--train-per-class is 0"),
    refusal(&["--test-per-class", "0"], "--test-per-class is 0"),
    refusal(&["--cache", "voxels"], "--data"),
    refusal(&["--fill", "surface"], "--data"),
    refusal(&["--data", "/nonexistent"], "/nonexistent"),
    refusal(&["--data", "SOLIDS/no-classes"], "has folders of classes with train and test"),
    refusal(&["--data", "SOLIDS/no-tests"], "table/test: each class should have some"),
    refusal(&["--data", "SOLIDS/corner"], "chair/train/chair_1.off:8: corner \"9\" is no vertex"),
    refusal(&["--data", "SOLIDS/nan"], "chair/test/chair_0.off:4: value 1 is \"nan\""),
    refusal(&["--data", "SOLIDS/two-cut"], "chair/train/chair_0.off:7: 2 corners where the face should have 3"),
    refusal(&["--data", "SOLIDS/two-cut", "--skip-broken", "1"], "more broken files than --skip-broken 1 leaves out"),
];

const fn refusal(args: &'static [&'static str], word: &'static str) -> Refusal {
    Refusal { example: NAME, args, word }
}

const PYRAMID: &str = "OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n";

/// Makes a small set like ModelNet10, two classes with three models to train with and two to test with each, all pyramids, that
/// has what `name` says: `no-classes` (nothing), `no-tests` (of one class), `corner` (that is no vertex), `nan` (a coordinate),
/// `two-cut` (files).
///
/// # Errors
/// If it cannot be written.
pub fn write(folder: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    if name == "no-classes" {
        return Ok(());
    }
    for class in ["chair", "table"] {
        for (part, n) in [("train", 3), ("test", 2)] {
            let models = folder.join(class).join(part);
            fs::create_dir_all(&models)?;
            (0..n).try_for_each(|model| fs::write(models.join(format!("{class}_{model}.off")), PYRAMID))?;
        }
    }
    match name {
        "no-tests" => fs::remove_dir_all(folder.join("table/test"))?,
        "corner" => fs::write(folder.join("chair/train/chair_1.off"), PYRAMID.replace("0 1 3", "0 1 9"))?,
        "nan" => fs::write(folder.join("chair/test/chair_0.off"), PYRAMID.replace("\n1 0 0", "\nnan 0 0"))?,
        "two-cut" => ["chair/train/chair_0.off", "table/test/table_1.off"]
            .into_iter()
            .try_for_each(|model| fs::write(folder.join(model), &PYRAMID[..40]))?,
        _ => {}
    }
    Ok(())
}
