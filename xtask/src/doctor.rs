//! `cargo xtask doctor`: what is here, what is missing, and what to do about it.
//!
//! | file | what |
//! |---|---|
//! | `finding.rs` | one finding, for people and as JSON |
//! | `ask.rs` | asking a tool about itself, within a time limit |
//! | `toolchain.rs` | rustc, cargo, the linker |
//! | `mpi.rs` | MPI's flavour and version, mpirun, libclang |
//! | `program.rs` | building the examples that are run |
//! | `ping_pong.rs` | messages between two ranks, tried and timed |
//! | `machine.rs` | processors, memory, /dev/shm |
//! | `cgroup.rs` | the limits of a container |
//! | `gpu.rs` | graphics processors |
//! | `cuda.rs` | CUDA's toolkit, CUDA-aware MPI |
//! | `device.rs` | buffers of a device between two ranks, tried |
//! | `slurm.rs` | Slurm |

mod ask;
mod cgroup;
mod cuda;
mod device;
mod finding;
pub mod gpu;
pub mod machine;
pub mod mpi;
mod ping_pong;
mod program;
mod slurm;
mod toolchain;

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use finding::{Finding, State};

/// What is here, what is missing, and what to do about it: one line each.
///
/// Looks at Rust's tools, the linker, MPI and libclang, processors and memory, GPUs and CUDA, Slurm, and the limits of
/// a container; sends messages between two ranks, on threads and under mpirun, there also straight from a GPU if MPI
/// can. Changes nothing. Fails only if a build
/// without MPI for the processors is not possible.
#[derive(Debug, Args)]
pub struct Options {
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Build nothing, and leave out the messages between ranks
    #[arg(long)]
    no_build: bool,
}

/// Looks at everything.
pub fn run(options: &Options) -> ExitCode {
    let mut report = Report { is_quiet: options.json, findings: Vec::new() };
    report.add(toolchain::check());
    report.add(machine::check());
    let (findings, installed) = mpi::check();
    report.add(findings);
    if !options.no_build {
        report.add(ping_pong::check(&installed));
    }
    let (findings, nvidia) = gpu::check();
    report.add(findings);
    report.add(cuda::check(nvidia, installed.library.as_ref()));
    if !options.no_build {
        report.add(device::check(&installed, nvidia));
    }
    report.add(slurm::check());
    report.finish()
}

/// The findings so far; people see each as soon as it is there.
struct Report {
    is_quiet: bool,
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            if !self.is_quiet {
                println!("{}", finding.line());
            }
            self.findings.push(finding);
        }
    }

    /// The summary, and whether anything can be built.
    fn finish(self) -> ExitCode {
        let can_build = !self.findings.iter().any(Finding::is_fatal);
        if self.is_quiet {
            let findings: Vec<_> = self.findings.iter().map(Finding::json).collect();
            println!("{:#}", json!({ "can_build": can_build, "findings": findings }));
        } else {
            let count = |state| self.findings.iter().filter(|finding| finding.state == state).count();
            let counts =
                [State::Ok, State::Warning, State::Missing].map(|state| format!("{} {}", count(state), state.word()));
            let verdict = if can_build { "builds for the processors work" } else { "nothing can be built here" };
            println!("\n{}; {verdict}", counts.join(", "));
        }
        if can_build { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
