//! `cargo xtask plan`: the executable `plan` of the benches, built as all else is.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo::Workspace;
use crate::command::{cannot_start, show};
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

fn build_and_run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace { has_mpi: Tools::find().mpi().is_ok() };
    let built = workspace.executables("build", &["--bin", PROGRAM])?;
    let program = built.iter().find(|executable| executable.name == PROGRAM && executable.kind == "bin");
    let mut command = Command::new(&program.with_context(|| format!("cargo built no `{PROGRAM}`"))?.path);
    command.args(&options.args);
    show(&command);
    let status = command.status().with_context(|| cannot_start(&command))?;
    // A program that a signal ended has no code.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
