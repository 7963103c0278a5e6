//! `cargo xtask kills`: training that is killed at random moments and resumed loses nothing.
//!
//! | file | what |
//! |---|---|
//! | `strike.rs` | what is done to a job, when, and how it must end |
//! | `layout.rs` | how many ranks a start has, and what they are |
//! | `setup.rs` | the program and its command lines |
//! | `job.rs` | the job as processes: started, struck, gone |
//! | `history.rs` | losses, starts and checkpoints, as they lie on the disk |
//! | `phases.rs` | what a training step is made of |
//! | `table.rs` | the table at the end |

mod history;
mod job;
mod layout;
mod phases;
mod setup;
mod strike;
mod table;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::mpi::Mpi;
use history::{History, Precision, Reference};
use job::Struck;
use layout::Layout;
use phases::Phases;
use setup::Setup;
use strike::{Durations, Phase, Strike, show};
use table::{Outcome, table};

/// How long a job may take to be gone, with all of its processes.
const GONE_WITHIN: Duration = Duration::from_secs(15);
/// How long a run that nothing disturbs may take.
const RUN_LIMIT: Duration = Duration::from_secs(1800);

/// Kills training at random moments, resumes it, and compares every loss with a run that nothing disturbed.
///
/// After each kill the whole job must be gone within 15 s, with a non-zero exit code; after a polite signal with exit
/// code 0 and a checkpoint of the last step. Each start must go on from the newest complete checkpoint. No step may be
/// missing, and every loss must be the undisturbed one to the last digit, also where the layout changes between starts;
/// only where it has other data ranks, losses may differ by rounding.
#[derive(Debug, Args)]
pub struct Options {
    /// Kills to do, at least
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// Layer ranks x data ranks, as 2x1 for threads and mpi:2x1 for processes under mpirun, where single ranks are
    /// struck too. Of several each start takes one at random; the first is that of the undisturbed run
    #[arg(long, value_delimiter = ',', default_value = "2x1")]
    layouts: Vec<Layout>,
    /// Passes over the training images
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 7)]
    checkpoint_every: usize,
    /// Seed of what happens when
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The example `mnist`, if it is built already
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Builds, trains undisturbed, and then kills until that was done often enough.
pub fn run(options: &Options) -> ExitCode {
    match setup::prepare(options).and_then(|(program, mpi)| campaign(options, program, mpi)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A few kills of a short training with that program, on threads, or under mpirun if one is given; starts differ in
/// their layer ranks.
///
/// # Errors
/// What was wrong; everything is kept then, and the error says where.
pub fn try_a_few(program: &Path, mpi: Option<&Mpi>) -> Result<()> {
    let layout = |layer_ranks| Layout { layer_ranks, data_ranks: 1, under_mpirun: mpi.is_some() };
    let layouts = [2, 3, 1].map(layout).to_vec();
    let options = Options { kills: 4, layouts, epochs: 6, checkpoint_every: 7, seed: 1, program: None };
    campaign(&options, program.to_owned(), mpi.cloned())
}

/// Trains undisturbed, kills as often as asked for, and prints the table.
fn campaign(options: &Options, program: PathBuf, mpi: Option<Mpi>) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("braidnet-kills-").tempdir().context("no temporary folder")?;
    let setup = Setup::new(options, program, mpi, folder.path());
    match Campaign::new(setup, &options.layouts, options.kills, options.seed).and_then(Campaign::run) {
        Ok(table) => {
            println!("\n{table}");
            Ok(())
        }
        Err(error) => Err(anyhow!("{error:#}\neverything is kept in {}", folder.keep().display())),
    }
}

struct Campaign {
    setup: Setup,
    layouts: Vec<Layout>,
    reference: Reference,
    durations: Durations,
    phases: Phases,
    random: ChaCha8Rng,
    n_kills: usize,
    outcomes: Vec<Outcome>,
}

impl Campaign {
    /// Trains undisturbed, in the first layout.
    fn new(setup: Setup, layouts: &[Layout], n_kills: usize, seed: u64) -> Result<Self> {
        let first = *layouts.first().context("there is no layout; give at least one")?;
        let are_data_ranks_fixed = layouts.iter().all(|layout| layout.data_ranks == first.data_ranks);
        let precision = if are_data_ranks_fixed { Precision::Exact } else { Precision::Rounding };
        let (reference, durations, phases) =
            undisturbed(&setup, first, precision).map_err(|error| setup.explain("undisturbed", error))?;
        println!(
            "undisturbed, {first}: {} steps, {:.2} s to the first and {:.2} s from there; {:.3} s a checkpoint",
            reference.n_steps(),
            durations.to_first_step.as_secs_f64(),
            durations.training.as_secs_f64(),
            durations.checkpoint.as_secs_f64()
        );
        let (random, layouts) = (ChaCha8Rng::seed_from_u64(seed), layouts.to_owned());
        Ok(Self { setup, layouts, reference, durations, phases, random, n_kills, outcomes: Vec::new() })
    }

    /// Runs until there were enough kills; a run that comes to its end is followed by a new one.
    fn run(mut self) -> Result<String> {
        let mut n_runs = 0;
        while n_runs == 0 || self.outcomes.len() < self.n_kills {
            n_runs += 1;
            let name = format!("run-{n_runs}");
            self.run_to_the_end(&name).map_err(|error| self.setup.explain(&name, error))?;
        }
        let hits_a_part = |outcome: &&Outcome| outcome.phase == Phase::Training && !outcome.blow.is_polite();
        let n_hits = self.outcomes.iter().filter(hits_a_part).count();
        let (n, n_steps) = (self.outcomes.len(), self.reference.n_steps());
        Ok(format!(
            "{}{}\nkills: {n}, runs: {n_runs}, of {n_steps} steps each: every loss is the undisturbed one",
            table(&self.outcomes),
            self.phases.expected(n_hits)
        ))
    }

    /// One training from its beginning to its end, killed again and again on the way.
    fn run_to_the_end(&mut self, name: &str) -> Result<()> {
        let (out, _) = self.setup.paths(name);
        loop {
            let checkpoint = history::newest_checkpoint(&out);
            let n_starts = History::read(&out)?.resumed.len();
            let layout = self.layouts[self.random.random_range(0..self.layouts.len())];
            let job = self.setup.start(name, layout)?;
            let strike = self.next_strike(layout);
            let struck = match strike {
                Some(strike) => job.suffer(strike, GONE_WITHIN)?,
                None => Struck::Finished(job.finish(RUN_LIMIT)?),
            };
            let history = History::read(&out)?;
            self.reference.agrees(&history)?;
            went_on_from(checkpoint, n_starts, &history)?;
            match (struck, strike) {
                (Struck::Ended { status, gone_after, phase }, Some(strike)) => {
                    if judge(&out, strike, status, phase)? {
                        // The strike came too late, and counts for nothing.
                        return self.reference.is_complete(&out);
                    }
                    self.record(&out, (layout, strike, phase), status, gone_after);
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

    fn next_strike(&mut self, layout: Layout) -> Option<Strike> {
        let n_ranks = layout.n_processes();
        (self.outcomes.len() < self.n_kills).then(|| Strike::random(&mut self.random, n_ranks, self.durations))
    }

    fn record(
        &mut self,
        out: &Path,
        (layout, strike, phase): (Layout, Strike, Phase),
        status: ExitStatus,
        gone_after: Duration,
    ) {
        let last = History::read(out).map_or(0, |history| history.last_step());
        let saved = history::newest_checkpoint(out).unwrap_or(0);
        let end = show(status);
        println!(
            "kill {:3}, {layout}: {}, {:.3} s after {}: {}, step {last}, saved step {saved}; {end}, gone after {:.2} s",
            self.outcomes.len() + 1,
            strike.blow.describe(),
            strike.delay.as_secs_f64(),
            strike.since.describe(),
            phase.name(),
            gone_after.as_secs_f64(),
        );
        let lost_steps = last.saturating_sub(saved);
        self.outcomes.push(Outcome { blow: strike.blow, phase, end, gone_after, lost_steps });
    }
}

/// Whether a job that was struck is done after all; an error if it did not end as it must.
fn judge(out: &Path, strike: Strike, status: ExitStatus, phase: Phase) -> Result<bool> {
    let is_done = history::state(out).as_deref() == Some("finished") && status.success();
    if is_done {
        return Ok(true);
    }
    if let Some(complaint) = strike.blow.judge(status, phase) {
        bail!("{complaint}");
    }
    if strike.blow.is_polite() && status.success() {
        let state = history::state(out);
        ensure!(state.as_deref() == Some("stopped"), "ended well after a polite signal, but its state is {state:?}");
        let (last, saved) = (History::read(out)?.last_step(), history::newest_checkpoint(out).unwrap_or(0));
        ensure!(saved == last, "was asked to save at step {last}, but the newest checkpoint is of step {saved}");
    }
    Ok(false)
}

/// The run to compare with.
fn undisturbed(setup: &Setup, layout: Layout, precision: Precision) -> Result<(Reference, Durations, Phases)> {
    let (out, _) = setup.paths("undisturbed");
    let mut job = setup.start_traced("undisturbed", layout)?;
    let to_first_step = job.first_step()?.context("ended before its first step")?;
    let start = Instant::now();
    let status = job.finish(RUN_LIMIT)?;
    ensure!(status.success(), "ended with {}", show(status));
    let training = start.elapsed();
    let checkpoint = history::checkpoint_duration(&out)?;
    let durations = Durations { to_first_step, training, checkpoint };
    Ok((Reference::read(&out, precision)?, durations, Phases::read(&out)?))
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
rm -rf "$out"/checkpoints/*.tmp
echo '{"traceEvents":[{"name":"step","ph":"X","pid":0,"ts":0,"dur":4},{"name":"relax","ph":"X","pid":0,"ts":0,"dur":1}]}' > "$out/trace.json"
save() {
    name=$(printf 'step-%08d' $step)
    mkdir -p "$out/checkpoints/$name.tmp"
    sleep 0.01
    echo "$name" > "$latest.tmp"
    mv "$latest.tmp" "$latest"
    rm -r "$out/checkpoints/$name.tmp"
    echo "{\"kind\":\"checkpoint\",\"step\":$step,\"path\":\"\",\"seconds\":0.01,\"bytes\":1}" >> "$out/metrics.jsonl"
}
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
        Campaign::new(setup, &["2x1".parse().unwrap(), "3x1".parse().unwrap()], 12, 7)?.run()
    }

    fn complaint(loss: &str, from: &str, end: &str) -> String {
        campaign(loss, from, end).unwrap_err().to_string()
    }

    #[test]
    fn a_program_that_resumes_well_survives() {
        let table = campaign("0.$step", "$step", "0").unwrap();
        assert!(table.contains("SIGKILL, job") && table.contains(" of 60 steps each: every loss"), "{table}");
        assert!(table.contains("relax 25 %"), "{table}");
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
        let history = History { steps: vec![(1, "0.5".to_owned())], resumed: vec![5, 10], ..History::default() };
        went_on_from(Some(10), 1, &history).unwrap();
        assert!(went_on_from(Some(15), 1, &history).is_err() && went_on_from(None, 1, &history).is_err());
        // Killed before it recorded anything.
        went_on_from(Some(15), 2, &history).unwrap();
    }
}
