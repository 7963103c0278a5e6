//! A training job as processes of this machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::history::{count_steps, has_unfinished_checkpoint};
use super::strike::{Blow, Phase, Since, Strike};
use crate::command::{cannot_start, probe};

/// How often the processes are looked at.
const TICK: Duration = Duration::from_millis(10);
/// How often all processes of the machine are listed, which takes longer.
const LIST_TICK: Duration = Duration::from_millis(100);
/// How often the folder of checkpoints is looked at: one is soon written.
const CHECKPOINT_TICK: Duration = Duration::from_millis(1);
/// How long a job may take to its first step, from there to its first checkpoint, or for all of its ranks to be there.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running job. Dropped, it is killed with all of its processes.
#[derive(Debug)]
pub struct Job {
    child: Child,
    /// The folder of results: every process of the job has it in its arguments, and no other process.
    out: PathBuf,
    started: Instant,
    /// The number of ranks under mpirun; without, the ranks are threads.
    n_ranks: Option<usize>,
    /// The steps recorded before the start.
    steps_before: usize,
}

/// What became of a strike.
#[derive(Debug)]
pub enum Struck {
    /// The job was done before.
    Finished(ExitStatus),
    /// It ended because of it, and all of its processes were gone after that time.
    Ended { status: ExitStatus, gone_after: Duration, phase: Phase },
}

impl Job {
    /// Starts a job, of so many ranks if under mpirun, with its output in `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut command: Command, n_ranks: Option<usize>, out: &Path, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let steps_before = count_steps(out);
        let child = command.spawn().with_context(|| cannot_start(&command))?;
        Ok(Self { child, out: out.to_owned(), started: Instant::now(), n_ranks, steps_before })
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// If it takes longer than `limit`.
    pub fn finish(mut self, limit: Duration) -> Result<ExitStatus> {
        match self.end_within(limit)? {
            Some(status) => Ok(status),
            None => bail!("the job did not end within {} s", limit.as_secs()),
        }
    }

    /// Waits for the first step; the time since the start, or nothing if the job ended before.
    ///
    /// # Errors
    /// If there is none in time.
    pub fn first_step(&mut self) -> Result<Option<Duration>> {
        while self.started.elapsed() < START_LIMIT {
            if self.has_begun() {
                return Ok(Some(self.started.elapsed()));
            }
            if self.child.try_wait()?.is_some() {
                return Ok(None);
            }
            thread::sleep(TICK);
        }
        bail!("no step within {} s", START_LIMIT.as_secs())
    }

    /// Waits for the strike's moment, strikes, and waits for the end.
    ///
    /// # Errors
    /// If a process of the job is still there after `limit`.
    pub fn suffer(mut self, strike: Strike, limit: Duration) -> Result<Struck> {
        if strike.since != Since::Start {
            self.first_step()?;
        }
        if strike.since == Since::Checkpoint {
            self.first_checkpoint()?;
        }
        if let Some(status) = self.end_within(strike.delay)? {
            return Ok(Struck::Finished(status));
        }
        let Some(targets) = self.targets(strike.blow)? else {
            return Ok(Struck::Finished(self.child.wait()?));
        };
        let phase = self.phase();
        for target in targets {
            // Gone already: the end that follows is judged all the same.
            let _ = kill_process(target, strike.blow.signal());
        }
        let struck = Instant::now();
        let status = self.end_within(limit)?;
        let mut others = self.others()?;
        while !others.is_empty() && struck.elapsed() < limit {
            thread::sleep(LIST_TICK);
            others = self.others()?;
        }
        match status {
            Some(status) if others.is_empty() => Ok(Struck::Ended { status, gone_after: struck.elapsed(), phase }),
            Some(_) => bail!(
                "{} s after {} these processes of the job are still there: {others:?}",
                limit.as_secs(),
                strike.blow.describe()
            ),
            None => bail!("{} s after {} the job is still there", limit.as_secs(), strike.blow.describe()),
        }
    }

    /// Waits until a checkpoint is begun, or the job ends.
    fn first_checkpoint(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < START_LIMIT {
            if has_unfinished_checkpoint(&self.out) || self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(CHECKPOINT_TICK);
        }
        bail!("no checkpoint within {} s", START_LIMIT.as_secs())
    }

    /// What the job is doing. What an earlier start has left of a checkpoint is removed before the first step.
    fn phase(&self) -> Phase {
        match (self.has_begun(), has_unfinished_checkpoint(&self.out)) {
            (false, _) => Phase::Start,
            (true, false) => Phase::Training,
            (true, true) => Phase::Checkpoint,
        }
    }

    /// Whether this start has done a step.
    fn has_begun(&self) -> bool {
        count_steps(&self.out) > self.steps_before
    }

    /// Which processes a blow hits; nothing if the job ends before its ranks are there.
    fn targets(&mut self, blow: Blow) -> Result<Option<Vec<Pid>>> {
        let job = Pid::from_child(&self.child);
        let Some(n_ranks) = self.n_ranks.filter(|_| !matches!(blow, Blow::KillJob | Blow::Save)) else {
            return Ok(Some(vec![job]));
        };
        while self.started.elapsed() < START_LIMIT {
            if self.child.try_wait()?.is_some() {
                return Ok(None);
            }
            let ranks = self.others()?;
            if ranks.len() >= n_ranks {
                let one = if let Blow::KillRank(rank) | Blow::StopRank(rank) = blow { ranks.get(rank) } else { None };
                return Ok(Some(one.map_or(ranks.clone(), |&rank| vec![rank])));
            }
            thread::sleep(LIST_TICK);
        }
        bail!("not all ranks are there {} s after the start", START_LIMIT.as_secs())
    }

    /// The processes of the job other than the one that was started: under mpirun its ranks, in the order of their
    /// start.
    fn others(&self) -> Result<Vec<Pid>> {
        let list = probe("ps", &["-ewwo", "pid=,args="]);
        let list = list.context("ps lists no processes, so it is not known which are left; install procps")?;
        let mut others = processes(&list, &self.out);
        others.retain(|&pid| pid != self.child.id() as i32 && pid != std::process::id() as i32);
        Ok(others.into_iter().filter_map(Pid::from_raw).collect())
    }

    fn end_within(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            match self.child.try_wait()? {
                None if start.elapsed() < limit => thread::sleep(TICK.min(limit)),
                status => return Ok(status),
            }
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Whoever is gone already needs no kill.
        let _ = self.child.kill();
        for pid in self.others().unwrap_or_default() {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The processes in a list of `ps` that have a folder among their arguments, oldest first.
fn processes(list: &str, folder: &Path) -> Vec<i32> {
    let folder = folder.to_string_lossy();
    let pid = |line: &str| {
        let (pid, args) = line.trim_start().split_once(' ')?;
        args.split_whitespace().any(|word| word == folder).then(|| pid.parse().ok()).flatten()
    };
    let mut pids: Vec<i32> = list.lines().filter_map(pid).collect();
    pids.sort_unstable();
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_by_their_folder() {
        let list = "    1 /sbin/init\n  412 mnist --out /t/a --resume auto\n  390 mnist --out /t/a --resume auto\n  400 mnist --out /t/ab\n  401 [mnist] <defunct>\n";
        assert_eq!(processes(list, Path::new("/t/a")), [390, 412]);
    }
}
