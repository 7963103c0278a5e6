//! `cargo xtask bench`: suites of measurements, with tables, pictures, and a comparison with an earlier run.
//!
//! | file | what |
//! |---|---|
//! | `suite.rs` | the suites: which networks on how many ranks |
//! | `launcher.rs` | how ranks are started |
//! | `programs.rs` | building and running what measures |
//! | `peers.rs` | the same networks in PyTorch |
//! | `points.rs` | the solver's instructions per point |
//! | `machine.rs` | what it ran on |
//! | `results.rs` | the results of a suite, repeats merged |
//! | `ratios.rs` | speed-ups, crossovers |
//! | `pareto.rs` | the Pareto front |
//! | `compare.rs` | what moved since an earlier run |
//! | `table.rs` | the results as Markdown |
//! | `charts.rs` | the results as pictures |
//! | `bars.rs` | the picture of computing and waiting |

mod bars;
mod charts;
mod compare;
mod launcher;
mod machine;
#[cfg(test)]
mod made_up;
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
use launcher::Launcher;
use machine::Machine;
use programs::{Collector, Programs};
use results::Results;
use suite::Suite;

/// The exit code for arguments that cannot be.
const USAGE: u8 = 2;

/// Measure, and write tables and pictures.
///
/// Builds the benches, runs them in turns, and writes OUT/SUITE.json, OUT/SUITE.md and pictures; then says what moved
/// since the earlier run, which stays as OUT/SUITE.previous.json. Times mean something only on a quiet machine, and only
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
    /// Where tensors are; this build has cpu only
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: String,
    /// How often every program is started, in turns
    #[arg(long, value_name = "N")]
    repeats: Option<NonZeroUsize>,
    /// Results of an earlier run, a SUITE.json, in place of those in OUT
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Folder of the results [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Python with PyTorch, for the suite `peers`
    #[arg(long, default_value = "python3", value_name = "PROGRAM")]
    python: PathBuf,
}

/// A device that is built.
fn device(name: &str) -> Result<String, String> {
    if name == "cpu" { Ok(name.to_owned()) } else { Err("this build has no other device than cpu".to_owned()) }
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
    match prepared.measure().and_then(|results| prepared.write(&results)) {
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
    bench.write(&bench.measure()?)
}

/// A suite with all that can be known before anything is measured.
struct Bench {
    suite: Suite,
    networks: Vec<String>,
    ranks: Vec<usize>,
    launcher: Launcher,
    device: String,
    repeats: usize,
    workspace: Workspace,
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
    let bench = Bench::new(options.suite, Workspace { has_mpi: mpi.is_ok() }, out.unwrap_or_else(default_out));
    let given = |given: &[String], or: Vec<String>| if given.is_empty() { or } else { given.to_vec() };
    let mut ranks: Vec<usize> = options.ranks.iter().map(|n| n.get()).collect();
    ranks.sort_unstable();
    ranks.dedup();
    Ok(Bench {
        networks: given(&options.networks, bench.networks),
        ranks: if ranks.is_empty() { bench.ranks } else { ranks },
        launcher: options.launcher.clone(),
        device: options.device.clone(),
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
            networks: suite.networks().iter().map(|&name| name.to_owned()).collect(),
            ranks: suite.ranks(),
            launcher: Launcher::Threads,
            device: "cpu".to_owned(),
            repeats: suite.repeats(),
            workspace,
            python: "python3".into(),
            out,
            earlier: None,
        }
    }

    /// Builds and runs everything.
    fn measure(&self) -> Result<Results> {
        let torch = machine::torch(&self.python);
        let programs = Programs::build(self.workspace)?;
        let mut collector = Collector::new()?;
        let mut notes = Vec::new();
        for repeat in 0..self.repeats {
            println!("\nturn {} of {}", repeat + 1, self.repeats);
            let cases = self.run_study(&programs, repeat == 0, &mut collector)?;
            if self.suite == Suite::Peers {
                collector.run(&mut std::process::Command::new(&programs.layer))?;
                if torch.is_some() {
                    notes = peers::run(&self.python, &cases, &mut collector)?;
                }
            }
        }
        if self.suite == Suite::Peers && torch.is_none() {
            notes
                .push(format!("no PyTorch: {} cannot import torch; name another with --python", self.python.display()));
        }
        if self.launcher != Launcher::Threads && !self.ranks.contains(&1) {
            notes.push("one rank was timed beside processes that wait; --ranks 1,... times it alone".to_owned());
        }
        if self.suite == Suite::Quick {
            notes.extend(points::count(&programs, &mut collector)?);
        }
        let measurements = results::merge(collector.finish());
        ensure!(
            measurements.iter().all(|one| one.device == self.device),
            "a bench ran on another device than asked for"
        );
        let machine = Machine::find(torch, self.workspace.has_mpi);
        Ok(Results { suite: self.suite.name().to_owned(), machine, notes, measurements })
    }

    /// One start of the bench `study` per number of processes; the cases that it measured.
    fn run_study(&self, programs: &Programs, is_first: bool, collector: &mut Collector) -> Result<Vec<String>> {
        let mut cases = Vec::new();
        for (start, ranks) in self.launcher.starts(&self.ranks).into_iter().enumerate() {
            let most = ranks.iter().copied().max().unwrap_or(1);
            let numbers: Vec<String> = ranks.iter().map(usize::to_string).collect();
            let mut command = self.launcher.command(&programs.study, most);
            command.args(["--network", &self.networks.join(","), "--ranks", &numbers.join(",")]);
            command.args(self.suite.study_options(is_first, self.launcher == Launcher::Threads));
            let measured = collector.run(&mut command)?;
            cases.extend(measured.iter().map(|one| one.case.clone()));
            // What needs fewer ranks was measured by an earlier start, without processes that only wait.
            let n = measured.len();
            collector.retain_last(n, |one| start == 0 || ranks.contains(&one.ranks));
        }
        cases.sort();
        cases.dedup();
        Ok(cases)
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
