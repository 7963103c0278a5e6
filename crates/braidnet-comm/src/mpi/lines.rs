//! The library's worlds as the channels use them, with buffers kept for reuse and buffers that nobody wants.

use super::lent::Lent;
use super::raw::{Pending, RawWorld};
use super::wire::{Header, N_HEADER};
use crate::CommError;

/// Buffers kept for reuse, and from which size on: fresh large ones cost a page fault every 4 KiB.
const N_SPARE: usize = 8;
const SPARE_FROM: usize = 16 << 10;

/// The library and the spare buffers.
pub(crate) struct Lines {
    pub raw: RawWorld,
    /// The world of lent buffers.
    pub buffers: RawWorld,
    spare: Vec<Vec<u8>>,
    /// Lent buffers that nobody wants, on their way.
    refused: Vec<Pending>,
}

impl Lines {
    pub fn new(raw: RawWorld, buffers: RawWorld) -> Self {
        Self { raw, buffers, spare: Vec::new(), refused: Vec::new() }
    }

    /// An empty buffer of at least this capacity.
    pub fn buffer(&mut self, capacity: usize) -> Vec<u8> {
        let spare = self.spare.iter().position(|buffer| buffer.capacity() >= capacity && capacity >= SPARE_FROM);
        spare.map_or_else(|| Vec::with_capacity(capacity), |at| self.spare.swap_remove(at))
    }

    /// Gets rid of a message, and of the buffers it lends.
    pub fn throw_away(&mut self, from: usize, message: Vec<u8>) -> Result<(), CommError> {
        if let Header::Lent { .. } = Header::unpack(&message)? {
            self.refuse(&Lent::unpack(&message[N_HEADER..], from)?.0)?;
        }
        self.recycle(message);
        Ok(())
    }

    /// Starts to receive lent buffers that nobody wants.
    pub fn refuse(&mut self, lent: &Lent) -> Result<(), CommError> {
        for (tag, &n_bytes) in lent.tags(self.buffers.n_tags).zip(&lent.sizes) {
            let buffer = self.buffer(n_bytes);
            self.refused.push(self.buffers.irecv(lent.from, tag, buffer, n_bytes)?);
        }
        Ok(())
    }

    /// Whether something refused is still on its way.
    pub fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Lets go of what was refused and has come.
    pub fn forget_refused(&mut self) -> Result<(), CommError> {
        let mut at = 0;
        while at < self.refused.len() {
            if self.refused[at].test()? {
                let buffer = self.refused.swap_remove(at).into_buffer();
                self.recycle(buffer);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// Keeps a buffer for reuse.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < N_SPARE && buffer.capacity() >= SPARE_FROM {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
