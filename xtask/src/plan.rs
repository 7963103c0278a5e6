//! `cargo xtask plan`: the executable `plan` of the benches, built as all else is.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo::{Workspace, root};
use crate::command::{Panics, cannot_start, fails_within, run_within, show};
use crate::install::Tools;

const PROGRAM: &str = "plan";

/// Predict step times and propose schedules; `cargo xtask plan --help` is the help of the program itself.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// Arguments of the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// Builds the program and runs it where the user is; its exit code.
pub fn run(options: &Options) -> ExitCode {
    build_and_run(options).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// How long a check may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Plans from the machine files that are there, measures a small network, and refuses what cannot be planned.
///
/// # Errors
/// If the program does something else.
pub fn check(workspace: Workspace) -> Result<()> {
    let program = build(workspace)?;
    let plan = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(root()).args(args).env_remove("RUST_BACKTRACE");
        command
    };
    for file in ["benches/machines/tiny-imagenet-a100.toml", "benches/machines/gum-gpu.toml"] {
        run_within(&mut plan(&["--machine", file, "--ranks=1,4", "--variants=seq,dp,lp:3/4/2/1+join"]), LIMIT)?;
    }
    let small = ["--network=conv:8x2@4", "--ranks=1,2", "--rounds=1", "--validate", "--errors-of=1"];
    run_within(&mut plan(&small), LIMIT)?;
    let refused: [(&[&str], &str); 3] = [
        (&["--network=conv:8x2", "--ranks=0"], "ranks"),
        (&["--network=mlp:3", "--ranks=2"], "conv:LAYERSxCHANNELS"),
        (&["--machine=README.md", "--ranks=2"], "README.md"),
    ];
    refused.iter().try_for_each(|(args, word)| fails_within(&mut plan(args), LIMIT, &[word], Panics::Forbidden))
}

/// The path of the program.
fn build(workspace: Workspace) -> Result<PathBuf> {
    let built = workspace.executables("build", &["--bin", PROGRAM])?;
    let program = built.into_iter().find(|executable| executable.name == PROGRAM && executable.kind == "bin");
    Ok(program.with_context(|| format!("cargo built no `{PROGRAM}`"))?.path)
}

fn build_and_run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace { has_mpi: Tools::find().mpi().is_ok() };
    let mut command = Command::new(build(workspace)?);
    command.args(&options.args);
    show(&command);
    let status = command.status().with_context(|| cannot_start(&command))?;
    // A program that a signal ended has no code.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
