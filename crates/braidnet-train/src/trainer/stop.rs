//! Being told to stop: by a signal, or by the clock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Why a run stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Signal(usize),
    TimeLimit,
}

impl Why {
    /// A number for it, larger where it is more urgent; 0 for no reason.
    pub fn urgency(why: Option<Self>) -> f64 {
        match why {
            None => 0.0,
            Some(Self::TimeLimit) => 0.5,
            Some(Self::Signal(signal)) => signal as f64,
        }
    }

    /// What has this number.
    pub fn of_urgency(urgency: f64) -> Option<Self> {
        match urgency {
            1.0.. => Some(Self::Signal(urgency as usize)),
            _ if urgency > 0.0 => Some(Self::TimeLimit),
            _ => None,
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::TimeLimit => write!(f, "the time limit is near"),
        }
    }
}

/// What comes after a step that nobody stops at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Step,
    /// The step is the epoch's last.
    Evaluation,
}

/// When this process first heard of training: what a time limit counts from.
static CLOCK: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Starts the clock of the process, unless it runs.
pub(super) fn start_clock() {
    let _ = *CLOCK;
}

/// The handlers of this process, set once: they cannot be taken away again.
struct Handlers {
    /// The last signal; 0 for none.
    signal: Arc<AtomicUsize>,
    /// The next signal has its usual effect: nobody watches, or one has come already.
    is_off: Arc<AtomicBool>,
    n_watches: Mutex<usize>,
}

impl Handlers {
    fn get() -> std::io::Result<&'static Self> {
        static HANDLERS: OnceLock<Handlers> = OnceLock::new();
        static SETTING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = SETTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handlers) = HANDLERS.get() {
            return Ok(handlers);
        }
        let handlers =
            Self { signal: Arc::default(), is_off: Arc::new(AtomicBool::new(true)), n_watches: Mutex::new(0) };
        #[cfg(unix)]
        for number in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGUSR1] {
            signal_hook::flag::register_conditional_default(number, Arc::clone(&handlers.is_off))?;
            signal_hook::flag::register(number, Arc::clone(&handlers.is_off))?;
            signal_hook::flag::register_usize(number, Arc::clone(&handlers.signal), number as usize)?;
        }
        Ok(HANDLERS.get_or_init(|| handlers))
    }

    fn n_watches(&self) -> MutexGuard<'_, usize> {
        self.n_watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches for SIGTERM, SIGINT and SIGUSR1, and for the end of the time given. While it lives the first signal stops the
/// run; the second one has its usual effect.
pub(crate) struct Watch {
    handlers: &'static Handlers,
    limit: Option<Duration>,
    /// The longest of each so far.
    step: Duration,
    save: Duration,
    evaluation: Duration,
}

impl Watch {
    /// Starts to watch.
    pub fn new(limit: Option<Duration>) -> std::io::Result<Self> {
        let handlers = Handlers::get()?;
        let mut n_watches = handlers.n_watches();
        if *n_watches == 0 {
            handlers.signal.store(0, Ordering::Relaxed);
            handlers.is_off.store(false, Ordering::Relaxed);
        }
        *n_watches += 1;
        drop(n_watches);
        let [step, save, evaluation] = [Duration::ZERO; 3];
        Ok(Self { handlers, limit, step, save, evaluation })
    }

    /// How long a step took, with a probe before it.
    pub fn note_step(&mut self, took: Duration) {
        self.step = self.step.max(took);
    }

    /// How long a checkpoint took.
    pub fn note_save(&mut self, took: Duration) {
        self.save = self.save.max(took);
    }

    /// How long the evaluations at the end of an epoch took.
    pub fn note_evaluation(&mut self, took: Duration) {
        self.evaluation = self.evaluation.max(took);
    }

    /// Whether to stop after this step, and why. Leaves time for two more steps, for the evaluation if it comes next, and for a
    /// checkpoint twice as slow as the slowest; before the first one, for a fiftieth of the limit.
    pub fn why(&self, next: Next) -> Option<Why> {
        match self.handlers.signal.load(Ordering::Relaxed) {
            0 => {}
            signal => return Some(Why::Signal(signal)),
        }
        let evaluation = if next == Next::Evaluation { self.evaluation } else { Duration::ZERO };
        let limit = self.limit?;
        let save = if self.save.is_zero() { limit / 50 } else { 2 * self.save };
        let needed = 2 * self.step + evaluation + save + Duration::from_secs(1);
        (CLOCK.elapsed() + needed >= limit).then_some(Why::TimeLimit)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut n_watches = self.handlers.n_watches();
        *n_watches -= 1;
        if *n_watches == 0 {
            self.handlers.is_off.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_leaves_time_to_save() {
        let mut watch = Watch::new(Some(Duration::from_secs(3600))).unwrap();
        assert_eq!(watch.why(Next::Step), None);
        watch.note_evaluation(Duration::from_secs(3600));
        assert_eq!(watch.why(Next::Step), None);
        assert_eq!(watch.why(Next::Evaluation), Some(Why::TimeLimit));
        watch.note_step(Duration::from_secs(1800));
        assert_eq!(watch.why(Next::Step), Some(Why::TimeLimit));
    }

    #[test]
    fn the_most_urgent_reason_is_known_by_its_number() {
        let reasons = [None, Some(Why::TimeLimit), Some(Why::Signal(10)), Some(Why::Signal(15))];
        let numbers = reasons.map(Why::urgency);
        assert!(numbers.is_sorted());
        assert_eq!(numbers.map(Why::of_urgency), reasons);
    }
}
