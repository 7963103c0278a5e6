//! Ranks as threads of one process. Values are moved into the receiver's mailbox, never copied.

use std::collections::HashMap;
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::queue::Queue;
use crate::transport::{Channel, Delivery, Parcel, Transport};
use crate::{CommError, Communicator};

/// How long a rank looks for its message before it sleeps: about twice what it costs to wake a sleeping thread. Between
/// two ranks on two processors a message then takes 0.4 us, not 27 us.
const SPIN: Duration = Duration::from_micros(50);

/// How long a rank sleeps before it looks at the clock.
const LAP: Duration = Duration::from_secs(1);

/// What the ranks of one launch share.
pub(crate) struct World {
    mailboxes: Vec<Mailbox>,
    /// The first failure; once it is there, every call fails with it.
    failure: OnceLock<(usize, String)>,
    /// Ranks spin only if each has a processor of its own.
    spin: Duration,
    /// How long a rank waits for one message.
    patience: Duration,
    /// The ranks whose programs have not returned.
    n_running: Mutex<usize>,
    /// The launch waits here for all ranks to return, or for a failure.
    news: Condvar,
}

struct Mailbox {
    inbox: Mutex<Inbox>,
    changed: Condvar,
    /// Counts the changes, for a rank that spins without the lock.
    n_changes: AtomicU64,
    /// The rank has returned from its program: it sends no more.
    ended: AtomicBool,
    /// The rank that the owner sleeps for; [`NOBODY`] while it does not.
    waits_for: AtomicUsize,
}

/// No rank's number.
const NOBODY: usize = usize::MAX;

#[derive(Default)]
struct Inbox {
    queues: HashMap<Channel, Queue<Box<dyn Parcel>>>,
    /// Threads asleep on `changed`; nobody is woken for nothing.
    n_asleep: usize,
}

impl Mailbox {
    fn new() -> Self {
        let (inbox, changed, n_changes, ended) = Default::default();
        Self { inbox, changed, n_changes, ended, waits_for: AtomicUsize::new(NOBODY) }
    }

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
    pub fn new(n: usize, patience: Duration) -> Arc<Self> {
        let processors = thread::available_parallelism().map_or(1, |n| n.get());
        let spin = if n <= processors { SPIN } else { Duration::ZERO };
        let mailboxes = (0..n).map(|_| Mailbox::new()).collect();
        let (failure, news) = Default::default();
        Arc::new(Self { mailboxes, failure, spin, patience, n_running: Mutex::new(n), news })
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
        // Under the lock, so that the launch cannot look just before and sleep just after.
        let _running = self.lock_running();
        self.news.notify_all();
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

    /// Notes that the thread of a rank is done, whether it ended well or not.
    pub fn leave(&self) {
        *self.lock_running() -= 1;
        self.news.notify_all();
    }

    /// Waits until every rank's thread is done; after a failure for no longer than `grace`. Whether they are.
    pub fn all_left(&self, grace: Duration) -> bool {
        let busy = |n: &mut usize| *n > 0 && self.failure.get().is_none();
        let running = self.news.wait_while(self.lock_running(), busy).unwrap_or_else(PoisonError::into_inner);
        let running = self.news.wait_timeout_while(running, grace, |n| *n > 0).unwrap_or_else(PoisonError::into_inner);
        *running.0 == 0
    }

    fn lock_running(&self) -> MutexGuard<'_, usize> {
        self.n_running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why `rank` waits for so long: the end of the chain of waiting ranks, or the circle in it.
    fn blame(&self, rank: usize) -> CommError {
        let mut chain = vec![rank];
        loop {
            let last = chain[chain.len() - 1];
            let next = self.mailboxes[last].waits_for.load(Ordering::Acquire);
            if next == NOBODY {
                return CommError::NoAnswer { rank: last, patience: self.patience };
            }
            if let Some(first) = chain.iter().position(|&rank| rank == next) {
                return CommError::Deadlock { ranks: chain.split_off(first), patience: self.patience };
            }
            chain.push(next);
        }
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

    /// Spins until this rank's mailbox changes, up to a deadline.
    fn spin<'a>(mailbox: &'a Mailbox, inbox: MutexGuard<'a, Inbox>, deadline: Instant) -> MutexGuard<'a, Inbox> {
        let seen = mailbox.n_changes.load(Ordering::Acquire);
        drop(inbox);
        while mailbox.n_changes.load(Ordering::Acquire) == seen && Instant::now() < deadline {
            hint::spin_loop();
        }
        mailbox.lock()
    }

    /// Sleeps until this rank's mailbox changes, for a lap at most.
    fn sleep<'a>(&self, mailbox: &'a Mailbox, mut inbox: MutexGuard<'a, Inbox>) -> MutexGuard<'a, Inbox> {
        inbox.n_asleep += 1;
        let lap = LAP.min(self.world.patience);
        let mut inbox = mailbox.changed.wait_timeout(inbox, lap).unwrap_or_else(PoisonError::into_inner).0;
        inbox.n_asleep -= 1;
        inbox
    }

    /// [`take`](Transport::take), which starts the clock and marks this rank as waiting once it sleeps.
    fn take_from(&self, channel: Channel, ticket: u64, clock: &mut Option<Clock>) -> Result<Delivery, CommError> {
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
            if Instant::now() < deadline {
                inbox = Self::spin(mailbox, inbox, deadline);
                continue;
            }
            if clock.get_or_insert_with(Clock::start).lap() >= self.world.patience {
                drop(inbox);
                return Err(self.abort(&self.world.blame(self.rank).to_string()));
            }
            mailbox.waits_for.store(channel.peer, Ordering::Release);
            inbox = self.sleep(mailbox, inbox);
        }
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
        let mut clock = None;
        let delivery = self.take_from(channel, ticket, &mut clock);
        if clock.is_some() {
            self.mailbox().waits_for.store(NOBODY, Ordering::Release);
        }
        delivery
    }

    fn is_ready(&self, channel: Channel, ticket: u64) -> Result<bool, CommError> {
        self.world.check()?;
        let inbox = self.mailbox().lock();
        let has_come = inbox.queues.get(&channel).is_some_and(|queue| queue.has(ticket));
        Ok(has_come || self.world.mailboxes[channel.peer].ended.load(Ordering::Acquire))
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
