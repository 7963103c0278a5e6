//! How long a wait has lasted.

use std::time::{Duration, Instant};

/// The most that one lap counts: a process that was suspended has not waited meanwhile.
const MOST: Duration = Duration::from_secs(2);

/// Adds up laps, each of which should be well below a second.
pub(crate) struct Clock {
    last: Instant,
    waited: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { last: Instant::now(), waited: Duration::ZERO }
    }

    /// Ends a lap; returns the time waited so far.
    pub fn lap(&mut self) -> Duration {
        self.lap_at(Instant::now())
    }

    fn lap_at(&mut self, now: Instant) -> Duration {
        self.waited += now.saturating_duration_since(self.last).min(MOST);
        self.last = now;
        self.waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_suspension_does_not_count() {
        let mut clock = Clock::start();
        let start = clock.last;
        assert_eq!(clock.lap_at(start + Duration::from_millis(500)), Duration::from_millis(500));
        assert_eq!(clock.lap_at(start + Duration::from_secs(3600)), Duration::from_millis(2500));
        assert_eq!(clock.lap_at(start + Duration::from_secs(3601)), Duration::from_millis(3500));
    }
}
