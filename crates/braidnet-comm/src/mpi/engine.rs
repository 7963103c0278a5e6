//! The channels of one process: what is being sent, what is posted, what has come.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::lent::{self, Lent};
use super::lines::Lines;
use super::raw::{Pending, RawWorld};
use super::wire::{FIRST_CAPACITY, Header, LIMIT, N_HEADER, fingerprint, grown};
use crate::communicator::tags;
use crate::queue::Queue;
use crate::transport::{Channel, Parcel};
use crate::{CommError, DeviceBuffer};

/// The tags that one communicator takes.
const STRIDE: u64 = tags::END as u64;

/// All state of message passing; used under a mutex.
pub(crate) struct Engine {
    lines: Lines,
    incoming: HashMap<Channel, Incoming>,
    outgoing: HashMap<Channel, Outgoing>,
    sending: Vec<Pending>,
    /// How many buffers were lent to each rank.
    n_lent: HashMap<usize, u64>,
}

/// A channel sent on.
struct Outgoing {
    capacity: usize,
    n_sent: u64,
}

struct Incoming {
    capacity: usize,
    /// The one receive that MPI has of this channel. More would be posted with a capacity that may turn out too small.
    posted: Option<Pending>,
    queue: Queue<Vec<u8>>,
}

impl Engine {
    pub fn new(raw: RawWorld, buffers: RawWorld) -> Self {
        let (incoming, outgoing, sending, n_lent) = Default::default();
        Self { lines: Lines::new(raw, buffers), incoming, outgoing, sending, n_lent }
    }

    pub fn raw(&self) -> &RawWorld {
        &self.lines.raw
    }

    /// The communicators that the library's tags tell apart.
    pub fn n_contexts(&self) -> u64 {
        self.lines.raw.n_tags / STRIDE
    }

    /// Packs a value and starts to send it.
    pub fn send(&mut self, channel: Channel, parcel: &dyn Parcel) -> Result<(), CommError> {
        let mut message = self.lines.buffer(N_HEADER + parcel.n_bytes());
        let fingerprint = fingerprint(parcel.type_name());
        Header::Data { fingerprint, n_bytes: 0 }.pack(&mut message);
        parcel.pack(&mut message);
        self.start(channel, message)?;
        self.progress_all()
    }

    /// Forgets the lent buffers that are being sent; their memory is never freed, as the library may still use it.
    pub fn abandon(&mut self) {
        self.sending.retain(|sending| !sending.is_lent());
    }

    /// Packs a value's head, and starts to send it and the buffers that the value lends, if it does.
    pub fn lend(&mut self, channel: Channel, parcel: &dyn Parcel) -> Result<(), CommError> {
        let Some(buffers) = parcel.lend() else { return self.send(channel, parcel) };
        // Before anything is sent: the receiver would wait for the rest.
        if let Some(buffer) = buffers.iter().find(|buffer| buffer.n_bytes() > LIMIT) {
            return Err(CommError::TooLarge { n_bytes: buffer.n_bytes(), limit: LIMIT });
        }
        let n_lent = self.n_lent.entry(channel.peer).or_insert(0);
        let first = *n_lent;
        *n_lent += buffers.len() as u64;
        let mut message = Vec::new();
        Header::Lent { fingerprint: fingerprint(parcel.type_name()), n_bytes: 0 }.pack(&mut message);
        Lent::pack(first, &buffers, &mut message);
        parcel.pack_head(&mut message);
        self.start(channel, message)?;
        for (tag, buffer) in lent::tags(first, self.lines.buffers.n_tags).zip(buffers) {
            self.sending.push(self.lines.buffers.isend_lent(channel.peer, tag, buffer)?);
        }
        self.progress_all()
    }

    /// Completes the header of a message and starts to send it.
    fn start(&mut self, channel: Channel, mut message: Vec<u8>) -> Result<(), CommError> {
        // The length that was packed counts, should the announced one be wrong.
        let n_bytes = message.len() - N_HEADER;
        message[8..N_HEADER].copy_from_slice(&(n_bytes as u64).to_le_bytes());
        self.reserve(channel, message.len())?;
        let sending = self.lines.raw.isend(channel.peer, tag(channel), message)?;
        self.sending.push(sending);
        Ok(())
    }

    /// Counts a message, and announces it if it does not fit its channel.
    fn reserve(&mut self, channel: Channel, n_bytes: usize) -> Result<(), CommError> {
        if n_bytes > LIMIT {
            return Err(CommError::TooLarge { n_bytes, limit: LIMIT });
        }
        let outgoing = self.outgoing.entry(channel).or_insert(Outgoing { capacity: FIRST_CAPACITY, n_sent: 0 });
        outgoing.n_sent += 1;
        if n_bytes > outgoing.capacity {
            outgoing.capacity = grown(n_bytes);
            let mut announcement = Vec::with_capacity(N_HEADER);
            Header::Grow { capacity: outgoing.capacity }.pack(&mut announcement);
            self.sending.push(self.lines.raw.isend(channel.peer, tag(channel), announcement)?);
        }
        Ok(())
    }

    /// A new receive of a channel; returns its ticket.
    pub fn post(&mut self, channel: Channel) -> Result<u64, CommError> {
        let incoming = match self.incoming.entry(channel) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Incoming::new()),
        };
        let ticket = incoming.queue.post();
        incoming.progress(channel, &mut self.lines)?;
        Ok(ticket)
    }

    /// The message of a ticket, if it has come.
    pub fn take(&mut self, channel: Channel, ticket: u64) -> Result<Option<Vec<u8>>, CommError> {
        self.progress(channel)?;
        Ok(self.incoming.get_mut(&channel).and_then(|incoming| incoming.queue.take(ticket)))
    }

    /// Whether the message of a ticket has come.
    pub fn has(&mut self, channel: Channel, ticket: u64) -> Result<bool, CommError> {
        self.progress(channel)?;
        Ok(self.incoming.get(&channel).is_some_and(|incoming| incoming.queue.has(ticket)))
    }

    /// How many messages were sent on a channel.
    pub fn n_sent(&self, channel: Channel) -> u64 {
        self.outgoing.get(&channel).map_or(0, |outgoing| outgoing.n_sent)
    }

    /// Gives a ticket up. Its receive stays posted: the message must still leave the channel.
    pub fn discard(&mut self, channel: Channel, ticket: u64) -> Result<(), CommError> {
        let unwanted = self.incoming.get_mut(&channel).and_then(|incoming| incoming.queue.discard(ticket));
        unwanted.map_or(Ok(()), |message| self.lines.throw_away(channel.peer, message))
    }

    /// Starts to receive lent buffers into rooms of their sizes.
    pub fn fetch(&self, lent: &Lent, rooms: Vec<DeviceBuffer>) -> Result<Vec<Pending>, CommError> {
        let raw = &self.lines.buffers;
        lent.tags(raw.n_tags).zip(rooms).map(|(tag, room)| raw.irecv_lent(lent.from, tag, room)).collect()
    }

    /// Starts to receive lent buffers that nobody wants.
    pub fn refuse(&mut self, lent: &Lent) -> Result<(), CommError> {
        self.lines.refuse(lent)
    }

    /// Takes a buffer back.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        self.lines.recycle(buffer);
    }

    /// Looks after one channel.
    fn progress(&mut self, channel: Channel) -> Result<(), CommError> {
        self.incoming.get_mut(&channel).map_or(Ok(()), |incoming| incoming.progress(channel, &mut self.lines))
    }

    /// Looks after all sends and all channels.
    pub fn progress_all(&mut self) -> Result<(), CommError> {
        let mut at = 0;
        while at < self.sending.len() {
            if self.sending[at].test()? {
                let buffer = self.sending.swap_remove(at).into_buffer();
                self.lines.recycle(buffer);
            } else {
                at += 1;
            }
        }
        self.lines.forget_refused()?;
        self.incoming.iter_mut().try_for_each(|(&channel, incoming)| incoming.progress(channel, &mut self.lines))
    }

    /// Takes all posted receives back: from now on every message is unexpected.
    pub fn withdraw(&mut self) -> Result<(), CommError> {
        self.incoming.drain().filter_map(|(_, incoming)| incoming.posted).try_for_each(Pending::cancel)
    }

    /// Throws away what comes; whether all sends are done, and all receives of what was refused.
    pub fn drain(&mut self) -> Result<bool, CommError> {
        while self.lines.raw.receive_unmatched()?.is_some() {}
        while self.lines.buffers.receive_unmatched()?.is_some() {}
        self.progress_all()?;
        Ok(self.sending.is_empty() && !self.lines.has_refused())
    }

    /// Lets go of the communicators. Collective.
    pub fn free(self) -> Result<(), CommError> {
        self.lines.raw.free()?;
        self.lines.buffers.free()
    }
}

impl Incoming {
    fn new() -> Self {
        Self { capacity: FIRST_CAPACITY, posted: None, queue: Queue::default() }
    }

    /// Takes in what has come, and keeps one receive posted while some ticket waits.
    fn progress(&mut self, channel: Channel, lines: &mut Lines) -> Result<(), CommError> {
        loop {
            let mut posted = match self.posted.take() {
                Some(posted) => posted,
                None if !self.queue.expects_more() => return Ok(()),
                None => {
                    let buffer = lines.buffer(self.capacity);
                    lines.raw.irecv(channel.peer, tag(channel), buffer, self.capacity)?
                }
            };
            if !posted.test_receive()? {
                self.posted = Some(posted);
                return Ok(());
            }
            let message = posted.into_buffer();
            match Header::unpack(&message)? {
                Header::Data { .. } | Header::Lent { .. } => {
                    if let Some(unwanted) = self.queue.arrive(message) {
                        lines.throw_away(channel.peer, unwanted)?;
                    }
                }
                Header::Grow { capacity } => {
                    self.capacity = capacity;
                    lines.recycle(message);
                }
            }
        }
    }
}

/// The MPI tag of a channel. Contexts are checked against `n_contexts` when they are made, so it fits.
fn tag(channel: Channel) -> i32 {
    (channel.context * STRIDE + u64::from(channel.tag)) as i32
}
