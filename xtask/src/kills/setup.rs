//! The program, built, and its command lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::Options;
use super::history::{metrics_path, newest_checkpoint};
use super::job::Job;
use crate::cargo::Workspace;
use crate::mpi::Mpi;

const EXAMPLE: &str = "mnist";
/// The network and its data: as small as they may be.
const TINY: &str = "--layers 8 --channels 2 --train-samples 400 --test-samples 100 --batch 20 --seed 1 --data-ranks 1";
/// How much of a job's output an error quotes.
const TAIL: usize = 2000;

/// How the job is started.
pub struct Setup {
    pub program: PathBuf,
    pub mpi: Option<(Mpi, usize)>,
    pub arguments: Vec<String>,
    pub folder: PathBuf,
}

impl Setup {
    /// Builds the program.
    ///
    /// # Errors
    /// If that fails, or MPI is asked for and missing.
    pub fn new(options: &Options, folder: &Path) -> Result<Self> {
        let find = |n| Mpi::find().map(|mpi| (mpi, n)).map_err(|missing| anyhow!("no {missing}"));
        let mpi = options.under_mpirun.map(find).transpose()?;
        let built = Workspace { has_mpi: mpi.is_some() }.executables("build", &["--example", EXAMPLE])?;
        let program = built.into_iter().find(|built| built.name == EXAMPLE).context("cargo names no program")?.path;
        let Options { layer_ranks, epochs, checkpoint_every, .. } = options;
        let ranks = options.under_mpirun.unwrap_or(*layer_ranks);
        let own = format!("--layer-ranks {ranks} --epochs {epochs} --checkpoint-every {checkpoint_every}");
        let arguments = [TINY, &own].join(" ").split_whitespace().map(str::to_owned).collect();
        Ok(Self { program, mpi, arguments, folder: folder.to_owned() })
    }

    /// The number of ranks under mpirun.
    pub fn n_ranks(&self) -> Option<usize> {
        self.mpi.as_ref().map(|(_, n)| *n)
    }

    /// The folder of a run's results, and the file with its output.
    pub fn paths(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.folder.join(name), self.folder.join(name).with_extension("log"))
    }

    /// Starts a run, or goes on with it.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(&self, name: &str) -> Result<Job> {
        let (out, log) = self.paths(name);
        fs::create_dir_all(&out)?;
        if newest_checkpoint(&out).is_none() && metrics_path(&out).exists() {
            // Nothing to resume: the program begins again, and so do the counts here.
            fs::remove_file(metrics_path(&out))?;
        }
        let mut command = match &self.mpi {
            Some((mpi, n)) => mpi.command(*n, &self.program),
            None => Command::new(&self.program),
        };
        command.args(&self.arguments).args(["--resume", "auto", "--out"]).arg(&out);
        Job::start(command, self.n_ranks(), &out, &log)
    }

    /// An error with the end of the run's output.
    pub fn explain(&self, name: &str, error: anyhow::Error) -> anyhow::Error {
        let text = fs::read_to_string(self.paths(name).1).unwrap_or_default();
        let from = text.len().saturating_sub(TAIL);
        let from = (from..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(from);
        anyhow!("{name}: {error:#}\nits output ends with\n{}", &text[from..])
    }
}
