//! Polling that does not starve others.

use std::time::Duration;
use std::{hint, thread};

use crate::clock::Clock;

/// How a rank waits: at full speed first, then giving its processor to others, at last with short sleeps.
#[derive(Default)]
pub(crate) struct Backoff {
    pub n_pauses: u32,
    clock: Option<Clock>,
}

impl Backoff {
    /// Polls at full speed: some 10 microseconds.
    const N_SPINS: u32 = 100;
    const YIELDING: Duration = Duration::from_millis(20);
    pub const SLEEP: Duration = Duration::from_micros(50);

    /// Pauses before the next poll; returns the time waited before, but for the first polls.
    pub fn pause(&mut self) -> Duration {
        self.n_pauses = self.n_pauses.wrapping_add(1);
        if self.n_pauses < Self::N_SPINS && self.clock.is_none() {
            hint::spin_loop();
            return Duration::ZERO;
        }
        let waited = self.clock.get_or_insert_with(Clock::start).lap();
        if waited < Self::YIELDING {
            thread::yield_now();
        } else {
            thread::sleep(Self::SLEEP);
        }
        waited
    }
}
