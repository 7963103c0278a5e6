//! All that one process has of MPI.

use std::collections::{HashMap, HashSet};

use super::engine::Engine;
use super::note::{Note, Notes};
use super::raw::RawWorld;
use crate::transport::Channel;
use crate::{Attach, CommError};

/// Everything that calls MPI, under one mutex: the rank's thread and the pulse take turns.
pub(crate) struct Process {
    pub engine: Engine,
    pub notes: Notes,
    /// The program has returned: no more messages.
    pub has_ended: bool,
    /// The channels waited for so long that the pulse asks after the sender.
    pub waits: HashSet<Channel>,
    /// The channels on which nothing more will be sent, and how many messages there were.
    pub ended: HashMap<Channel, u64>,
    /// What the pulse must do before it looks after lent buffers, until it has done it.
    pub attach: Option<Attach>,
}

impl Process {
    /// Over three duplicates of the world: for messages, for lent buffers, and for notes.
    pub fn new(raw: RawWorld, buffers: RawWorld, notes: RawWorld) -> Self {
        let (has_ended, waits, ended, attach) = Default::default();
        Self { engine: Engine::new(raw, buffers), notes: Notes::new(notes), has_ended, waits, ended, attach }
    }

    /// Asks after every rank waited for.
    pub fn ask(&mut self) -> Result<(), CommError> {
        let ask = |&Channel { context, peer, tag }| self.notes.send(peer, Note::Ask { context, tag });
        self.waits.iter().try_for_each(ask)
    }

    /// Answers a question once there is an answer, and takes one in.
    pub fn answer(&mut self, from: usize, note: Note) -> Result<(), CommError> {
        match note {
            Note::Ask { context, tag } if self.has_ended => {
                let n_sent = self.engine.n_sent(Channel { context, peer: from, tag });
                self.notes.send(from, Note::Ended { context, tag, n_sent })?;
            }
            Note::Ended { context, tag, n_sent } => {
                self.ended.insert(Channel { context, peer: from, tag }, n_sent);
            }
            // A rank that has not ended needs no words: it may still send.
            _ => {}
        }
        Ok(())
    }
}
