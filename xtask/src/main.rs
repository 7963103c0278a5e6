//! The tasks of this workspace, as `cargo xtask TASK`.
//!
//! | file | what |
//! |---|---|
//! | `test.rs` | the steps of `cargo xtask test`, in order |
//! | `step.rs` | one step: heading, duration, outcome; the table at the end |
//! | `command.rs` | one command: shown, run, stopped when it takes too long, or captured |
//! | `cargo.rs` | cargo's command lines, and the programs that it built |
//! | `mpi.rs` | finding MPI, and command lines of `mpirun` |
//! | `device.rs` | `cargo xtask test --device`: tests on given devices |
//! | `libclang.rs` | finding libclang |
//! | `install.rs` | installing what a build with MPI lacks |
//! | `doctor.rs` | `cargo xtask doctor`: what is here, what is missing, and what to do about it |
//! | `kills.rs` | `cargo xtask kills`: training that is killed at random moments and resumed loses nothing |
//! | `bench.rs` | `cargo xtask bench`: suites of measurements, their tables and pictures, and what moved |
//! | `plan.rs` | `cargo xtask plan`: predicted step times and proposed schedules |
//! | `report.rs` | `cargo xtask report`: the curves and the schedule of training runs as pictures |
//! | `examples.rs` | the tables of examples to run, and of command lines that must be refused |

mod bench;
mod cargo;
mod command;
mod device;
mod doctor;
mod examples;
mod install;
#[cfg(unix)]
mod kills;
mod libclang;
mod mpi;
mod plan;
mod report;
mod step;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Bench(bench::Options),
    Doctor(doctor::Options),
    #[cfg(unix)]
    Kills(kills::Options),
    Plan(plan::Options),
    Report(report::Options),
    Test(test::Options),
}

fn main() -> ExitCode {
    match Cli::parse().task {
        Task::Bench(options) => bench::run(&options),
        Task::Doctor(options) => doctor::run(&options),
        #[cfg(unix)]
        Task::Kills(options) => kills::run(&options),
        Task::Plan(options) => plan::run(&options),
        Task::Report(options) => report::run(&options),
        Task::Test(options) => test::run_steps(&options),
    }
}
