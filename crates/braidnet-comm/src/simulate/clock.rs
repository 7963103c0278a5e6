//! A rank's clock, and its outgoing link, which runs by it.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Link, Simulated};

thread_local! {
    /// The clock of the rank that this thread runs.
    static CLOCK: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

/// Lets the clock of the calling rank run on: it computes for so many seconds. No effect outside of a simulation, and
/// on threads that a rank has started.
///
/// # Panics
/// In a simulation, if `seconds` is negative, infinite or NaN: the program's model of its computation is broken, and so
/// would be all times after it. [`simulate`](super::simulate) returns this as the error of the rank.
pub fn spend(seconds: f64) {
    let is_time = seconds.is_finite() && seconds >= 0.0;
    on_clock(|clock| {
        assert!(is_time, "a computation of {seconds} s; spend a finite time that is not negative");
        clock.now += seconds;
    });
}

/// The clock of the calling rank, in seconds since its program started; 0 outside of a simulation.
pub fn now() -> f64 {
    on_clock(|clock| clock.now).unwrap_or(0.0)
}

/// How long the calling rank has waited for messages so far, in seconds; 0 outside of a simulation.
pub fn waited() -> f64 {
    on_clock(|clock| clock.waited).unwrap_or(0.0)
}

fn on_clock<R>(act: impl FnOnce(&mut Clock) -> R) -> Option<R> {
    CLOCK.with_borrow(|shared| shared.as_ref().map(|shared| act(&mut shared.lock())))
}

/// Gives the calling thread its rank's clock.
pub(super) fn assign(clock: Shared) {
    CLOCK.set(Some(clock));
}

/// The clock as the rank's thread and its transport hold it.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Clock>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Clock> {
        // The one panic under the lock comes before anything has changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a rank's time has gone, and what it has sent. All in seconds.
#[derive(Default)]
pub(super) struct Clock {
    now: f64,
    /// Of `now`.
    waited: f64,
    /// When the outgoing link has sent all that it was given.
    link_free: f64,
    bytes: u64,
    messages: u64,
}

impl Clock {
    /// Hands a message to the link, or to the rank itself; when it arrives.
    pub fn send(&mut self, n_bytes: usize, link: Option<Link>) -> f64 {
        self.bytes += n_bytes as u64;
        self.messages += 1;
        let Some(link) = link else { return self.now };
        self.link_free = self.link_free.max(self.now) + n_bytes as f64 / link.bandwidth;
        self.link_free + link.latency
    }

    /// Waits for what arrives at a time.
    pub fn wait_until(&mut self, arrival: f64) {
        if arrival > self.now {
            // Rounding does not make it more than all time.
            self.waited = (self.waited + (arrival - self.now)).min(arrival);
            self.now = arrival;
        }
    }

    pub fn report<T>(&self, value: T) -> Simulated<T> {
        let Self { now, waited, bytes, messages, .. } = *self;
        Simulated { value, seconds: now, waiting: waited, bytes, messages }
    }
}
