//! Messages between two ranks, tried and timed: on threads and under mpirun.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::ask::{Answer, ask_within};
use super::finding::Finding;
use super::mpi::{Installed, Library};
use super::program::build;
use crate::mpi::Mpi;

const EXAMPLE: &str = "ping_pong";
/// How long the messages may take.
const RUN_LIMIT: Duration = Duration::from_secs(120);

const ON_THREADS: &str = "threads";
const UNDER_MPIRUN: &str = "mpirun";

/// Builds the example and runs it both ways.
pub fn check(installed: &Installed) -> Vec<Finding> {
    let with_mpi = installed.mpi.as_ref().map(|mpi| (mpi, build(EXAMPLE, &["mpi"])));
    match with_mpi {
        // Without mpirun the same program runs its ranks on threads.
        Some((mpi, Ok(program))) => {
            let mut findings = vec![on_threads(&program)];
            findings.extend(under_mpirun(mpi, &program, installed.library.as_ref()));
            findings
        }
        Some((_, Err(why))) => {
            let remedy = "cargo build --release -p braidnet-comm --features mpi shows the whole message";
            vec![plain(), Finding::warning(UNDER_MPIRUN, format!("does not build with MPI: {why}"), remedy)]
        }
        None => vec![plain()],
    }
}

/// The ping-pong of a build without MPI.
fn plain() -> Finding {
    match build(EXAMPLE, &[]) {
        Ok(program) => on_threads(&program),
        Err(why) => {
            let remedy = "cargo build --release -p braidnet-comm shows the whole message";
            Finding::missing(ON_THREADS, format!("does not build: {why}"), remedy).needed()
        }
    }
}

fn on_threads(program: &Path) -> Finding {
    match times(&mut Command::new(program)) {
        Ok((times, _)) => Finding::ok(
            ON_THREADS,
            format!("{} us for a message between two ranks; nothing is copied, whatever its size", times.latency_us),
        )
        .fact("latency_us", times.latency_us),
        Err(why) => Finding::missing(ON_THREADS, format!("two ranks on threads: {why}"), again(program)).needed(),
    }
}

fn under_mpirun(mpi: &Mpi, program: &Path, compiled_for: Option<&Library>) -> Vec<Finding> {
    let (times, text) = match times(&mut mpi.command(2, program)) {
        Ok(done) => done,
        Err(why) => {
            let finding = Finding::warning(UNDER_MPIRUN, format!("two ranks under mpirun: {why}"), again(program));
            return vec![finding];
        }
    };
    let bandwidth = times.bandwidth.unwrap_or_default();
    let times = Finding::ok(
        UNDER_MPIRUN,
        format!(
            "{} us for a message between two ranks, {bandwidth} GB/s at 1 MiB, this machine only",
            times.latency_us
        ),
    )
    .fact("latency_us", times.latency_us)
    .fact("bandwidth_gb_per_s", bandwidth);
    vec![times, library(&text, compiled_for)]
}

/// The library that the program loaded, and the thread level it grants.
fn library(text: &str, compiled_for: Option<&Library>) -> Finding {
    const TOPIC: &str = "MPI library";
    let after = |label: &str| text.lines().find_map(|line| line.strip_prefix(label)).map(str::trim).unwrap_or_default();
    let (name, level) = (after("MPI library:"), after("MPI thread level:"));
    let loaded = Library::parse(name);
    let what = loaded.as_ref().map_or(name.to_owned(), Library::describe);
    let finding = match (loaded, compiled_for) {
        (Some(loaded), Some(wanted)) if loaded != *wanted => Finding::warning(
            TOPIC,
            format!("programs load {what}, but mpicc is {}", wanted.describe()),
            "set LD_LIBRARY_PATH, or the environment module, to the installation of mpicc",
        ),
        _ => Finding::ok(TOPIC, format!("{what}; MPI_Init_thread grants thread level {level}, Serialized is needed")),
    };
    finding.fact("library", name).fact("thread_level", level)
}

fn again(program: &Path) -> String {
    format!("run {} by hand, also with `mpirun -n 2` before it", program.display())
}

/// What the example measured.
#[derive(Debug, PartialEq)]
struct Times {
    /// Of a message of one byte, one way.
    latency_us: f64,
    /// In GB/s, of messages of 1 MiB; nothing where messages are not copied.
    bandwidth: Option<f64>,
}

/// Runs the example.
fn times(command: &mut Command) -> Result<(Times, String), String> {
    let answer: Answer = ask_within(command, RUN_LIMIT).map_err(|silence| silence.to_string())?;
    if !answer.status.success() {
        return Err(format!("ended with {}: {}", answer.status, answer.last_words()));
    }
    let times = parse(&answer.stdout).ok_or_else(|| "printed no times".to_owned())?;
    Ok((times, answer.stdout))
}

fn parse(text: &str) -> Option<Times> {
    let of_size = |n: usize| {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{n} bytes, one way:")))?;
        let mut values = line.split_once(':')?.1.split(',').map(|value| value.split_whitespace().next());
        let mut next = || values.next()??.parse::<f64>().ok();
        Some((next()?, next()))
    };
    Some(Times { latency_us: of_size(1)?.0, bandwidth: of_size(1 << 20)?.1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::mpi::Flavour;

    const MPIRUN: &str = "MPI library: Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4
MPI thread level: Serialized
       1 bytes, one way: 0.40 us, 0.002 GB/s
    1024 bytes, one way: 0.54 us, 1.882 GB/s
 1048576 bytes, one way: 144.57 us, 7.253 GB/s
all_reduce of one f64: 0.89 us
";

    #[test]
    fn times_are_read() {
        assert_eq!(parse(MPIRUN), Some(Times { latency_us: 0.40, bandwidth: Some(7.253) }));
        let threads = "       1 bytes, one way: 0.41 us\n 1048576 bytes, one way: 0.67 us\n";
        assert_eq!(parse(threads), Some(Times { latency_us: 0.41, bandwidth: None }));
        assert_eq!(parse("rank 1: broken\n"), None);
    }

    #[test]
    fn another_library_than_the_compilers_is_noticed() {
        let mut compiler = Library { flavour: Flavour::OpenMpi, version: "4.1.4".to_owned() };
        let finding = library(MPIRUN, Some(&compiler));
        assert_eq!(finding.state, State::Ok);
        assert!(finding.line().contains("Open MPI 4.1.4; MPI_Init_thread grants thread level Serialized"));
        compiler.version = "5.0.3".to_owned();
        assert_eq!(library(MPIRUN, Some(&compiler)).state, State::Warning);
    }
}
