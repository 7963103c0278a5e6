//! The program, and its command lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::Options;
use super::history::{metrics_path, newest_checkpoint};
use super::job::Job;
use super::layout::Layout;
use crate::cargo::Workspace;
use crate::mpi::Mpi;

const EXAMPLE: &str = "mnist";
/// The network and its data: as small as they may be.
const TINY: &str = "--layers 8 --channels 2 --train-samples 400 --test-samples 100 --batch 20 --seed 1";
/// Steps in the timeline of the run that nothing disturbs.
const TRACE_STEPS: &str = "20";
/// How much of a job's output an error quotes.
const TAIL: usize = 2000;

/// How the job is started.
pub struct Setup {
    pub program: PathBuf,
    pub mpi: Option<Mpi>,
    pub arguments: Vec<String>,
    pub folder: PathBuf,
}

/// The program to train with, built with MPI where that is there, unless it is built already; and MPI if it is needed.
///
/// # Errors
/// If the build fails, or MPI is needed and missing.
pub fn prepare(options: &Options) -> Result<(PathBuf, Option<Mpi>)> {
    let mpi = Mpi::find();
    let program = match &options.program {
        Some(program) => program.canonicalize().with_context(|| format!("no program {}", program.display()))?,
        None => build(Workspace { has_mpi: mpi.is_ok() })?,
    };
    let is_needed = options.layouts.iter().any(|layout| layout.under_mpirun);
    Ok((program, if is_needed { Some(mpi.map_err(|missing| anyhow!("no {missing}"))?) } else { None }))
}

fn build(workspace: Workspace) -> Result<PathBuf> {
    let built = workspace.executables("build", &["--example", EXAMPLE])?;
    Ok(built.into_iter().find(|built| built.name == EXAMPLE).context("cargo names no program")?.path)
}

impl Setup {
    /// The program with the arguments that all starts have.
    pub fn new(options: &Options, program: PathBuf, mpi: Option<Mpi>, folder: &Path) -> Self {
        let own = format!("--epochs {} --checkpoint-every {}", options.epochs, options.checkpoint_every);
        let arguments = [TINY, &own].join(" ").split_whitespace().map(str::to_owned).collect();
        Self { program, mpi, arguments, folder: folder.to_owned() }
    }

    /// The folder of a run's results, and the file with its output.
    pub fn paths(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.folder.join(name), self.folder.join(name).with_extension("log"))
    }

    /// Starts a run, or goes on with it.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(&self, name: &str, layout: Layout) -> Result<Job> {
        self.start_with(name, layout, &[])
    }

    /// Starts a run that writes a timeline to its folder of results.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_traced(&self, name: &str, layout: Layout) -> Result<Job> {
        let folder = self.paths(name).0.display().to_string();
        self.start_with(name, layout, &["--trace", &folder, "--trace-steps", TRACE_STEPS])
    }

    fn start_with(&self, name: &str, layout: Layout, more: &[&str]) -> Result<Job> {
        let (out, log) = self.paths(name);
        fs::create_dir_all(&out)?;
        if newest_checkpoint(&out).is_none() && metrics_path(&out).exists() {
            // Nothing to resume: the program begins again, and so do the counts here.
            fs::remove_file(metrics_path(&out))?;
        }
        let mut command = match layout.n_processes() {
            Some(n) => self.mpi.as_ref().context("no MPI was found")?.command(n, &self.program),
            None => Command::new(&self.program),
        };
        let ranks = [layout.layer_ranks.to_string(), layout.data_ranks.to_string()];
        command.args(&self.arguments).args(["--layer-ranks", &ranks[0], "--data-ranks", &ranks[1]]);
        command.args(more).args(["--resume", "auto", "--out"]).arg(&out);
        Job::start(command, layout.n_processes(), &out, &log)
    }

    /// An error with the end of the run's output.
    pub fn explain(&self, name: &str, error: anyhow::Error) -> anyhow::Error {
        let text = fs::read_to_string(self.paths(name).1).unwrap_or_default();
        let from = text.len().saturating_sub(TAIL);
        let from = (from..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(from);
        anyhow!("{name}: {error:#}\nits output ends with\n{}", &text[from..])
    }
}
