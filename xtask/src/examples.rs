//! The examples as tests: tiny runs that must succeed, and command lines that must be refused.

mod motion;
mod pictures;
mod solids;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cargo::{Executable, Workspace, root};
use crate::command::{Panics, fails_within, run_within};
use crate::mpi::Mpi;
use crate::step::Steps;

/// An example in a tiny configuration. `SHARED` at an argument's start is the folder of reference data; an argument
/// of that folder may have one `*` in its file name. `MOTION/NAME` and the like are those of [`FOLDERS`].
struct Run {
    example: &'static str,
    args: &'static [&'static str],
    /// Further arguments when the ranks are threads.
    on_threads: &'static [&'static str],
    /// Numbers of ranks under mpirun.
    under_mpirun: &'static [usize],
}

/// Folders of data, made when an argument has the word: with what the name behind it says.
type Make = fn(&Path, &str) -> Result<()>;
const FOLDERS: [(&str, Make); 3] =
    [("MOTION/", motion::write), ("PICTURES/", pictures::write), ("SOLIDS/", solids::write)];

/// Every example.
fn runs() -> impl Iterator<Item = &'static Run> {
    [RUNS, pictures::RUNS, solids::RUNS].into_iter().flatten()
}

/// Every command line that must be refused.
fn refusals() -> impl Iterator<Item = &'static Refusal> {
    [REFUSALS, pictures::REFUSALS, solids::REFUSALS].into_iter().flatten()
}

const RUNS: &[Run] = &[
    Run {
        example: "model_problems",
        args: &["SHARED/reference/xbraid/cases.json"],
        on_threads: &["--ranks", "1,2,3,4"],
        under_mpirun: &[2],
    },
    Run {
        example: "reference",
        args: &["SHARED/reference/torch/odenet2d_*.safetensors"],
        on_threads: &["--ranks", "1,2,3"],
        under_mpirun: &[2],
    },
    Run {
        example: "reference",
        args: &["SHARED/reference/torch/enc*.safetensors"],
        on_threads: &["--ranks", "1,2,3"],
        under_mpirun: &[2],
    },
    Run {
        example: "reference",
        args: &["SHARED/reference/torch/decoder*.safetensors"],
        on_threads: &["--ranks", "1,2,3"],
        under_mpirun: &[2],
    },
    Run {
        example: "reference",
        args: &["SHARED/reference/torch/odenet3d_*.safetensors"],
        on_threads: &["--ranks", "1,2,3"],
        under_mpirun: &[2],
    },
    Run {
        example: "reference",
        args: &["SHARED/reference/torch/gru*.safetensors"],
        on_threads: &["--ranks", "1,2,3"],
        under_mpirun: &[2],
    },
    Run {
        example: "mnist",
        args: &["--layers=8", "--channels=2", "--train-samples=200", "--test-samples=100", "--epochs=1"],
        on_threads: &[],
        under_mpirun: &[2],
    },
    Run {
        example: "mnist",
        args: &["--layers=9", "--channels=2", "--train-samples=200", "--epochs=1", "--join-intervals"],
        on_threads: &["--layer-ranks=3"],
        under_mpirun: &[2],
    },
    Run {
        example: "gum",
        args: &["--train-sentences=100", "--test-sentences=30", "--epochs=1", "--schedule=layer-parallel"],
        on_threads: &["--layer-ranks=2", "--data-ranks=2"],
        under_mpirun: &[2],
    },
    Run {
        example: "shakespeare",
        args: &["--layers=8", "--d-model=8", "--heads=2", "--length=16", "--characters=4000", "--sample=20"],
        on_threads: &["--control-every=2", "--rho-up=0.01", "--rho-down=0.005", "--schedule=layer-parallel"],
        under_mpirun: &[2],
    },
    Run {
        example: "translation",
        args: &["--layers=2", "--d-model=16", "--train-samples=200", "--test-samples=30", "--epochs=1"],
        on_threads: &["--layer-ranks=2", "--data-ranks=2"],
        under_mpirun: &[2],
    },
    Run {
        example: "uci_har",
        args: &["--steps=50", "--hidden=8", "--train-samples=60", "--test-samples=30", "--batch=20", "--epochs=1"],
        on_threads: &["--layer-ranks=3", "--data-ranks=2"],
        under_mpirun: &[2],
    },
    // Sequences of one step: no coarse level, and one rank without a word.
    Run {
        example: "uci_har",
        args: &["--steps=1", "--hidden=8", "--train-samples=60", "--test-samples=30", "--batch=20", "--epochs=1"],
        on_threads: &[],
        under_mpirun: &[],
    },
    Run {
        example: "uci_har",
        args: &["--data=MOTION/whole", "--hidden=8", "--batch=2", "--epochs=1"],
        on_threads: &[],
        under_mpirun: &[2],
    },
];

/// A command line that must fail, and a word of its message.
struct Refusal {
    example: &'static str,
    args: &'static [&'static str],
    word: &'static str,
}

const REFUSALS: &[Refusal] = &[
    Refusal { example: "mnist", args: &["--layers", "0"], word: "layer" },
    Refusal { example: "mnist", args: &["--batch", "0"], word: "batch" },
    Refusal { example: "mnist", args: &["--layer-ranks", "9", "--layers", "8"], word: "ranks" },
    Refusal { example: "mnist", args: &["--data", "/nonexistent"], word: "/nonexistent" },
    Refusal { example: "gum", args: &["--data", "/nonexistent"], word: "/nonexistent" },
    Refusal { example: "gum", args: &["--heads", "3"], word: "3 heads do not divide" },
    Refusal { example: "gum", args: &["--layers", "8", "--buffer", "4"], word: "buffer" },
    Refusal { example: "gum", args: &["--train-sentences", "0"], word: "--train-sentences is 0" },
    Refusal { example: "shakespeare", args: &["--data", "/nonexistent"], word: "/nonexistent" },
    Refusal { example: "shakespeare", args: &["--length", "0"], word: "--length is 0" },
    Refusal { example: "shakespeare", args: &["--characters", "50"], word: "take a longer text" },
    Refusal { example: "shakespeare", args: &["--prompt", "naïve"], word: "'ï' (number 3)" },
    Refusal { example: "shakespeare", args: &["--layers", "8", "--layer-ranks", "9"], word: "ranks" },
    Refusal { example: "shakespeare", args: &["--no-training"], word: "--resume or --import" },
    Refusal { example: "shakespeare", args: &["--no-training", "--resume", "/nonexistent"], word: "no checkpoint" },
    Refusal { example: "translation", args: &["--source", "Cargo.toml"], word: "--target" },
    Refusal {
        example: "translation",
        args: &["--source", "/nonexistent", "--target", "Cargo.toml"],
        word: "/nonexistent",
    },
    Refusal { example: "translation", args: &["--source", "Cargo.toml", "--target", "clippy.toml"], word: "empty" },
    Refusal {
        example: "translation",
        args: &["--source", "rustfmt.toml", "--target", "rust-toolchain.toml"],
        word: "line by line",
    },
    Refusal { example: "translation", args: &["--train-samples", "0"], word: "--train-samples is 0" },
    Refusal { example: "translation", args: &["--translate", "one"], word: "--import or --resume" },
    Refusal {
        example: "translation",
        args: &["--translate", "one zillion", "--resume", "/nonexistent"],
        word: "the word `zillion`",
    },
    Refusal {
        example: "translation",
        args: &["--translate", "one", "--resume", "/nonexistent"],
        word: "/nonexistent has no checkpoint",
    },
    Refusal { example: "translation", args: &["--coarse-operator", "mean"], word: "may span encoder and decoder" },
    Refusal { example: "uci_har", args: &["--hidden", "0"], word: "hidden features is 0" },
    Refusal { example: "uci_har", args: &["--cells", "0"], word: "cells is 0" },
    Refusal { example: "uci_har", args: &["--steps", "0"], word: "--steps is 0" },
    Refusal { example: "uci_har", args: &["--test-samples", "0"], word: "--test-samples is 0" },
    Refusal { example: "uci_har", args: &["--steps", "3", "--layer-ranks", "4"], word: "sequences of 3 steps" },
    Refusal {
        example: "uci_har",
        args: &["--coarse-input", "mean", "--bwd-cfactor", "64", "--layer-ranks", "3"],
        word: "--coarse-input mean",
    },
    Refusal { example: "uci_har", args: &["--continuity", "1"], word: "share their parameters" },
    Refusal { example: "uci_har", args: &["--data", "/nonexistent"], word: "/nonexistent" },
    Refusal { example: "uci_har", args: &["--data", "MOTION/missing"], word: "body_gyro_y_test.txt is missing" },
    Refusal { example: "uci_har", args: &["--data", "MOTION/ragged"], word: "total_acc_z_test.txt:2: 3 values" },
    Refusal { example: "uci_har", args: &["--data", "MOTION/label"], word: "y_train.txt:2: label \"7\"" },
    Refusal { example: "uci_har", args: &["--data", "MOTION/counts"], word: "y_test.txt has 2 labels" },
    Refusal { example: "reference", args: &["/nonexistent.safetensors"], word: "/nonexistent.safetensors" },
    Refusal { example: "model_problems", args: &["/nonexistent.json"], word: "/nonexistent.json" },
];

/// What happens to rank 1 of the example `fault`, and the words that must name it.
struct Fault {
    kind: &'static str,
    words: &'static [&'static str],
    /// Whether it can also happen to a thread.
    on_threads: bool,
}

const FAULTS: [Fault; 7] = [
    Fault { kind: "error", words: &["rank 1", "layer 7 is not a number"], on_threads: true },
    Fault { kind: "panic", words: &["rank 1", "layer 7 is not a number"], on_threads: true },
    Fault { kind: "abort", words: &["rank 1", "layer 7 is not a number"], on_threads: true },
    Fault { kind: "return", words: &["rank 1 has ended without sending"], on_threads: true },
    Fault { kind: "hang", words: &["rank 1 has not answered for 1 s: it hangs"], on_threads: true },
    // Each mpirun has its own words for this one, and not all are on stderr.
    Fault { kind: "kill", words: &[], on_threads: false },
    Fault { kind: "stop", words: &["rank 1 has not answered for", "it was stopped"], on_threads: false },
];
const FAULT_RANKS: usize = 3;
/// Seconds that ranks wait for one that hangs.
const FAULT_PATIENCE: &str = "1";

const RUN_LIMIT: Duration = Duration::from_secs(300);
const REFUSAL_LIMIT: Duration = Duration::from_secs(60);
const FAULT_LIMIT: Duration = Duration::from_secs(30);

/// The examples that cargo built.
pub struct Examples(Vec<Executable>);

impl Examples {
    /// Builds all examples of the workspace.
    ///
    /// # Errors
    /// If the build fails.
    pub fn build(workspace: Workspace) -> Result<Self> {
        let mut built = workspace.executables("build", &["--examples"])?;
        built.retain(|executable| executable.kind == "example");
        Ok(Self(built))
    }

    /// One step for every example, with its ranks on threads.
    ///
    /// # Errors
    /// If one fails.
    pub fn run_on_threads(&self, steps: &mut Steps) -> Result<()> {
        for run in runs() {
            self.step(steps, run, "on threads", run.on_threads, Command::new)?;
        }
        Ok(())
    }

    /// One step for every example and number of ranks under mpirun.
    ///
    /// # Errors
    /// If one fails.
    pub fn run_under_mpirun(&self, steps: &mut Steps, mpi: &Mpi) -> Result<()> {
        for run in runs() {
            for &n in run.under_mpirun {
                self.step(steps, run, &format!("under mpirun -n {n}"), &[], |path| mpi.command(n, &path))?;
            }
        }
        Ok(())
    }

    /// Runs every command line that must be refused.
    ///
    /// # Errors
    /// At the first that succeeds, panics, or says something else.
    pub fn refuse_bad_input(&self) -> Result<()> {
        let folders = tempfile::tempdir()?;
        for Refusal { example, args, word } in refusals() {
            let mut command = Command::new(self.path(example)?);
            command.args(with_folders(args, folders.path())?).current_dir(root()).env_remove("RUST_BACKTRACE");
            fails_within(&mut command, REFUSAL_LIMIT, &[word], Panics::Forbidden)?;
        }
        Ok(())
    }

    /// Runs a program whose rank 1 fails while the others wait for it, on threads or under mpirun, once for every way
    /// to fail: the job must end soon, with a message that names that rank.
    ///
    /// # Errors
    /// If the job succeeds, hangs, or says something else.
    pub fn fail_on_one_rank(&self, mpi: Option<&Mpi>) -> Result<()> {
        let path = self.path("fault")?;
        for fault in FAULTS.iter().filter(|fault| mpi.is_some() || fault.on_threads) {
            let mut command = mpi.map_or_else(|| Command::new(path), |mpi| mpi.command(FAULT_RANKS, path));
            command.args([fault.kind, FAULT_PATIENCE]).env_remove("RUST_BACKTRACE");
            fails_within(&mut command, FAULT_LIMIT, fault.words, Panics::Allowed)?;
        }
        Ok(())
    }

    /// Kills a training a few times and resumes it, on threads or under mpirun: it must lose nothing. The inner error
    /// says why this was not tried.
    ///
    /// # Errors
    /// What it lost, or how it ended instead.
    pub fn survive_kills(&self, mpi: Option<&Mpi>) -> Result<Result<(), String>> {
        let path = self.path("mnist")?;
        #[cfg(unix)]
        return crate::kills::try_a_few(path, mpi).map(Ok);
        #[cfg(not(unix))]
        return Ok(Err(format!("no signals here to kill {} with", path.display())));
    }

    fn step(
        &self,
        steps: &mut Steps,
        run: &Run,
        place: &str,
        extra: &[&str],
        start: impl FnOnce(PathBuf) -> Command,
    ) -> Result<()> {
        let outcome = steps.attempt(&format!("example {} {place}", run.example), || {
            let folders = tempfile::tempdir()?;
            let args = match arguments(&with_folders(run.args, folders.path())?, &shared()) {
                Ok(args) => args,
                Err(why) => return Ok(Err(why)),
            };
            let mut command = start(self.path(run.example)?.to_owned());
            run_within(command.args(args).args(extra).current_dir(root()), RUN_LIMIT).map(Ok)
        });
        outcome.map(drop)
    }

    fn path(&self, example: &str) -> Result<&Path> {
        let found = self.0.iter().find(|executable| executable.name == example);
        let path = found.map(|executable| executable.path.as_path());
        path.with_context(|| format!("no example is named `{example}`; adapt the tables in xtask/src/examples.rs"))
    }
}

/// Arguments with the folders of data filled in, made in `parent`.
///
/// # Errors
/// If one cannot be made.
fn with_folders(args: &[&str], parent: &Path) -> Result<Vec<String>> {
    let filled = |arg: &&str| {
        let found = FOLDERS.iter().find_map(|(kind, make)| Some((arg.split_once(kind)?, kind, make)));
        let Some(((flag, name), kind, make)) = found else { return Ok((*arg).to_owned()) };
        let folder = parent.join(kind).join(name);
        make(&folder, name)?;
        Ok(format!("{flag}{}", folder.display()))
    };
    args.iter().map(filled).collect()
}

/// Arguments with the files of reference data filled in, found in the folder `shared`.
///
/// # Errors
/// The data that is not there.
fn arguments(args: &[impl AsRef<str>], shared: &Path) -> Result<Vec<OsString>, String> {
    let mut filled = Vec::new();
    for arg in args {
        let arg = arg.as_ref();
        let Some(path) = arg.strip_prefix("SHARED/") else {
            filled.push(OsString::from(arg));
            continue;
        };
        let pattern = shared.join(path);
        let files = files_like(&pattern);
        if files.is_empty() {
            return Err(format!("no {}; set BRAIDNET_SHARED to the folder of reference data", pattern.display()));
        }
        filled.extend(files.into_iter().map(OsString::from));
    }
    Ok(filled)
}

/// The folder of reference data: `$BRAIDNET_SHARED`, or beside the workspace.
pub fn shared() -> PathBuf {
    let folder = env::var_os("BRAIDNET_SHARED").map_or_else(|| root().join("../shared"), |folder| root().join(folder));
    // Without the `..`, where the folder exists.
    folder.canonicalize().unwrap_or(folder)
}

/// The files whose path is `pattern`, in which one `*` in the file's name stands for anything; sorted.
fn files_like(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let Some((start, end)) = name.split_once('*') else {
        return if pattern.exists() { vec![pattern.to_owned()] } else { Vec::new() };
    };
    let matches = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end))
    };
    let entries = pattern.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(matches).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_data_is_found() {
        let args = |args: &[&str]| arguments(args, root());
        assert_eq!(args(&["--layers", "8"]).unwrap(), ["--layers", "8"]);
        let files = args(&["SHARED/xtask/src/ma*.rs", "SHARED/xtask/src/step.rs"]).unwrap();
        assert_eq!(files, [root().join("xtask/src/main.rs"), root().join("xtask/src/step.rs")]);
        for missing in ["SHARED/xtask/src/*.json", "SHARED/no-such-folder/*.rs", "SHARED/none.json"] {
            assert!(args(&[missing]).unwrap_err().ends_with("; set BRAIDNET_SHARED to the folder of reference data"));
        }
    }
}
