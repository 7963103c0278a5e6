//! The transport over MPI: one engine under a mutex, and waits that poll it.

use std::hint;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::raw::RawWorld;
use super::wire::{Header, N_HEADER};
use crate::CommError;
use crate::transport::{Channel, Delivery, Parcel, Transport};

/// This process's end of all channels.
pub(crate) struct MpiTransport {
    /// `None` after the launch.
    engine: Mutex<Option<Engine>>,
    rank: usize,
    next_context: AtomicU64,
    n_contexts: u64,
}

impl MpiTransport {
    pub fn new(raw: RawWorld) -> Self {
        let rank = raw.rank;
        let engine = Engine::new(raw);
        let n_contexts = engine.n_contexts();
        Self { engine: Mutex::new(Some(engine)), rank, next_context: AtomicU64::new(1), n_contexts }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Engine>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, action: impl FnOnce(&mut Engine) -> Result<R, CommError>) -> Result<R, CommError> {
        self.lock().as_mut().map_or(Err(CommError::LaunchEnded), action)
    }

    /// Waits for all ranks, completes what is still being sent, throws away what nobody received, and lets go of MPI.
    /// Collective.
    pub fn finish(&self) -> Result<(), CommError> {
        self.with(Engine::withdraw)?;
        let mut barrier = None;
        let mut patience = Patience::default();
        loop {
            // A rank enters the barrier when its sends are done, so none is left in the world when it opens.
            let all_sent = self.with(Engine::drain)?;
            if all_sent && barrier.is_none() {
                barrier = Some(self.with(|engine| engine.raw().ibarrier())?);
            }
            if let Some(barrier) = &mut barrier
                && self.with(|_| barrier.test())?
            {
                break;
            }
            patience.pause();
        }
        self.lock().take().map_or(Ok(()), Engine::free)
    }
}

impl Transport for MpiTransport {
    fn send(&self, channel: Channel, parcel: Box<dyn Parcel>) -> Result<(), CommError> {
        self.with(|engine| engine.send(channel, &*parcel))
    }

    fn post(&self, channel: Channel) -> Result<u64, CommError> {
        self.with(|engine| engine.post(channel))
    }

    fn take(&self, channel: Channel, ticket: u64) -> Result<Delivery, CommError> {
        let mut patience = Patience::default();
        loop {
            let everything = patience.n_pauses % 16 == 0;
            let message = self.with(|engine| match engine.take(channel, ticket)? {
                // Other channels get their turn now and then; the one waited for comes first.
                None if everything => engine.progress_all().map(|()| None),
                message => Ok(message),
            })?;
            if let Some(buffer) = message {
                // The header was checked on arrival; an odd one here would be of no known type.
                let Header::Data { fingerprint, .. } = Header::unpack(&buffer)? else { continue };
                return Ok(Delivery::Bytes { buffer, payload_at: N_HEADER, fingerprint });
            }
            patience.pause();
        }
    }

    fn is_ready(&self, channel: Channel, ticket: u64) -> Result<bool, CommError> {
        self.with(|engine| engine.has(channel, ticket))
    }

    fn discard(&self, channel: Channel, ticket: u64) {
        if let Some(engine) = self.lock().as_mut() {
            engine.discard(channel, ticket);
        }
    }

    fn recycle(&self, buffer: Vec<u8>) {
        if let Some(engine) = self.lock().as_mut() {
            engine.recycle(buffer);
        }
    }

    fn abort(&self, reason: &str) -> CommError {
        eprintln!("rank {}: {reason}", self.rank);
        match self.lock().as_ref() {
            Some(engine) => engine.raw().abort(),
            None => CommError::LaunchEnded,
        }
    }

    fn next_context(&self) -> &AtomicU64 {
        &self.next_context
    }

    fn n_contexts(&self) -> u64 {
        self.n_contexts
    }
}

/// How a rank waits: at full speed first, then giving its processor to others, at last with short sleeps.
#[derive(Default)]
struct Patience {
    n_pauses: u32,
    since: Option<Instant>,
}

impl Patience {
    /// Polls at full speed: some 10 microseconds.
    const N_SPINS: u32 = 100;
    const YIELDING: Duration = Duration::from_millis(20);
    const SLEEP: Duration = Duration::from_micros(50);

    fn pause(&mut self) {
        self.n_pauses = self.n_pauses.wrapping_add(1);
        if self.n_pauses < Self::N_SPINS && self.since.is_none() {
            hint::spin_loop();
        } else if self.since.get_or_insert_with(Instant::now).elapsed() < Self::YIELDING {
            thread::yield_now();
        } else {
            thread::sleep(Self::SLEEP);
        }
    }
}
