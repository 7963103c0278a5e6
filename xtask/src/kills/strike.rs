//! What is done to a training job, when, and how it must end.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;

/// What is done to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL to the process that was started: the program, or mpirun.
    KillJob,
    /// SIGKILL to one rank's process.
    KillRank(usize),
    /// SIGSTOP to one rank's process: it no longer answers.
    StopRank(usize),
    /// SIGTERM to every rank's process, as Slurm does before a preemption: the program saves.
    Terminate,
    /// SIGUSR1 to the process that was started, which mpirun hands on: the program saves.
    Save,
}

impl Blow {
    /// The signal.
    pub fn signal(self) -> Signal {
        match self {
            Self::KillJob | Self::KillRank(_) => Signal::KILL,
            Self::StopRank(_) => Signal::STOP,
            Self::Terminate => Signal::TERM,
            Self::Save => Signal::USR1,
        }
    }

    /// Whether the program is asked to save and to end well.
    pub fn is_polite(self) -> bool {
        matches!(self, Self::Terminate | Self::Save)
    }

    /// What is wrong with how the job ended, if something is. Before its first step a program may not yet listen to
    /// polite signals: it then dies of them.
    pub fn judge(self, status: ExitStatus, phase: Phase) -> Option<String> {
        if !self.is_polite() {
            return status.success().then(|| format!("succeeded in spite of {}", self.describe()));
        }
        let may_fail = phase == Phase::Start;
        (!status.success() && !may_fail).then(|| format!("ended with {} after {}", show(status), self.describe()))
    }

    /// In words.
    pub fn describe(self) -> String {
        match self {
            Self::KillJob => "SIGKILL of the job".to_owned(),
            Self::KillRank(rank) => format!("SIGKILL of process {rank}"),
            Self::StopRank(rank) => format!("SIGSTOP of process {rank}"),
            Self::Terminate => "SIGTERM to all ranks".to_owned(),
            Self::Save => "SIGUSR1 to the job".to_owned(),
        }
    }

    /// The name in the table at the end.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillJob => "SIGKILL, job",
            Self::KillRank(_) => "SIGKILL, one rank",
            Self::StopRank(_) => "SIGSTOP, one rank",
            Self::Terminate => "SIGTERM, all ranks",
            Self::Save => "SIGUSR1, job",
        }
    }
}

/// From when on the delay counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The start of the process.
    Start,
    /// The first step that it does.
    FirstStep,
    /// The first checkpoint that it begins to write.
    Checkpoint,
}

impl Since {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Start => "the start",
            Self::FirstStep => "a first step",
            Self::Checkpoint => "a checkpoint was begun",
        }
    }
}

/// What a job does when it is struck, as far as that is seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It has done no step yet.
    Start,
    /// It trains.
    Training,
    /// A checkpoint is being written, or an old one removed, while it trains.
    Checkpoint,
}

impl Phase {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Training => "training",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// A blow and its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    pub blow: Blow,
    pub since: Since,
    pub delay: Duration,
}

/// How long things take in the run that nothing disturbs.
#[derive(Debug, Clone, Copy)]
pub struct Durations {
    /// From the start of the process to its first step.
    pub to_first_step: Duration,
    /// From there to the end.
    pub training: Duration,
    /// From the beginning of a checkpoint to its end.
    pub checkpoint: Duration,
}

impl Strike {
    /// A strike at random; one in five during the start, one in five during a checkpoint, the others within a third of
    /// the training, every moment as likely as any other. `n_ranks` is the number of processes under mpirun.
    pub fn random(random: &mut ChaCha8Rng, n_ranks: Option<usize>, durations: Durations) -> Self {
        let blow = match n_ranks {
            None => match random.random_range(0..8) {
                0 => Blow::Terminate,
                1 => Blow::Save,
                _ => Blow::KillJob,
            },
            Some(n) => match random.random_range(0..10) {
                0 => Blow::Terminate,
                1 => Blow::Save,
                2 => Blow::StopRank(random.random_range(0..n)),
                3..6 => Blow::KillJob,
                _ => Blow::KillRank(random.random_range(0..n)),
            },
        };
        let share: f64 = random.random();
        let (since, delay) = match random.random_range(0..5) {
            0 => (Since::Start, durations.to_first_step.mul_f64(1.5 * share)),
            1 => (Since::Checkpoint, durations.checkpoint.mul_f64(share)),
            _ => (Since::FirstStep, durations.training.mul_f64(share / 3.0)),
        };
        Self { blow, since, delay }
    }
}

/// An exit code or signal.
pub fn show(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    const DURATIONS: Durations = Durations {
        to_first_step: Duration::from_secs(2),
        training: Duration::from_secs(30),
        checkpoint: Duration::from_secs(1),
    };

    fn strikes(n_ranks: Option<usize>) -> Vec<Strike> {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        (0..200).map(|_| Strike::random(&mut random, n_ranks, DURATIONS)).collect()
    }

    #[test]
    fn strikes_are_of_every_kind() {
        let names = |n_ranks| {
            let mut names: Vec<_> = strikes(n_ranks).iter().map(|strike| strike.blow.name()).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        assert_eq!(names(None), ["SIGKILL, job", "SIGTERM, all ranks", "SIGUSR1, job"]);
        assert_eq!(names(Some(2)).len(), 5);
        assert_eq!(strikes(Some(3)), strikes(Some(3)));
        for (kind, limit) in [(Since::Start, 3), (Since::FirstStep, 10), (Since::Checkpoint, 1)] {
            let strikes = strikes(None);
            let mut delays = strikes.iter().filter(|strike| strike.since == kind).map(|strike| strike.delay).peekable();
            assert!(delays.peek().is_some() && delays.all(|delay| delay <= Duration::from_secs(limit)));
        }
    }

    #[test]
    fn ends_are_judged() {
        // As the system encodes them: exit codes in the second byte, signals in the first.
        let (well, badly, killed) = (0, 1 << 8, 9);
        let judge = |blow: Blow, raw, phase| blow.judge(ExitStatus::from_raw(raw), phase).is_none();
        assert!(judge(Blow::KillJob, killed, Phase::Training) && judge(Blow::KillRank(1), badly, Phase::Start));
        assert!(!judge(Blow::KillJob, well, Phase::Training) && !judge(Blow::StopRank(0), well, Phase::Checkpoint));
        assert!(judge(Blow::Terminate, well, Phase::Training) && judge(Blow::Save, well, Phase::Start));
        assert!(!judge(Blow::Terminate, badly, Phase::Checkpoint) && judge(Blow::Save, badly, Phase::Start));
        assert_eq!(show(ExitStatus::from_raw(killed)), "signal 9");
    }
}
