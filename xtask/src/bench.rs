//! `cargo xtask bench`: suites of measurements, with tables, pictures, and a comparison with an earlier run.
//!
//! | file | what |
//! |---|---|
//! | `suite.rs` | the suites: which networks on how many ranks |
//! | `measure.rs` | everything that a suite runs, in turns |
//! | `device.rs` | the device, and the feature that builds it |
//! | `launcher.rs` | how ranks are started |
//! | `programs.rs` | building what measures, or taking it from elsewhere, and running it |
//! | `peers.rs` | the same networks in PyTorch |
//! | `points.rs` | the solver's instructions per point |
//! | `machine.rs` | what it ran on |
//! | `results.rs` | the results of a suite, repeats merged |
//! | `ratios.rs` | speed-ups, crossovers |
//! | `gains.rs` | on a GPU, each network's best schedule, and where the gain begins and ends |
//! | `pareto.rs` | the Pareto front |
//! | `compare.rs` | what moved since an earlier run |
//! | `table.rs` | the results as Markdown |
//! | `charts.rs` | the results as pictures |
//! | `bars.rs` | the picture of computing and waiting |

mod bars;
mod charts;
mod compare;
mod device;
mod gains;
mod launcher;
mod machine;
#[cfg(test)]
mod made_up;
mod measure;
mod pareto;
mod peers;
mod points;
mod programs;
mod ratios;
mod results;
mod suite;
mod table;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cargo::{Workspace, root};
use crate::install::Tools;
use compare::Comparison;
use device::Device;
use launcher::Launcher;
use machine::Machine;
use results::Results;
use suite::Suite;

/// The exit code for arguments that cannot be.
const USAGE: u8 = 2;
/// What programs that run elsewhere were built by, beside them.
const BUILT_BY: &str = "built.json";

/// Measure, and write tables and pictures.
///
/// Builds the benches, runs them in turns, and writes OUT/SUITE.json, OUT/SUITE.md and pictures; then says what moved
/// since the earlier run, which stays as OUT/SUITE.previous.json. OUT/SUITE.jsonl has every measurement as soon as it is made. Times mean something only on a quiet machine, and only
/// ratios of one run can be compared between machines.
#[derive(Debug, Args)]
pub struct Options {
    /// What to measure
    #[arg(long, value_enum, default_value_t = Suite::Quick)]
    suite: Suite,
    /// Networks in place of the suite's: conv:LAYERSxCHANNELS, encoder:LAYERS, gru:LENGTH, blocks:LAYERS_PER_BLOCK,
    /// voxels:SIDExLAYERS, and @BATCH for another batch
    #[arg(long = "network", value_name = "CASE", value_delimiter = ',')]
    networks: Vec<String>,
    /// Numbers of ranks in place of the suite's, as 1,2,4
    #[arg(long, value_delimiter = ',', value_name = "N")]
    ranks: Vec<NonZeroUsize>,
    /// How ranks are started: threads, or a command as 'mpirun -n {ranks}' or 'srun -n {ranks}'
    #[arg(long, default_value = "threads", value_name = "COMMAND")]
    launcher: Launcher,
    /// Where tensors are: cpu, cuda, rocm, vulkan, metal or webgpu, also with a number, as cuda:0; programs are built for it
    #[arg(long, default_value = "cpu", value_name = "KIND[:N]")]
    device: Device,
    /// More features of the crate braidnet to build programs with, as cuda-nvrtc where LLVM cannot be downloaded
    #[arg(long, value_delimiter = ',', value_name = "FEATURE")]
    features: Vec<String>,
    /// Builds the programs, copies them, PyTorch's and this program (xtask) into a folder, and measures nothing; without MPI, which
    /// another machine may lack, unless --launcher starts processes
    #[arg(long, value_name = "DIR")]
    build_into: Option<PathBuf>,
    /// Runs the programs of such a folder; needs no cargo: DIR/xtask bench --built DIR
    #[arg(long, value_name = "DIR", conflicts_with_all = ["build_into", "features"])]
    built: Option<PathBuf>,
    /// How often every program is started, in turns
    #[arg(long, value_name = "N")]
    repeats: Option<NonZeroUsize>,
    /// Results of an earlier run, a SUITE.json, in place of those in OUT
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Folder of the results [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Python with PyTorch, for the suites `peers` and `gpu`
    #[arg(long, default_value = "python3", value_name = "PROGRAM")]
    python: PathBuf,
}

/// Runs the task.
pub fn run(options: &Options) -> ExitCode {
    let prepared = match prepare(options) {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(USAGE);
        }
    };
    let done = match &options.build_into {
        Some(folder) => prepared.build_into(folder),
        None => prepared.measure_and_write(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The quick suite, for the checks before a change.
///
/// # Errors
/// If a program fails; never because of a time.
pub fn quick(workspace: Workspace) -> Result<()> {
    let bench = Bench::new(Suite::Quick, workspace, default_out());
    bench.measure_and_write()
}

/// A suite with all that can be known before anything is measured.
struct Bench {
    suite: Suite,
    networks: Vec<String>,
    ranks: Vec<usize>,
    launcher: Launcher,
    device: Device,
    features: Vec<String>,
    repeats: usize,
    workspace: Workspace,
    /// The folder of programs that are built already.
    built: Option<PathBuf>,
    python: PathBuf,
    out: PathBuf,
    /// The name and the results of an earlier run that was asked for.
    earlier: Option<(PathBuf, Results)>,
}

/// What arguments mean, checked.
fn prepare(options: &Options) -> Result<Bench> {
    let earlier =
        options.compare.clone().map(|path| Results::read(&path).map(|results| (path, results))).transpose()?;
    let tools = Tools::find();
    let mpi = tools.mpi();
    if options.launcher != Launcher::Threads
        && let Err(why) = &mpi
    {
        anyhow::bail!("--launcher starts processes, which need MPI: {why}; {}", tools.how_to_install());
    }
    let out = options.out.as_ref().map(std::path::absolute).transpose().context("--out")?;
    let is_for_elsewhere = options.build_into.is_some() && options.launcher == Launcher::Threads;
    let workspace = Workspace { has_mpi: mpi.is_ok() && !is_for_elsewhere };
    let bench = Bench::new(options.suite, workspace, out.unwrap_or_else(default_out));
    let given = |given: &[String], or: Vec<String>| if given.is_empty() { or } else { given.to_vec() };
    let mut ranks: Vec<usize> = options.ranks.iter().map(|n| n.get()).collect();
    ranks.sort_unstable();
    ranks.dedup();
    Ok(Bench {
        networks: given(&options.networks, bench.networks),
        ranks: if ranks.is_empty() { bench.ranks } else { ranks },
        launcher: options.launcher.clone(),
        device: options.device.clone(),
        features: options.features.clone(),
        built: options.built.clone(),
        repeats: options.repeats.map_or(bench.repeats, NonZeroUsize::get),
        python: options.python.clone(),
        earlier,
        ..bench
    })
}

fn default_out() -> PathBuf {
    root().join("target/bench")
}

impl Bench {
    /// A suite as it is unless told.
    fn new(suite: Suite, workspace: Workspace, out: PathBuf) -> Self {
        Self {
            suite,
            networks: suite.networks(),
            ranks: suite.ranks(),
            launcher: Launcher::Threads,
            device: Device::cpu(),
            features: Vec::new(),
            repeats: suite.repeats(),
            workspace,
            built: None,
            python: "python3".into(),
            out,
            earlier: None,
        }
    }

    /// Builds the programs, and leaves them in a folder with what they were built by.
    fn build_into(&self, folder: &Path) -> Result<()> {
        self.programs()?.copy_into(folder)?;
        let path = folder.join(BUILT_BY);
        let text = serde_json::to_string_pretty(&Machine::find(None, self.workspace.has_mpi))? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{0}: run {0}/xtask bench --built {0} --device {1}", folder.display(), self.device);
        Ok(())
    }

    /// Measures, and writes the results; what could not be measured is an error behind them.
    fn measure_and_write(&self) -> Result<()> {
        let (results, n_failed) = self.measure()?;
        self.write(&results)?;
        ensure!(n_failed == 0, "starts that failed: {n_failed}; the notes of the results say which, and why");
        Ok(())
    }

    /// Writes everything, and prints the tables and what moved.
    fn write(&self, results: &Results) -> Result<()> {
        fs::create_dir_all(&self.out).with_context(|| format!("cannot create the folder {}", self.out.display()))?;
        let [json, page, previous] =
            ["json", "md", "previous.json"].map(|extension| self.out.join(self.suite.name()).with_extension(extension));
        let earlier = match &self.earlier {
            Some(earlier) => Some(earlier.clone()),
            None => read_if_any(&json).map(|results| (previous.clone(), results)),
        };
        if json.exists() {
            fs::rename(&json, &previous).with_context(|| format!("cannot rename {}", json.display()))?;
        }
        results.write(&json)?;
        let pictures = charts::draw(results)?;
        let names: Vec<_> = pictures.iter().map(|(picture, title)| (picture.name.clone(), title.clone())).collect();
        for (picture, _) in &pictures {
            picture.write(&self.out)?;
        }
        let text = table::page(results, &names);
        fs::write(&page, &text).with_context(|| format!("cannot write {}", page.display()))?;
        println!("\n{text}");
        if let Some((path, earlier)) = earlier {
            println!("{}", Comparison::of(&earlier, results).markdown(&path.display().to_string()));
        }
        println!("{}\n{}", json.display(), page.display());
        Ok(())
    }
}

/// The results in a file, if it is there. What cannot be read is said, and does not spoil a run that is done.
fn read_if_any(path: &Path) -> Option<Results> {
    if !path.exists() {
        return None;
    }
    Results::read(path).inspect_err(|error| println!("not compared with the earlier run: {error:#}")).ok()
}

#[cfg(test)]
mod tests;
