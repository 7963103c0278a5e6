//! When a neighbour counts as gone.

use std::time::{Duration, Instant};

/// How long a neighbour may be silent.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// A look that comes this late means that this process itself was suspended: it cannot know what it missed.
const LATE: Duration = Duration::from_secs(3);

/// Watches one neighbour, whose beats should come every second.
pub(crate) struct Watchdog {
    heard: Instant,
    looked: Instant,
    has_ended: bool,
}

impl Watchdog {
    pub fn new(now: Instant) -> Self {
        Self { heard: now, looked: now, has_ended: false }
    }

    /// A beat came.
    pub fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The last beat came: silence means nothing from now on.
    pub fn hear_last(&mut self) {
        self.has_ended = true;
    }

    /// Looks after all beats that are here were heard; whether the neighbour is gone.
    pub fn look(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.looked) > LATE {
            self.heard = now;
        }
        self.looked = now;
        !self.has_ended && now.saturating_duration_since(self.heard) > SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every second; at which of `n` looks the neighbour counts as gone.
    fn first_alarm(n: u64, beat: impl Fn(u64) -> bool, second: impl Fn(u64) -> u64) -> Option<u64> {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start);
        (1..n).find(|&k| {
            let now = start + Duration::from_secs(second(k));
            if beat(k) {
                watchdog.hear(now);
            }
            watchdog.look(now)
        })
    }

    #[test]
    fn silence_is_noticed_once_it_is_long_enough() {
        assert_eq!(first_alarm(100, |_| true, |k| k), None);
        assert_eq!(first_alarm(100, |k| k % 9 == 0, |k| k), None);
        assert_eq!(first_alarm(100, |k| k <= 20, |k| k), Some(31));
    }

    #[test]
    fn a_process_that_was_suspended_accuses_nobody() {
        let suspended = |k| if k < 10 { k } else { k + 3600 };
        assert_eq!(first_alarm(100, |k| !(10..=15).contains(&k), suspended), None);
        assert_eq!(first_alarm(100, |k| k < 10, suspended), Some(21));
    }

    #[test]
    fn who_has_ended_may_be_silent() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start);
        watchdog.hear_last();
        assert!((1..100).all(|k| !watchdog.look(start + Duration::from_secs(k))));
    }
}
