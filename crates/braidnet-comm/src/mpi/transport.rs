//! The transport over MPI: one engine under a mutex, and waits that poll it.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use std::{process, thread};

use super::backoff::Backoff;
use super::lent::Lent;
use super::process::Process;
use super::question;
use super::raw::Pending;
use super::wire::{Header, N_HEADER};
use crate::transport::{Channel, Delivery, Parcel, Transport};
use crate::{Attach, CommError, DeviceBuffer, DeviceMemory};

/// This process's end of all channels.
pub(crate) struct MpiTransport {
    /// `None` after the launch.
    process: Mutex<Option<Process>>,
    rank: usize,
    next_context: AtomicU64,
    n_contexts: u64,
    patience: Duration,
}

/// After this long in a wait the pulse asks whether the sender has ended.
const ASKING: Duration = Duration::from_millis(500);

/// How long an abort waits for the mutex; a thread that holds it for longer is stuck in MPI.
const STUCK: Duration = Duration::from_secs(2);

impl MpiTransport {
    pub fn new(process: Process, patience: Duration) -> Self {
        let (rank, n_contexts) = (process.engine.raw().rank, process.engine.n_contexts());
        Self { process: Mutex::new(Some(process)), rank, next_context: AtomicU64::new(1), n_contexts, patience }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn with<R>(&self, action: impl FnOnce(&mut Process) -> Result<R, CommError>) -> Result<R, CommError> {
        self.lock().as_mut().map_or(Err(CommError::LaunchEnded), action)
    }

    /// Waits until all programs have returned; meanwhile completes what is still being sent, and throws away what
    /// nobody received. Collective.
    pub fn wait_for_all(&self) -> Result<(), CommError> {
        self.with(|process| {
            process.has_ended = true;
            process.engine.withdraw()
        })?;
        self.drain(|process| process.engine.drain(), |process| process.engine.raw().ibarrier())
    }

    /// Throws away what notes are left, and lets go of MPI. Collective, after [`wait_for_all`](Self::wait_for_all).
    pub fn finish(&self) -> Result<(), CommError> {
        self.drain(|process| process.notes.drain(), |process| process.notes.raw().ibarrier())?;
        let Some(Process { engine, notes, .. }) = self.lock().take() else { return Ok(()) };
        engine.free()?;
        notes.free()
    }

    /// A barrier that a rank enters when its sends are done, so none is left in the world when it opens.
    fn drain(
        &self,
        all_sent: impl Fn(&mut Process) -> Result<bool, CommError>,
        enter: impl Fn(&mut Process) -> Result<Pending, CommError>,
    ) -> Result<(), CommError> {
        let mut barrier = None;
        let mut backoff = Backoff::default();
        loop {
            if self.with(&all_sent)? && barrier.is_none() {
                barrier = Some(self.with(&enter)?);
            }
            if let Some(barrier) = &mut barrier
                && self.with(|_| barrier.test())?
            {
                return Ok(());
            }
            backoff.pause();
        }
    }

    /// [`take`](Transport::take), which marks the channel once the wait is long, and leaves the mark.
    fn take_from(&self, channel: Channel, ticket: u64, is_marked: &mut bool) -> Result<Delivery, CommError> {
        let mut backoff = Backoff::default();
        loop {
            let everything = backoff.n_pauses.is_multiple_of(16);
            let message = self.with(|process| match process.engine.take(channel, ticket)? {
                None if process.ended.get(&channel).is_some_and(|&n_sent| ticket >= n_sent) => {
                    Err(CommError::PeerEnded { rank: channel.peer })
                }
                // Other channels get their turn now and then; the one waited for comes first.
                None if everything => process.engine.progress_all().map(|()| None),
                message => Ok(message),
            })?;
            if let Some(buffer) = message {
                return delivery(buffer, channel.peer);
            }
            let waited = backoff.pause();
            if waited >= ASKING && !*is_marked {
                *is_marked = true;
                self.with(|process| Ok(process.waits.insert(channel)))?;
            }
            if waited >= self.patience {
                return Err(self.give_up(channel.peer));
            }
        }
    }

    /// Ends the job because a rank does not answer.
    fn give_up(&self, rank: usize) -> CommError {
        self.abort(&CommError::NoAnswer { rank, patience: self.patience }.to_string())
    }
}

/// A message by its header, which was checked on arrival.
fn delivery(buffer: Vec<u8>, from: usize) -> Result<Delivery, CommError> {
    match Header::unpack(&buffer)? {
        Header::Data { fingerprint, .. } => Ok(Delivery::Bytes { buffer, payload_at: N_HEADER, fingerprint }),
        Header::Lent { fingerprint, .. } => {
            let (lent, n) = Lent::unpack(&buffer[N_HEADER..], from)?;
            Ok(Delivery::Lent { buffer, head_at: N_HEADER + n, fingerprint, lent })
        }
        Header::Grow { .. } => Err(CommError::malformed("message", "a value", "an announcement")),
    }
}

impl Transport for MpiTransport {
    fn send(&self, channel: Channel, parcel: Box<dyn Parcel>) -> Result<(), CommError> {
        self.with(|process| process.engine.send(channel, &*parcel))
    }

    fn lend(&self, channel: Channel, parcel: Box<dyn Parcel>) -> Result<(), CommError> {
        self.with(|process| process.engine.lend(channel, &*parcel))
    }

    fn post(&self, channel: Channel) -> Result<u64, CommError> {
        self.with(|process| process.engine.post(channel))
    }

    fn take(&self, channel: Channel, ticket: u64) -> Result<Delivery, CommError> {
        let mut is_marked = false;
        let delivery = self.take_from(channel, ticket, &mut is_marked);
        if is_marked && let Some(process) = self.lock().as_mut() {
            process.waits.remove(&channel);
        }
        delivery
    }

    fn is_ready(&self, channel: Channel, ticket: u64) -> Result<bool, CommError> {
        self.with(|process| process.engine.has(channel, ticket))
    }

    fn discard(&self, channel: Channel, ticket: u64) {
        // Nobody is there to be told of an error of MPI; the next call meets it again.
        let _ = self.with(|process| process.engine.discard(channel, ticket));
    }

    fn fetch(&self, lent: &Lent, rooms: Vec<DeviceBuffer>, limit: Option<Duration>) -> Result<(), CommError> {
        let mut pending = self.with(|process| process.engine.fetch(lent, rooms))?;
        let mut backoff = Backoff::default();
        loop {
            self.with(|process| {
                let mut left = Vec::new();
                for mut fetch in pending.drain(..) {
                    if !fetch.test()? {
                        left.push(fetch);
                    }
                }
                pending = left;
                // The other rank may wait for a buffer of this one before it goes on.
                process.engine.progress_all()
            })?;
            let waited = if pending.is_empty() { return Ok(()) } else { backoff.pause() };
            match limit {
                Some(limit) if waited >= limit => {
                    return Err(CommError::NoAnswer { rank: lent.from, patience: limit });
                }
                None if waited >= self.patience => return Err(self.give_up(lent.from)),
                _ => {}
            }
        }
    }

    fn refuse(&self, lent: &Lent) {
        // As for `discard`.
        let _ = self.with(|process| process.engine.refuse(lent));
    }

    fn takes(&self, memory: DeviceMemory) -> Option<Result<(), String>> {
        Some(question::takes(memory))
    }

    fn abandon(&self) {
        if let Some(process) = self.lock().as_mut() {
            process.engine.abandon();
        }
    }

    fn attach(&self, attach: Attach) {
        if let Some(process) = self.lock().as_mut() {
            process.attach = Some(attach);
        }
    }

    fn recycle(&self, buffer: Vec<u8>) {
        if let Some(process) = self.lock().as_mut() {
            process.engine.recycle(buffer);
        }
    }

    fn abort(&self, reason: &str) -> CommError {
        eprintln!("rank {}: {reason}", self.rank);
        let since = Instant::now();
        while since.elapsed() < STUCK {
            match self.process.try_lock() {
                Ok(process) => match process.as_ref() {
                    Some(process) => process.engine.raw().abort(),
                    None => return CommError::LaunchEnded,
                },
                Err(TryLockError::Poisoned(process)) => match process.into_inner().as_ref() {
                    Some(process) => process.engine.raw().abort(),
                    None => return CommError::LaunchEnded,
                },
                Err(TryLockError::WouldBlock) => thread::sleep(Backoff::SLEEP),
            }
        }
        // The process manager ends the other ranks when one leaves like this.
        process::exit(1)
    }

    fn next_context(&self) -> &AtomicU64 {
        &self.next_context
    }

    fn n_contexts(&self) -> u64 {
        self.n_contexts
    }
}
