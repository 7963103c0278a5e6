//! Steps: each has a heading, a duration and an outcome, and the table at the end lists them all.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// It did not run, for this reason.
    LeftOut(String),
    Failed,
}

#[derive(Debug)]
struct Record {
    name: String,
    outcome: Outcome,
    duration: Duration,
}

/// The steps that ran so far.
#[derive(Debug, Default)]
pub struct Steps {
    records: Vec<Record>,
    hints: Vec<String>,
}

impl Steps {
    /// Runs a step under its heading.
    ///
    /// # Errors
    /// The body's, after the step is recorded as failed.
    pub fn run<T>(&mut self, name: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = self.attempt(name, || body().map(Ok::<T, String>))?;
        // The body above never leaves itself out.
        done.map_err(anyhow::Error::msg)
    }

    /// Runs a step which may find that it cannot run here: its inner error is the reason, and the step is recorded as
    /// left out.
    ///
    /// # Errors
    /// The body's, after the step is recorded as failed.
    pub fn attempt<T>(
        &mut self,
        name: &str,
        body: impl FnOnce() -> Result<Result<T, String>>,
    ) -> Result<Result<T, String>> {
        println!("\n=== {name}");
        let start = Instant::now();
        let result = body();
        let outcome = match &result {
            Ok(Ok(_)) => Outcome::Ok,
            Ok(Err(why)) => Outcome::LeftOut(why.clone()),
            Err(_) => Outcome::Failed,
        };
        self.record(name, outcome, start.elapsed());
        result.map_err(|error| error.context(name.to_owned()))
    }

    /// Records a step that does not run, and why.
    pub fn leave_out(&mut self, name: &str, why: &str) {
        println!("\n=== {name}");
        self.record(name, Outcome::LeftOut(why.to_owned()), Duration::ZERO);
    }

    /// Something to do about what was left out; the end says it.
    pub fn hint(&mut self, text: String) {
        self.hints.push(text);
    }

    /// Prints the failure, if there is one, the table, the hints and the counts.
    pub fn finish(&self, result: Result<()>) -> ExitCode {
        println!("\n{}", self.table());
        for hint in &self.hints {
            println!("{hint}\n");
        }
        let code = match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("error: {error:#}\n");
                ExitCode::FAILURE
            }
        };
        println!("{}", self.counts());
        code
    }

    fn record(&mut self, name: &str, outcome: Outcome, duration: Duration) {
        println!("=== {name}: {} ({:.1} s)", describe(&outcome), duration.as_secs_f64());
        self.records.push(Record { name: name.to_owned(), outcome, duration });
    }

    fn table(&self) -> String {
        let width = self.records.iter().map(|record| record.name.chars().count()).max().unwrap_or(0).max(4);
        let mut table = format!("{:width$}  seconds  outcome\n", "step");
        for Record { name, outcome, duration } in &self.records {
            // Writing to a string does not fail.
            let _ = writeln!(table, "{name:width$}  {:7.1}  {}", duration.as_secs_f64(), describe(outcome));
        }
        table
    }

    fn counts(&self) -> String {
        let count = |wanted: fn(&Outcome) -> bool| self.records.iter().filter(|record| wanted(&record.outcome)).count();
        let passed = count(|outcome| *outcome == Outcome::Ok);
        let failed = count(|outcome| *outcome == Outcome::Failed);
        match self.records.len() - passed - failed {
            0 => format!("{passed} passed, {failed} failed"),
            skipped => format!("{passed} passed, {failed} failed, {skipped} skipped"),
        }
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok => "ok".to_owned(),
        Outcome::LeftOut(why) => format!("left out: {why}"),
        Outcome::Failed => "FAILED".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted() {
        let mut steps = Steps::default();
        assert_eq!(steps.run("a", || Ok(7)).unwrap(), 7);
        assert_eq!(steps.counts(), "1 passed, 0 failed");
        assert_eq!(steps.attempt("b", || Ok(Err::<(), _>("no".to_owned()))).unwrap(), Err("no".to_owned()));
        steps.leave_out("c", "nor this");
        let error = steps.run("d", || -> Result<()> { anyhow::bail!("broken") }).unwrap_err();
        assert_eq!(format!("{error:#}"), "d: broken");
        assert_eq!(steps.counts(), "1 passed, 1 failed, 2 skipped");
        let lines: Vec<String> = steps.table().lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "step  seconds  outcome");
        assert_eq!(lines[3], "c         0.0  left out: nor this");
    }
}
