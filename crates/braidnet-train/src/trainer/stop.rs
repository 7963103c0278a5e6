//! Being told to stop: by a signal, or by the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Why a run stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Signal(usize),
    TimeLimit,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::TimeLimit => write!(f, "the time limit is near"),
        }
    }
}

/// Watches for SIGTERM, SIGINT and SIGUSR1, and for the end of the time given.
pub(crate) struct Watch {
    start: Instant,
    limit: Option<Duration>,
    signal: Arc<AtomicUsize>,
    /// The longest step and the longest save so far.
    longest: [Duration; 2],
}

impl Watch {
    /// Starts to watch. A second signal has its usual effect.
    pub fn new(limit: Option<Duration>) -> std::io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        #[cfg(unix)]
        let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        #[cfg(unix)]
        for number in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGUSR1] {
            signal_hook::flag::register_conditional_default(number, Arc::clone(&armed))?;
            signal_hook::flag::register(number, Arc::clone(&armed))?;
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
        }
        Ok(Self { start: Instant::now(), limit, signal, longest: [Duration::ZERO; 2] })
    }

    /// How long a step took.
    pub fn note_step(&mut self, took: Duration) {
        self.longest[0] = self.longest[0].max(took);
    }

    /// How long a checkpoint took.
    pub fn note_save(&mut self, took: Duration) {
        self.longest[1] = self.longest[1].max(took);
    }

    /// Whether to stop, and why. Leaves time for two more steps and a checkpoint twice as slow as the slowest.
    pub fn why(&self) -> Option<Why> {
        match self.signal.load(Ordering::Relaxed) {
            0 => {}
            signal => return Some(Why::Signal(signal)),
        }
        let needed = 2 * self.longest[0] + 2 * self.longest[1] + Duration::from_secs(1);
        self.limit.filter(|limit| self.start.elapsed() + needed >= *limit).map(|_| Why::TimeLimit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_leaves_time_to_save() {
        let mut watch = Watch::new(Some(Duration::from_secs(3600))).unwrap();
        assert_eq!(watch.why(), None);
        watch.note_step(Duration::from_secs(1800));
        assert_eq!(watch.why(), Some(Why::TimeLimit));
    }
}
