//! Building what measures or taking it from elsewhere, running it, and collecting what it measured.

use std::env::{self, consts::EXE_EXTENSION};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use braidnet_monitor::Measurement;
use tempfile::TempDir;

use crate::cargo::{Workspace, root};
use crate::command::capture_within;

/// The benches whose measurements are collected.
const BENCHES: [&str; 2] = ["study", "layer"];
/// A small program for counting instructions.
const POINTS: &str = "points";
/// Where PyTorch's programs are in the workspace, and in a folder of copies.
const PEERS: &str = "benches/peers";
const PEERS_COPY: &str = "peers";
/// How long one start may take: a bench that hangs must end some day.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// The programs, built.
#[derive(Debug)]
pub struct Programs {
    /// Training steps.
    pub study: PathBuf,
    /// Single layers.
    pub layer: PathBuf,
    /// The solver without a network.
    pub points: PathBuf,
    /// The folder of PyTorch's programs.
    pub peers: PathBuf,
}

impl Programs {
    /// Builds them all at once, with more features of `braidnet`.
    ///
    /// # Errors
    /// If the build fails.
    pub fn build(workspace: Workspace, features: &[&str]) -> Result<Self> {
        let features: Vec<String> = features.iter().map(|feature| format!("braidnet/{feature}")).collect();
        let features = features.join(",");
        let benches = BENCHES.iter().flat_map(|name| ["--bench", name]);
        let mut options: Vec<&str> = benches.chain(["--example", POINTS]).collect();
        if !features.is_empty() {
            options.extend(["--features", &features]);
        }
        let built = workspace.executables("build", &options)?;
        let path = |name: &str| {
            let found = built.iter().find(|executable| executable.name == name);
            found.map(|executable| executable.path.clone()).with_context(|| format!("cargo built no `{name}`"))
        };
        let [study, layer] = BENCHES.map(path);
        Ok(Self { study: study?, layer: layer?, points: path(POINTS)?, peers: root().join(PEERS) })
    }

    /// Those that [`copy_into`](Self::copy_into) left in a folder.
    ///
    /// # Errors
    /// If one is missing.
    pub fn find(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let path = |name: &str| {
            let path = folder.join(name).with_extension(EXE_EXTENSION);
            ensure!(path.is_file(), "{} is missing; --build-into DIR puts it there", path.display());
            Ok(path)
        };
        let [study, layer] = BENCHES.map(path);
        Ok(Self { study: study?, layer: layer?, points: path(POINTS)?, peers: folder.join(PEERS_COPY) })
    }

    /// Copies them, PyTorch's programs and this program into a folder, to be run where there is no cargo.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn copy_into(&self, folder: &Path) -> Result<()> {
        let peers = folder.join(PEERS_COPY);
        fs::create_dir_all(&peers).with_context(|| format!("cannot create the folder {}", peers.display()))?;
        let copy = |from: &Path, to: PathBuf| {
            fs::copy(from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
        };
        let own = env::current_exe().context("this program has no path")?;
        let [study, layer] = BENCHES;
        for (from, name) in
            [(&self.study, study), (&self.layer, layer), (&self.points, POINTS), (&own, env!("CARGO_PKG_NAME"))]
        {
            copy(from, folder.join(name).with_extension(EXE_EXTENSION))?;
        }
        for entry in fs::read_dir(&self.peers).with_context(|| format!("cannot read {}", self.peers.display()))? {
            let path = entry?.path();
            if let (Some(name), true) = (path.file_name(), path.extension().is_some_and(|extension| extension == "py"))
            {
                copy(&path, peers.join(name))?;
            }
        }
        Ok(())
    }
}

/// Runs programs and keeps their measurements.
#[derive(Debug)]
pub struct Collector {
    folder: TempDir,
    log: Option<PathBuf>,
    measurements: Vec<Measurement>,
}

impl Collector {
    /// Nothing measured yet. What will be is also written to `log` at once, for the case that the run is cut off; what an
    /// earlier run wrote there is lost.
    ///
    /// # Errors
    /// If there is no place for temporary files, or the log is there and cannot be removed.
    pub fn new(log: Option<PathBuf>) -> Result<Self> {
        if let Some(path) = log.as_ref().filter(|path| path.exists()) {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let folder = tempfile::tempdir().context("no temporary folder")?;
        Ok(Self { folder, log, measurements: Vec::new() })
    }

    /// Runs a program with `--json FILE` and keeps what it measured; how many measurements that are.
    ///
    /// # Errors
    /// If it fails, with its last lines; if it measures nothing.
    pub fn run(&mut self, command: &mut Command) -> Result<&[Measurement]> {
        let file = self.folder.path().join("measured.jsonl");
        command.arg("--json").arg(&file);
        let program = command.get_program().display().to_string();
        let start = Instant::now();
        capture(command)?;
        ensure!(file.exists(), "{program} wrote no measurements");
        let measured = Measurement::read(&file)?;
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        if let Some(log) = &self.log {
            measured.iter().try_for_each(|one| one.append(log))?;
        }
        println!("{} measurements in {:.1} s", measured.len(), start.elapsed().as_secs_f64());
        let before = self.measurements.len();
        self.measurements.extend(measured);
        Ok(self.measurements.get(before..).unwrap_or_default())
    }

    /// Forgets those of the last `n` measurements that are not to be kept.
    pub fn retain_last(&mut self, n: usize, keep: impl Fn(&Measurement) -> bool) {
        let last = self.measurements.split_off(self.measurements.len().saturating_sub(n));
        self.measurements.extend(last.into_iter().filter(keep));
    }

    /// Keeps a measurement that was made elsewhere.
    pub fn keep(&mut self, measurement: Measurement) {
        self.measurements.push(measurement);
    }

    /// All measurements, those of one thing not yet merged.
    pub fn finish(self) -> Vec<Measurement> {
        self.measurements
    }

    /// A place for files that nobody needs later.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Runs a command in the workspace's root; what it wrote.
///
/// # Errors
/// If it fails, with its last lines.
pub fn capture(command: &mut Command) -> Result<String> {
    capture_within(command.current_dir(root()), LIMIT)
}

#[cfg(test)]
mod tests {
    use super::super::made_up::timed;
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        // The options `--json FILE` become $1 and $2.
        command.args(["-c", script, "sh"]);
        command
    }

    #[test]
    fn measurements_are_collected() {
        let log = tempfile::tempdir().unwrap();
        let log = log.path().join("strong.jsonl");
        fs::write(&log, "of an earlier run").unwrap();
        let mut collector = Collector::new(Some(log.clone())).unwrap();
        let line = serde_json::to_string(&timed("seq", 1, 0.25)).unwrap();
        for _ in 0..2 {
            let measured = collector.run(&mut shell(&format!("echo '{line}' >> $2"))).unwrap();
            assert_eq!(measured, [timed("seq", 1, 0.25)]);
        }
        collector.retain_last(1, |one| one.ranks > 1);
        assert_eq!(collector.finish(), [timed("seq", 1, 0.25)]);
        assert_eq!(Measurement::read(&log).unwrap(), [timed("seq", 1, 0.25), timed("seq", 1, 0.25)]);
    }

    #[test]
    fn copies_are_found_where_all_are() {
        let folder = tempfile::tempdir().unwrap();
        let error = Programs::find(folder.path()).unwrap_err().to_string();
        assert!(error.contains("study") && error.contains("--build-into"), "{error}");
        let own = env::current_exe().unwrap();
        let programs = Programs { study: own.clone(), layer: own.clone(), points: own, peers: root().join(PEERS) };
        programs.copy_into(&folder.path().join("new")).unwrap();
        let found = Programs::find(&folder.path().join("new")).unwrap();
        assert!(found.study.is_file() && found.peers.join("common.py").is_file());
        assert!(folder.path().join("new/xtask").with_extension(EXE_EXTENSION).is_file());
    }

    #[test]
    fn failures_are_told_with_the_last_lines() {
        let mut collector = Collector::new(None).unwrap();
        let script = "for n in $(seq 100); do echo line $n; done; echo no memory >&2; exit 3";
        let error = format!("{:#}", collector.run(&mut shell(script)).unwrap_err());
        assert!(error.contains("exit status: 3") && error.contains("line 100\nno memory"), "{error}");
        assert!(!error.contains("line 50\n"), "{error}");
        let error = format!("{:#}", collector.run(&mut shell("true")).unwrap_err());
        assert_eq!(error, "sh wrote no measurements");
        let error = format!("{:#}", collector.run(&mut shell("echo {} > $2")).unwrap_err());
        assert!(error.contains("line 1: not a measurement"), "{error}");
    }
}
