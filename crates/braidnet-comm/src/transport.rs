//! What the communicator asks of threads and of MPI: ordered channels between two ranks, without types.

use std::any::{Any, type_name};
use std::sync::atomic::AtomicU64;
#[cfg(feature = "mpi")]
use std::time::Duration;

#[cfg(feature = "mpi")]
use crate::{Attach, DeviceBuffer, DeviceMemory, mpi::Lent};
use crate::{CommError, Transfer};

/// One direction between this rank and another, in the numbers of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    /// The communicator: two that share a pair of ranks never share this number.
    pub context: u64,
    /// The other rank, in the world.
    pub peer: usize,
    /// A user's tag, or a reserved one.
    pub tag: u16,
}

/// A [`Transfer`] whose type is forgotten.
pub(crate) trait Parcel: Send {
    fn n_bytes(&self) -> usize;
    #[cfg(feature = "mpi")]
    fn pack(&self, out: &mut Vec<u8>);
    #[cfg(feature = "mpi")]
    fn lend(&self) -> Option<Vec<DeviceBuffer>>;
    #[cfg(feature = "mpi")]
    fn pack_head(&self, out: &mut Vec<u8>);
    fn type_name(&self) -> &'static str;
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

impl<T: Transfer> Parcel for T {
    fn n_bytes(&self) -> usize {
        Transfer::n_bytes(self)
    }

    #[cfg(feature = "mpi")]
    fn pack(&self, out: &mut Vec<u8>) {
        Transfer::pack(self, out);
    }

    #[cfg(feature = "mpi")]
    fn lend(&self) -> Option<Vec<DeviceBuffer>> {
        Transfer::lend(self)
    }

    #[cfg(feature = "mpi")]
    fn pack_head(&self, out: &mut Vec<u8>) {
        Transfer::pack_head(self, out);
    }

    fn type_name(&self) -> &'static str {
        type_name::<T>()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// A message as it arrives.
pub(crate) enum Delivery {
    /// The sender's value itself.
    Value { value: Box<dyn Any + Send>, type_name: &'static str },
    /// The value's bytes, after `payload_at` bytes of the transport's own, and the fingerprint of its type.
    #[cfg(feature = "mpi")]
    Bytes { buffer: Vec<u8>, payload_at: usize, fingerprint: u32 },
    /// The value's head, after `head_at` bytes of the transport's own. Its buffers are still to be fetched, or refused.
    #[cfg(feature = "mpi")]
    Lent { buffer: Vec<u8>, head_at: usize, fingerprint: u32, lent: Lent },
}

/// One rank's end of all channels.
///
/// `post` numbers the receives of a channel; the message for ticket `k` is the `k`-th that the peer sends there. Every
/// ticket ends in one `take` or one `discard`.
pub(crate) trait Transport: Send + Sync {
    /// Sends and returns at once.
    fn send(&self, channel: Channel, parcel: Box<dyn Parcel>) -> Result<(), CommError>;

    /// Sends, and lets the receiver fetch the buffers that the parcel lends from where they are.
    #[cfg(feature = "mpi")]
    fn lend(&self, channel: Channel, parcel: Box<dyn Parcel>) -> Result<(), CommError> {
        self.send(channel, parcel)
    }

    /// Posts a receive and returns its ticket.
    fn post(&self, channel: Channel) -> Result<u64, CommError>;

    /// Waits for the message of a ticket.
    fn take(&self, channel: Channel, ticket: u64) -> Result<Delivery, CommError>;

    /// Whether `take` would return at once.
    fn is_ready(&self, channel: Channel, ticket: u64) -> Result<bool, CommError>;

    /// Gives a ticket up: its message is thrown away, now or on arrival.
    fn discard(&self, channel: Channel, ticket: u64);

    /// Fills rooms of the sizes announced with the buffers of a message, and waits for it: within a limit, or else
    /// within the patience of the launch, whose end ends the job.
    #[cfg(feature = "mpi")]
    fn fetch(&self, _lent: &Lent, _rooms: Vec<DeviceBuffer>, _limit: Option<Duration>) -> Result<(), CommError> {
        Err(CommError::malformed("message", "a value", "lent buffers"))
    }

    /// Throws the buffers of a message away.
    #[cfg(feature = "mpi")]
    fn refuse(&self, _lent: &Lent) {}

    /// Whether buffers in this memory may be lent, or why not; nothing if values are handed over anyway.
    #[cfg(feature = "mpi")]
    fn takes(&self, _memory: DeviceMemory) -> Option<Result<(), String>> {
        None
    }

    /// Waits no longer for lent buffers to be sent: after an exchange that failed.
    #[cfg(feature = "mpi")]
    fn abandon(&self) {}

    /// Makes every thread of the transport's own do this before it looks after lent buffers.
    #[cfg(feature = "mpi")]
    fn attach(&self, _attach: Attach) {}

    /// Takes back a buffer delivered by `take`, for reuse.
    #[cfg(feature = "mpi")]
    fn recycle(&self, _buffer: Vec<u8>) {}

    /// Ends every rank of the world with this rank's reason. Returns the error of the first failure, which may be
    /// another rank's.
    fn abort(&self, reason: &str) -> CommError;

    /// The next context number this rank has not used.
    fn next_context(&self) -> &AtomicU64;

    /// The context numbers there are.
    fn n_contexts(&self) -> u64 {
        u64::MAX
    }
}
