//! A runner for tests of several ranks: the same body runs on threads and under `mpirun`.
//!
//! A test binary with `harness = false` lists its bodies:
//!
//! ```
//! use braidnet_comm::Communicator;
//! use braidnet_comm::testing::{RankTest, run_rank_tests};
//!
//! fn everyone_is_there(world: &Communicator) -> Result<(), String> {
//!     world.barrier().map_err(|error| error.to_string())
//! }
//!
//! const TESTS: &[RankTest] = &[("everyone_is_there", everyone_is_there)];
//!
//! run_rank_tests(TESTS);
//! ```

use std::env;
use std::process;
use std::time::Instant;

use crate::launch::run_rank;
use crate::{Communicator, Launch, launch, under_mpi};

/// A test's name and its body, which every rank runs.
pub type RankTest = (&'static str, fn(&Communicator) -> Result<(), String>);

/// The numbers of ranks tried on threads.
const RANKS: [usize; 4] = [1, 2, 3, 4];

/// Runs tests as the `main` of a test binary, prints what cargo's own runner prints, and ends the process with exit
/// code 101 if one failed.
///
/// On threads every body runs with 1, 2, 3 and 4 ranks, each in a launch of its own. Under `mpirun` every body runs
/// once on all ranks, one after the other, on a communicator of its own; the first failure ends the job with exit code
/// 1.
///
/// Arguments: a filter, any part of a test's name (`--exact`: the whole name; `--skip NAME`: all but those), and
/// `--list`. Others are ignored.
pub fn run_rank_tests(tests: &[RankTest]) {
    let options = Options::parse(env::args().skip(1));
    let (chosen, n_filtered) = options.choose(tests);
    if options.list {
        for (name, _) in &chosen {
            println!("{name}: test");
        }
        return;
    }
    let start = Instant::now();
    let is_ok = if under_mpi() {
        run_mpi(&chosen, n_filtered, start)
    } else {
        let n_failed = run_threads(&chosen);
        close(chosen.len() * RANKS.len() - n_failed, n_failed, n_filtered * RANKS.len(), start);
        n_failed == 0
    };
    if !is_ok {
        process::exit(101);
    }
}

/// Runs every test with every number of ranks; returns how many failed.
fn run_threads(tests: &[RankTest]) -> usize {
    println!("\nrunning {} tests", tests.len() * RANKS.len());
    let mut n_failed = 0;
    for (name, body) in tests {
        for n in RANKS {
            let result = launch(&Launch::ranks(n), |world| body(&world));
            match result {
                Ok(_) => println!("test {name} ranks {n} threads ... ok"),
                Err(error) => {
                    println!("test {name} ranks {n} threads ... FAILED: {error}");
                    n_failed += 1;
                }
            }
        }
    }
    n_failed
}

/// Runs every test in the one launch there is; whether all passed. Where MPI is built in, a test that fails ends the
/// job before this returns.
fn run_mpi(tests: &[RankTest], n_filtered: usize, start: Instant) -> bool {
    let result = launch(&Launch::default(), |world| {
        if world.rank() == 0 {
            println!("\nrunning {} tests", tests.len());
        }
        for (n_passed, (name, body)) in tests.iter().enumerate() {
            run_one(&world, name, *body).map_err(|reason| {
                println!("test {name} ranks {} mpi ... FAILED: {reason}", world.size());
                close(n_passed, 1, n_filtered, start);
                format!("test {name}: {reason}")
            })?;
        }
        if world.rank() == 0 {
            close(tests.len(), 0, n_filtered, start);
        }
        Ok::<(), String>(())
    });
    match result {
        Ok(_) => true,
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

/// One test with a barrier after it, on a communicator of its own, so that messages it leaves behind disturb nobody.
fn run_one(world: &Communicator, name: &str, body: fn(&Communicator) -> Result<(), String>) -> Result<(), String> {
    let own = world.split(Some(0), world.rank() as u64).map_err(|error| error.to_string())?;
    // Every rank has the same colour, so every rank belongs.
    let own = own.ok_or("the split left this rank out")?;
    run_rank(own, &|own| body(&own))?;
    world.barrier().map_err(|error| error.to_string())?;
    if world.rank() == 0 {
        println!("test {name} ranks {} mpi ... ok", world.size());
    }
    Ok(())
}

/// The line that cargo's own runner ends with.
fn close(n_passed: usize, n_failed: usize, n_filtered: usize, start: Instant) {
    let verdict = if n_failed == 0 { "ok" } else { "FAILED" };
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "\ntest result: {verdict}. {n_passed} passed; {n_failed} failed; 0 ignored; 0 measured; {n_filtered} filtered \
         out; finished in {seconds:.2}s\n"
    );
}

/// What the command line asks for.
#[derive(Default)]
struct Options {
    filters: Vec<String>,
    skips: Vec<String>,
    exact: bool,
    list: bool,
    /// Only ignored tests: there are none.
    ignored: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Self {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--exact" => options.exact = true,
                "--list" => options.list = true,
                "--ignored" => options.ignored = true,
                "--skip" => options.skips.extend(args.next()),
                // Options of cargo's runner whose value is an argument of its own.
                "--test-threads" | "--format" | "--color" | "--logfile" | "--shuffle-seed" | "-Z" => {
                    args.next();
                }
                flag if flag.starts_with('-') => {}
                _ => options.filters.push(arg),
            }
        }
        options
    }

    /// The tests asked for, and the number of others.
    fn choose(&self, tests: &[RankTest]) -> (Vec<RankTest>, usize) {
        let matches = |name: &str, part: &String| if self.exact { name == part } else { name.contains(part.as_str()) };
        let wanted = |name: &str| {
            !self.ignored
                && (self.filters.is_empty() || self.filters.iter().any(|part| matches(name, part)))
                && !self.skips.iter().any(|part| matches(name, part))
        };
        let chosen: Vec<RankTest> = tests.iter().copied().filter(|(name, _)| wanted(name)).collect();
        let n_others = tests.len() - chosen.len();
        (chosen, n_others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Vec<&'static str> {
        let tests: [RankTest; 3] = [("ring", |_| Ok(())), ("ring_twice", |_| Ok(())), ("split", |_| Ok(()))];
        let options = Options::parse(args.iter().map(|arg| (*arg).to_owned()));
        options.choose(&tests).0.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn filters_choose_tests() {
        assert_eq!(names(&["--quiet", "--test-threads", "1"]), ["ring", "ring_twice", "split"]);
        assert_eq!(names(&["ring"]), ["ring", "ring_twice"]);
        assert_eq!(names(&["ring", "--exact"]), ["ring"]);
        assert_eq!(names(&["--skip", "ring"]), ["split"]);
        assert!(names(&["--ignored"]).is_empty());
    }
}
