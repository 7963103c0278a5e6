//! Folders of motion signals with something wrong in each.

use std::fs;
use std::path::Path;

use anyhow::Result;

/// A small set like UCI HAR: 3 windows of 4 steps in either part.
const WINDOWS: [&str; 3] = ["0.1 -0.2 3e-1 0.4", "1 2 3 4", "-1e-3 0 0.5 -0.25"];
const LABELS: &str = "1\n6\n3\n";
const SENSORS: [&str; 3] = ["body_acc", "body_gyro", "total_acc"];

/// Makes a folder that has what `name` says: `missing` (a file), `ragged` (a line), `label` (7), `counts` (of labels and
/// windows).
///
/// # Errors
/// If it cannot be written.
pub fn write(folder: &Path, name: &str) -> Result<()> {
    for part in ["train", "test"] {
        write_part(&folder.join(part), part)?;
    }
    let signals = folder.join("test").join("Inertial Signals");
    match name {
        "missing" => fs::remove_file(signals.join("body_gyro_y_test.txt"))?,
        "ragged" => fs::write(signals.join("total_acc_z_test.txt"), "1 2 3 4\n1 2 3\n1 2 3 4\n")?,
        "label" => fs::write(folder.join("train").join("y_train.txt"), "1\n7\n3\n")?,
        "counts" => fs::write(folder.join("test").join("y_test.txt"), "1\n2\n")?,
        _ => {}
    }
    Ok(())
}

fn write_part(folder: &Path, part: &str) -> Result<()> {
    let signals = folder.join("Inertial Signals");
    fs::create_dir_all(&signals)?;
    fs::write(folder.join(format!("y_{part}.txt")), LABELS)?;
    for sensor in SENSORS {
        for axis in ["x", "y", "z"] {
            fs::write(signals.join(format!("{sensor}_{axis}_{part}.txt")), WINDOWS.join("\n"))?;
        }
    }
    Ok(())
}
