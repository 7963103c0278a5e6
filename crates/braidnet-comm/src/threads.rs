//! Ranks as threads of one process. Values are moved into the receiver's mailbox, never copied.

use std::collections::HashMap;
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::queue::Queue;
use crate::transport::{Channel, Delivery, Parcel, Transport};
use crate::{CommError, Communicator};

/// How long a rank looks for its message before it sleeps: about twice what it costs to wake a sleeping thread. Between
/// two ranks on two processors a message then takes 0.4 us, not 27 us.
const SPIN: Duration = Duration::from_micros(50);

/// What the ranks of one launch share.
pub(crate) struct World {
    mailboxes: Vec<Mailbox>,
    /// The first failure; once it is there, every call fails with it.
    failure: OnceLock<(usize, String)>,
    /// Ranks spin only if each has a processor of its own.
    spin: Duration,
}

#[derive(Default)]
struct Mailbox {
    inbox: Mutex<Inbox>,
    changed: Condvar,
    /// Counts the changes, for a rank that spins without the lock.
    n_changes: AtomicU64,
    /// The rank has returned from its program: it sends no more.
    ended: AtomicBool,
}

#[derive(Default)]
struct Inbox {
    queues: HashMap<Channel, Queue<Box<dyn Parcel>>>,
    /// Threads asleep on `changed`; nobody is woken for nothing.
    n_asleep: usize,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        // Nothing under the lock leaves the queues half changed, so a panic elsewhere does not spoil them.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the owner that something changed; call it with the change made and the lock still held.
    fn announce(&self, inbox: MutexGuard<'_, Inbox>) {
        self.n_changes.fetch_add(1, Ordering::Release);
        let asleep = inbox.n_asleep > 0;
        drop(inbox);
        if asleep {
            self.changed.notify_all();
        }
    }
}

impl World {
    /// A world of `n` ranks.
    pub fn new(n: usize) -> Arc<Self> {
        let processors = thread::available_parallelism().map_or(1, |n| n.get());
        let spin = if n <= processors { SPIN } else { Duration::ZERO };
        let mailboxes = (0..n).map(|_| Mailbox::default()).collect();
        Arc::new(Self { mailboxes, failure: OnceLock::new(), spin })
    }

    /// One rank's communicator over the whole world; made once per rank.
    pub fn communicator(self: &Arc<Self>, rank: usize) -> Communicator {
        let transport = ThreadTransport { world: self.clone(), rank, next_context: AtomicU64::new(1) };
        Communicator::new(Arc::new(transport), 0, (0..self.mailboxes.len()).collect(), rank)
    }

    /// Records a failure, unless there was one before, and wakes everybody.
    pub fn poison(&self, rank: usize, reason: &str) {
        self.failure.get_or_init(|| (rank, reason.to_owned()));
        self.wake_all();
    }

    /// The first failure.
    pub fn failure(&self) -> Option<&(usize, String)> {
        self.failure.get()
    }

    /// Notes that a rank has returned: who waits for it waits in vain.
    pub fn end(&self, rank: usize) {
        self.mailboxes[rank].ended.store(true, Ordering::Release);
        self.wake_all();
    }

    fn wake_all(&self) {
        for mailbox in &self.mailboxes {
            mailbox.announce(mailbox.lock());
        }
    }

    fn check(&self) -> Result<(), CommError> {
        match self.failure.get() {
            Some((rank, reason)) => Err(CommError::Aborted { rank: *rank, reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

/// One rank's end.
struct ThreadTransport {
    world: Arc<World>,
    rank: usize,
    next_context: AtomicU64,
}

impl ThreadTransport {
    fn mailbox(&self) -> &Mailbox {
        &self.world.mailboxes[self.rank]
    }

    /// Waits for a change of this rank's mailbox: awake until the deadline, asleep after it.
    fn wait_for_change<'a>(
        &self,
        mailbox: &'a Mailbox,
        mut inbox: MutexGuard<'a, Inbox>,
        deadline: Instant,
    ) -> MutexGuard<'a, Inbox> {
        let seen = mailbox.n_changes.load(Ordering::Acquire);
        if Instant::now() < deadline {
            drop(inbox);
            while mailbox.n_changes.load(Ordering::Acquire) == seen && Instant::now() < deadline {
                hint::spin_loop();
            }
            return mailbox.lock();
        }
        inbox.n_asleep += 1;
        let mut inbox = mailbox.changed.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        inbox.n_asleep -= 1;
        inbox
    }
}

impl Transport for ThreadTransport {
    fn send(&self, channel: Channel, parcel: Box<dyn Parcel>) -> Result<(), CommError> {
        self.world.check()?;
        let mailbox = &self.world.mailboxes[channel.peer];
        let mut inbox = mailbox.lock();
        inbox.queues.entry(Channel { peer: self.rank, ..channel }).or_default().arrive(parcel);
        mailbox.announce(inbox);
        Ok(())
    }

    fn post(&self, channel: Channel) -> Result<u64, CommError> {
        self.world.check()?;
        Ok(self.mailbox().lock().queues.entry(channel).or_default().post())
    }

    fn take(&self, channel: Channel, ticket: u64) -> Result<Delivery, CommError> {
        let mailbox = self.mailbox();
        let mut inbox = mailbox.lock();
        let mut deadline = None;
        loop {
            self.world.check()?;
            if let Some(parcel) = inbox.queues.get_mut(&channel).and_then(|queue| queue.take(ticket)) {
                let type_name = (*parcel).type_name();
                return Ok(Delivery::Value { value: parcel.into_any(), type_name });
            }
            // Read after the queue and under the same lock: a rank sends before it ends.
            if self.world.mailboxes[channel.peer].ended.load(Ordering::Acquire) {
                return Err(CommError::PeerEnded { rank: channel.peer });
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.world.spin);
            inbox = self.wait_for_change(mailbox, inbox, deadline);
        }
    }

    fn is_ready(&self, channel: Channel, ticket: u64) -> Result<bool, CommError> {
        self.world.check()?;
        Ok(self.mailbox().lock().queues.get(&channel).is_some_and(|queue| queue.has(ticket)))
    }

    fn discard(&self, channel: Channel, ticket: u64) {
        if let Some(queue) = self.mailbox().lock().queues.get_mut(&channel) {
            queue.discard(ticket);
        }
    }

    fn abort(&self, reason: &str) -> CommError {
        self.world.poison(self.rank, reason);
        let (rank, reason) = self.world.failure().cloned().unwrap_or((self.rank, reason.to_owned()));
        CommError::Aborted { rank, reason }
    }

    fn next_context(&self) -> &AtomicU64 {
        &self.next_context
    }
}
