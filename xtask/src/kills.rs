//! `cargo xtask kills`: training that is killed at random moments and resumed loses nothing.
//!
//! | file | what |
//! |---|---|
//! | `strike.rs` | what is done to a job, when, and how it must end |
//! | `setup.rs` | the program and its command lines |
//! | `job.rs` | the job as processes: started, struck, gone |
//! | `history.rs` | losses, starts and checkpoints, as they lie on the disk |
//! | `table.rs` | the table at the end |

mod history;
mod job;
mod setup;
mod strike;
mod table;

use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use history::{History, Reference};
use job::Struck;
use setup::Setup;
use strike::{Durations, Since, Strike, show};
use table::{Outcome, table};

/// How long a job may take to be gone, with all of its processes.
const GONE_WITHIN: Duration = Duration::from_secs(15);
/// How long a run that nothing disturbs may take.
const RUN_LIMIT: Duration = Duration::from_secs(1800);

/// Kills training at random moments, resumes it, and compares every loss with a run that nothing disturbed.
///
/// After each kill the whole job must be gone within 15 s, with a non-zero exit code; after a polite signal with exit
/// code 0 and a checkpoint of the last step. Each start must go on from the newest complete checkpoint. No step may be
/// missing, and every loss must be the undisturbed one to the last digit.
#[derive(Debug, Args)]
pub struct Options {
    /// Kills to do, at least
    #[arg(long, default_value_t = 50)]
    runs: usize,
    /// Run under mpirun, with so many ranks, and strike single ranks too
    #[arg(long, value_name = "N")]
    under_mpirun: Option<usize>,
    /// Layer ranks where they are threads
    #[arg(long, default_value_t = 2, conflicts_with = "under_mpirun")]
    layer_ranks: usize,
    /// Passes over the training images
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 7)]
    checkpoint_every: usize,
    /// Seed of what happens when
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Builds, trains undisturbed, and then kills until that was done often enough.
pub fn run(options: &Options) -> ExitCode {
    let folder = match tempfile::Builder::new().prefix("braidnet-kills-").tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            println!("error: no temporary folder: {error}");
            return ExitCode::FAILURE;
        }
    };
    match Campaign::new(options, folder.path()).and_then(Campaign::run) {
        Ok(table) => {
            println!("\n{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("error: {error:#}\neverything is kept in {}", folder.keep().display());
            ExitCode::FAILURE
        }
    }
}

struct Campaign {
    setup: Setup,
    reference: Reference,
    durations: Durations,
    random: ChaCha8Rng,
    n_kills: usize,
    outcomes: Vec<Outcome>,
}

impl Campaign {
    /// Builds, and trains undisturbed.
    fn new(options: &Options, folder: &Path) -> Result<Self> {
        Self::with(Setup::new(options, folder)?, options.runs, options.seed)
    }

    fn with(setup: Setup, n_kills: usize, seed: u64) -> Result<Self> {
        let (reference, durations) = undisturbed(&setup).map_err(|error| setup.explain("undisturbed", error))?;
        println!(
            "undisturbed: {} steps, {:.2} s to the first and {:.2} s from there",
            reference.n_steps(),
            durations.to_first_step.as_secs_f64(),
            durations.training.as_secs_f64()
        );
        let random = ChaCha8Rng::seed_from_u64(seed);
        Ok(Self { setup, reference, durations, random, n_kills, outcomes: Vec::new() })
    }

    /// Runs until there were enough kills; a run that comes to its end is followed by a new one.
    fn run(mut self) -> Result<String> {
        let mut n_runs = 0;
        while n_runs == 0 || self.outcomes.len() < self.n_kills {
            n_runs += 1;
            let name = format!("run-{n_runs}");
            self.run_to_the_end(&name).map_err(|error| self.setup.explain(&name, error))?;
        }
        Ok(table(&self.outcomes, n_runs, self.reference.n_steps()))
    }

    /// One training from its beginning to its end, killed again and again on the way.
    fn run_to_the_end(&mut self, name: &str) -> Result<()> {
        let (out, _) = self.setup.paths(name);
        loop {
            let checkpoint = history::newest_checkpoint(&out);
            let n_starts = History::read(&out)?.resumed.len();
            let job = self.setup.start(name)?;
            let strike = self.next_strike();
            let struck = match strike {
                Some(strike) => job.suffer(strike, GONE_WITHIN)?,
                None => Struck::Finished(job.finish(RUN_LIMIT)?),
            };
            let history = History::read(&out)?;
            self.reference.agrees(&history)?;
            went_on_from(checkpoint, n_starts, &history)?;
            match (struck, strike) {
                (Struck::Ended { status, gone_after, has_begun }, Some(strike)) => {
                    let done = self.judge(&out, strike, status, has_begun)?;
                    self.record(&out, strike, gone_after, has_begun);
                    if done {
                        return self.reference.is_complete(&out);
                    }
                }
                (Struck::Finished(status), _) | (Struck::Ended { status, .. }, None) => {
                    ensure!(status.success(), "ended with {} though nobody touched it", show(status));
                    let state = history::state(&out);
                    ensure!(state.as_deref() == Some("finished"), "ended well, but its state is {state:?}");
                    return self.reference.is_complete(&out);
                }
            }
        }
    }

    fn next_strike(&mut self) -> Option<Strike> {
        let n_ranks = self.setup.n_ranks();
        (self.outcomes.len() < self.n_kills).then(|| Strike::random(&mut self.random, n_ranks, self.durations))
    }

    /// Whether the job is done after all; an error if it did not end as it must.
    fn judge(&self, out: &Path, strike: Strike, status: ExitStatus, has_begun: bool) -> Result<bool> {
        let is_done = history::state(out).as_deref() == Some("finished") && status.success();
        if is_done {
            return Ok(true);
        }
        if let Some(complaint) = strike.blow.judge(status, has_begun) {
            bail!("{complaint}");
        }
        if strike.blow.is_polite() && status.success() {
            let state = history::state(out);
            ensure!(
                state.as_deref() == Some("stopped"),
                "ended well after a polite signal, but its state is {state:?}"
            );
            let (last, saved) = (History::read(out)?.last_step(), history::newest_checkpoint(out).unwrap_or(0));
            ensure!(saved == last, "was asked to save at step {last}, but the newest checkpoint is of step {saved}");
        }
        Ok(false)
    }

    fn record(&mut self, out: &Path, strike: Strike, gone_after: Duration, has_begun: bool) {
        let last = History::read(out).map_or(0, |history| history.last_step());
        let saved = history::newest_checkpoint(out).unwrap_or(0);
        let phase = if history::has_unfinished_checkpoint(out) {
            "checkpoint"
        } else if has_begun {
            "training"
        } else {
            "start"
        };
        let since = if strike.since == Since::Start { "the start" } else { "a first step" };
        println!(
            "kill {:3}: {}, {:.2} s after {since}: {phase}, step {last}, saved step {saved}; gone after {:.2} s",
            self.outcomes.len() + 1,
            strike.blow.describe(),
            strike.delay.as_secs_f64(),
            gone_after.as_secs_f64(),
        );
        let lost_steps = last.saturating_sub(saved);
        self.outcomes.push(Outcome { blow: strike.blow.name(), phase, gone_after, lost_steps });
    }
}

/// The run to compare with.
fn undisturbed(setup: &Setup) -> Result<(Reference, Durations)> {
    let (out, _) = setup.paths("undisturbed");
    let mut job = setup.start("undisturbed")?;
    let to_first_step = job.first_step()?.context("ended before its first step")?;
    let start = Instant::now();
    let status = job.finish(RUN_LIMIT)?;
    ensure!(status.success(), "ended with {}", show(status));
    let training = start.elapsed();
    Ok((Reference::read(&out)?, Durations { to_first_step, training }))
}

/// That a start went on from the newest checkpoint, as far as it came to record that.
fn went_on_from(checkpoint: Option<u64>, n_starts_before: usize, history: &History) -> Result<()> {
    let Some(resumed) = history.resumed.get(n_starts_before..).and_then(<[u64]>::last) else {
        let first = history.steps.first().map(|(step, _)| *step);
        ensure!(first.is_none_or(|step| step == 1), "the first step recorded is {first:?}");
        return Ok(());
    };
    ensure!(
        *resumed == checkpoint.unwrap_or(0),
        "went on from step {resumed}, but the newest complete checkpoint was {checkpoint:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that does as if it trained. `LOSS`, `FROM` and `END` are where a wrong one differs.
    const TRAINING: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --out ] && out=$2; shift; done
latest=$out/checkpoints/latest step=0 stop=no first=yes
trap 'stop=yes' TERM USR1
mkdir -p "$out/checkpoints"
save() { printf 'step-%08d' $step > "$latest.tmp"; mv "$latest.tmp" "$latest"; }
if [ -f "$latest" ]; then
    step=$(sed 's/step-0*//' "$latest") step=${step:-0} first=no
    echo "{\"kind\":\"event\",\"step\":$step,\"what\":\"resumed\",\"detail\":\"\"}" >> "$out/metrics.jsonl"
    step=FROM
fi
while [ $step -lt 60 ]; do
    [ $stop = yes ] && { save; echo stopped > "$out/state"; exit END; }
    sleep 0.01
    step=$((step + 1))
    echo "{\"kind\":\"step\",\"step\":$step,\"epoch\":0,\"samples\":20,\"loss\":LOSS,\"learning_rate\":0.1,\"milliseconds\":1.0,\"clipped\":false,\"skipped\":false}" >> "$out/metrics.jsonl"
    [ $((step % 5)) = 0 ] && save
done
echo finished > "$out/state"
"#;

    fn campaign(loss: &str, from: &str, end: &str) -> Result<String> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("training");
        fs::write(&program, TRAINING.replace("LOSS", loss).replace("FROM", from).replace("END", end))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let setup = Setup { program, mpi: None, arguments: Vec::new(), folder: folder.path().to_owned() };
        Campaign::with(setup, 12, 7)?.run()
    }

    fn complaint(loss: &str, from: &str, end: &str) -> String {
        campaign(loss, from, end).unwrap_err().to_string()
    }

    #[test]
    fn a_program_that_resumes_well_survives() {
        let table = campaign("0.$step", "$step", "0").unwrap();
        assert!(table.contains("SIGKILL, job") && table.contains(" of 60 steps: every loss"), "{table}");
    }

    #[test]
    fn programs_that_resume_badly_are_found() {
        let other_loss = complaint("$([ $first = yes ] && echo 0.5 || echo 0.25)", "$step", "0");
        assert!(other_loss.contains("has the loss 0.25, in the undisturbed run 0.5"), "{other_loss}");
        let a_step_left_out = complaint("0.5", "$((step + 1))", "0");
        assert!(a_step_left_out.contains("is missing in"), "{a_step_left_out}");
        let bad_end = complaint("0.5", "$step", "3");
        assert!(bad_end.contains("ended with exit code 3 after SIG"), "{bad_end}");
    }

    #[test]
    fn a_start_from_another_checkpoint_is_found() {
        let history = History { steps: vec![(1, "0.5".to_owned())], resumed: vec![5, 10] };
        went_on_from(Some(10), 1, &history).unwrap();
        assert!(went_on_from(Some(15), 1, &history).is_err() && went_on_from(None, 1, &history).is_err());
        // Killed before it recorded anything.
        went_on_from(Some(15), 2, &history).unwrap();
    }
}
