//! Counts of what was sent.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one rank has sent on one communicator, in messages and in bytes of payload. The same on threads and MPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Messages of [`Communicator::send`](crate::Communicator::send).
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages sent inside collective calls.
    pub collective_messages: u64,
    /// Their bytes.
    pub collective_bytes: u64,
}

/// The running counts behind [`Traffic`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    messages: AtomicU64,
    bytes: AtomicU64,
    collective_messages: AtomicU64,
    collective_bytes: AtomicU64,
}

impl Counters {
    pub fn count_user(&self, n_bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(n_bytes as u64, Ordering::Relaxed);
    }

    pub fn count_collective(&self, n_bytes: usize) {
        self.collective_messages.fetch_add(1, Ordering::Relaxed);
        self.collective_bytes.fetch_add(n_bytes as u64, Ordering::Relaxed);
    }

    pub fn read(&self) -> Traffic {
        Traffic {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            collective_messages: self.collective_messages.load(Ordering::Relaxed),
            collective_bytes: self.collective_bytes.load(Ordering::Relaxed),
        }
    }
}
