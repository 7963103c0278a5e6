//! Cargo's command lines, and the programs that it built.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{cannot_start, judge, show};

/// The workspace's root; on a machine without it, for a program built elsewhere, the current folder.
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        // Set by `cargo run`; the other one is right unless the workspace was moved after the build.
        let own = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let own = PathBuf::from(own);
        let root = own.parent().map(Path::to_owned).unwrap_or(own);
        if root.is_dir() { root } else { env::current_dir().unwrap_or(root) }
    });
    &ROOT
}

/// A program that cargo built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// The target's name, for instance an example's.
    pub name: String,
    /// What kind of target, in cargo's words: `test`, `example`, `bin`.
    pub kind: String,
    /// The folder of its package.
    pub package: PathBuf,
    /// The file.
    pub path: PathBuf,
}

impl Executable {
    /// The package's name, which is its folder's.
    pub fn package_name(&self) -> String {
        self.package.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// How the whole workspace is built: always in release mode and with one set of features, so that every dependency
/// is compiled once to be checked and once to be run.
#[derive(Debug, Clone, Copy)]
pub struct Workspace {
    /// Whether the crates are built with MPI.
    pub has_mpi: bool,
}

impl Workspace {
    /// `cargo TASK` on the whole workspace.
    pub fn command(self, task: &str, options: &[&str]) -> Command {
        let mut command = cargo(task, &["--release", "--workspace"]);
        let mpi = if self.has_mpi { ",braidnet/mpi" } else { "" };
        command.args(["--features", &format!("braidnet/tensorboard{mpi}")]);
        command.args(options);
        command
    }

    /// Builds with a cargo task, and returns the programs.
    ///
    /// # Errors
    /// If the build fails; the error says how to repeat it.
    pub fn executables(self, task: &str, options: &[&str]) -> Result<Vec<Executable>> {
        let mut command = self.command(task, options);
        command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
        show(&command);
        let mut child = command.spawn().with_context(|| cannot_start(&command))?;
        let mut executables = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                executables.extend(executable(&line?));
            }
        }
        judge(&command, child.wait()?)?;
        Ok(executables)
    }
}

/// `cargo TASK` in the workspace's root.
pub fn cargo(task: &str, options: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.arg(task).args(options).current_dir(root());
    command
}

/// The program that one of cargo's JSON messages announces.
fn executable(line: &str) -> Option<Executable> {
    let message: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| message.pointer(pointer)?.as_str().map(str::to_owned);
    if text("/reason")? != "compiler-artifact" {
        return None;
    }
    Some(Executable {
        name: text("/target/name")?,
        kind: text("/target/kind/0")?,
        package: Path::new(&text("/manifest_path")?).parent()?.to_owned(),
        path: text("/executable")?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_read_from_messages() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/w/crates/braidnet-comm/Cargo.toml",
            "target":{"kind":["test"],"name":"ranks"},"executable":"/t/release/deps/ranks-1"}"#;
        let ranks = executable(line).unwrap();
        assert_eq!(ranks.package_name(), "braidnet-comm");
        assert_eq!((ranks.name.as_str(), ranks.kind.as_str()), ("ranks", "test"));
        assert_eq!(ranks.path, Path::new("/t/release/deps/ranks-1"));
        assert_eq!(executable(&line.replace(r#""/t/release/deps/ranks-1""#, "null")), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(executable("not a message"), None);
    }

    #[test]
    fn the_root_holds_this_package() {
        assert!(root().join("xtask/src/cargo.rs").is_file());
    }
}
