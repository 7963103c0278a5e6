//! The handle that programs hold.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::duty::Duties;
use crate::launch::PATIENCE;
use crate::threads::World;
use crate::timeline::span;
use crate::traffic::Counters;
use crate::transport::{Channel, Transport};
use crate::{CommError, DevicePath, Receive, Traffic, Transfer};

/// Tells the messages between two ranks apart. Below [`N_TAGS`]; the others are reserved for collectives.
pub type Tag = u16;

/// The tags that users have: `0..N_TAGS`.
pub const N_TAGS: Tag = 1024;

/// The tags of the collectives: one each, because messages of one channel keep their order.
pub(crate) mod tags {
    use super::{N_TAGS, Tag};

    pub const BROADCAST: Tag = N_TAGS;
    pub const GATHER: Tag = N_TAGS + 1;
    pub const ALL_GATHER: Tag = N_TAGS + 2;
    pub const REDUCE: Tag = N_TAGS + 3;
    pub const REDUCED: Tag = N_TAGS + 4;
    pub const BARRIER: Tag = N_TAGS + 5;
    #[cfg(feature = "mpi")]
    pub const PROBE: Tag = N_TAGS + 6;
    /// The first tag that nobody uses.
    #[cfg(feature = "mpi")]
    pub const END: Tag = N_TAGS + 7;
}

/// A group of ranks that talk to each other, as one of them sees it. A cheap handle: clones are the same communicator.
///
/// # Communication
/// [`send`](Self::send) and [`receive`](Self::receive) are point-to-point. Every rank of the communicator must call the
/// collectives (`broadcast`, `gather`, `all_gather`, `all_reduce`, `start_all_reduce`, `barrier`, `split`,
/// `duplicate`), in the same order, and on one rank one after the other.
#[derive(Clone)]
pub struct Communicator {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    context: u64,
    /// The ranks of the world that belong, in the order of their ranks here.
    members: Vec<usize>,
    rank: usize,
    counters: Counters,
    duties: Mutex<Duties>,
    /// How values of a device travel, once that is decided.
    device_path: OnceLock<DevicePath>,
}

impl Communicator {
    /// A communicator of one rank, of this process alone, also under `mpirun`.
    pub fn alone() -> Self {
        World::new(1, PATIENCE).communicator(0)
    }

    pub(crate) fn new(transport: Arc<dyn Transport>, context: u64, members: Vec<usize>, rank: usize) -> Self {
        let (counters, duties, device_path) = Default::default();
        Self { inner: Arc::new(Inner { transport, context, members, rank, counters, duties, device_path }) }
    }

    /// This rank's number, from 0.
    pub fn rank(&self) -> usize {
        self.inner.rank
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.inner.members.len()
    }

    /// Sends a value and returns at once: it is moved (threads) or packed into a buffer of its own (MPI), unless its
    /// buffers are [lent](Transfer::lend). Sending to oneself works.
    ///
    /// # Errors
    /// [`NoSuchRank`](CommError::NoSuchRank), [`BadTag`](CommError::BadTag), [`Aborted`](CommError::Aborted) if some
    /// rank has failed, and under MPI [`TooLarge`](CommError::TooLarge) from 2 GiB on.
    ///
    /// # Communication
    /// One message; under MPI two when the channel has to grow, and one more for every lent buffer.
    pub fn send<T: Transfer>(&self, to: usize, tag: Tag, value: T) -> Result<(), CommError> {
        let _span = span!("send", to = to);
        let channel = self.channel(to, user_tag(tag)?)?;
        self.inner.counters.count_user(value.n_bytes());
        self.dispatch(channel, value)
    }

    /// Posts a receive; [`Receive::wait`] returns the value.
    ///
    /// Receives of one sender and tag are served in the order posted. A receive that is dropped throws its message
    /// away.
    ///
    /// # Errors
    /// [`NoSuchRank`](CommError::NoSuchRank), [`BadTag`](CommError::BadTag), [`Aborted`](CommError::Aborted).
    pub fn receive<T: Transfer>(&self, from: usize, tag: Tag) -> Result<Receive<T>, CommError> {
        self.post(from, user_tag(tag)?)
    }

    /// Ends all ranks with this rank's reason, and returns the error to hand on.
    ///
    /// On threads every call of every rank then fails with [`CommError::Aborted`], and the launch with the first
    /// failure. Under MPI the reason goes to stderr, the job ends with exit code 1, and this does not return.
    pub fn abort(&self, reason: &str) -> CommError {
        self.inner.transport.abort(reason)
    }

    /// How values of a device travel on this communicator, once
    /// [`probe_device_path`](Self::probe_device_path) has decided, here or on the communicator that this was made from.
    pub fn device_path(&self) -> Option<&DevicePath> {
        self.inner.device_path.get()
    }

    /// Takes a decision over, unless there is one.
    pub(crate) fn set_device_path(&self, path: &DevicePath) {
        self.inner.device_path.get_or_init(|| path.clone());
    }

    /// What this rank has sent on this communicator so far; the parent's and the children's messages count there.
    pub fn traffic(&self) -> Traffic {
        self.inner.counters.read()
    }

    /// The message of a collective: sent under a reserved tag and counted apart.
    pub(crate) fn send_collective<T: Transfer>(&self, to: usize, tag: Tag, value: T) -> Result<(), CommError> {
        let _span = span!("send", to = to);
        let channel = self.channel(to, tag)?;
        self.inner.counters.count_collective(value.n_bytes());
        self.dispatch(channel, value)
    }

    /// Sends a value the way that was decided for this communicator.
    fn dispatch<T: Transfer>(&self, channel: Channel, value: T) -> Result<(), CommError> {
        #[cfg(feature = "mpi")]
        if self.device_path() == Some(&DevicePath::Direct) {
            return self.inner.transport.lend(channel, Box::new(value));
        }
        self.inner.transport.send(channel, Box::new(value))
    }

    /// Posts a receive on any tag.
    pub(crate) fn post<T: Transfer>(&self, from: usize, tag: Tag) -> Result<Receive<T>, CommError> {
        let channel = self.channel(from, tag)?;
        let ticket = self.inner.transport.post(channel)?;
        Ok(Receive { transport: self.inner.transport.clone(), channel, ticket: Some(ticket), from, value: PhantomData })
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.inner.transport
    }

    /// What this rank is still to combine.
    pub(crate) fn duties(&self) -> MutexGuard<'_, Duties> {
        self.inner.duties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn members(&self) -> &[usize] {
        &self.inner.members
    }

    /// That a root exists.
    pub(crate) fn check_rank(&self, rank: usize) -> Result<(), CommError> {
        if rank < self.size() { Ok(()) } else { Err(CommError::NoSuchRank { rank, size: self.size() }) }
    }

    pub(crate) fn channel(&self, peer: usize, tag: Tag) -> Result<Channel, CommError> {
        self.check_rank(peer)?;
        Ok(Channel { context: self.inner.context, peer: self.inner.members[peer], tag })
    }
}

impl fmt::Debug for Communicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Communicator(rank {} of {}, context {})", self.rank(), self.size(), self.inner.context)
    }
}

fn user_tag(tag: Tag) -> Result<Tag, CommError> {
    if tag < N_TAGS { Ok(tag) } else { Err(CommError::BadTag { tag, limit: N_TAGS }) }
}
