//! What processes tell each other about themselves: fixed notes on a world of their own, where no message of a program
//! can meet them.

use super::raw::{Pending, RawWorld};
use crate::{CommError, Plain};

/// One note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// The sender is alive.
    Beat,
    /// The sender is alive, and this is its last beat: all ranks have returned.
    LastBeat,
    /// Has the receiver ended, and what did it send to the asker on this channel?
    Ask { context: u64, tag: u16 },
    /// The answer of a rank that has ended: so many messages.
    Ended { context: u64, tag: u16, n_sent: u64 },
}

impl Note {
    fn pack(self) -> Vec<u8> {
        let words: [u64; 4] = match self {
            Self::Beat => [0, 0, 0, 0],
            Self::LastBeat => [1, 0, 0, 0],
            Self::Ask { context, tag } => [2, context, u64::from(tag), 0],
            Self::Ended { context, tag, n_sent } => [3, context, u64::from(tag), n_sent],
        };
        let mut bytes = Vec::with_capacity(size_of_val(&words));
        u64::pack_all(&words, &mut bytes);
        bytes
    }

    fn unpack(bytes: &[u8]) -> Result<Self, CommError> {
        let words = u64::unpack_all(bytes)?;
        let note = match words[..] {
            [0, ..] => Some(Self::Beat),
            [1, ..] => Some(Self::LastBeat),
            [2, context, tag, _] => u16::try_from(tag).ok().map(|tag| Self::Ask { context, tag }),
            [3, context, tag, n_sent] => u16::try_from(tag).ok().map(|tag| Self::Ended { context, tag, n_sent }),
            _ => None,
        };
        note.ok_or_else(|| CommError::malformed("note", "a known kind", format!("{words:?}")))
    }
}

/// This process's end of the notes; used under the mutex of the engine.
pub(crate) struct Notes {
    raw: RawWorld,
    sending: Vec<Pending>,
}

impl Notes {
    pub fn new(raw: RawWorld) -> Self {
        Self { raw, sending: Vec::new() }
    }

    /// Starts to send a note.
    pub fn send(&mut self, to: usize, note: Note) -> Result<(), CommError> {
        let sending = self.raw.isend(to, 0, note.pack())?;
        self.sending.push(sending);
        self.progress()
    }

    /// The next note that has come, and its sender.
    pub fn receive(&mut self) -> Result<Option<(usize, Note)>, CommError> {
        self.progress()?;
        let Some((from, bytes)) = self.raw.receive_unmatched()? else { return Ok(None) };
        Ok(Some((from, Note::unpack(&bytes)?)))
    }

    /// Throws away what comes; whether all sends are done.
    pub fn drain(&mut self) -> Result<bool, CommError> {
        while self.receive()?.is_some() {}
        Ok(self.sending.is_empty())
    }

    pub fn raw(&self) -> &RawWorld {
        &self.raw
    }

    /// Lets go of the world. Collective.
    pub fn free(self) -> Result<(), CommError> {
        self.raw.free()
    }

    fn progress(&mut self) -> Result<(), CommError> {
        let mut at = 0;
        while at < self.sending.len() {
            if self.sending[at].test()? {
                self.sending.swap_remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_the_way() {
        let (context, tag, n_sent) = (1 << 40, 1029, u64::MAX);
        for note in [Note::Beat, Note::LastBeat, Note::Ask { context, tag }, Note::Ended { context, tag, n_sent }] {
            assert_eq!(Note::unpack(&note.pack()), Ok(note));
        }
        for bytes in [&[][..], &[9; 32], &[2; 32], &[0; 31]] {
            assert!(Note::unpack(bytes).is_err());
        }
    }
}
