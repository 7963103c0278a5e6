//! Smaller communicators from larger ones.

use std::sync::atomic::Ordering;

use crate::{CommError, Communicator};

impl Communicator {
    /// Groups the ranks by colour: the ranks of one colour become a communicator of their own, ordered by `(key, old
    /// rank)`. A rank without a colour gets `None`.
    ///
    /// Messages of the new communicator never meet those of another one. It lives as long as its handles.
    ///
    /// # Errors
    /// [`TooManyCommunicators`](CommError::TooManyCommunicators) under MPI, and those of
    /// [`all_gather`](Self::all_gather).
    ///
    /// # Communication
    /// Collective: every rank calls it, those without a colour too. One [`all_gather`](Self::all_gather). All splits of
    /// one rank, also of different communicators, must come one after the other.
    pub fn split(&self, color: Option<u64>, key: u64) -> Result<Option<Communicator>, CommError> {
        let (context, all) = self.agree(color, key)?;
        Ok(color.map(|color| self.child(context, color, &all)))
    }

    /// The same ranks, with messages that never meet those of this communicator: for a library that sends on its own.
    ///
    /// # Errors
    /// Those of [`split`](Self::split).
    ///
    /// # Communication
    /// As [`split`](Self::split).
    pub fn duplicate(&self) -> Result<Communicator, CommError> {
        self.group(0, 0)
    }

    /// A split in which every rank has a colour.
    pub(crate) fn group(&self, color: u64, key: u64) -> Result<Communicator, CommError> {
        let (context, all) = self.agree(Some(color), key)?;
        Ok(self.child(context, color, &all))
    }

    /// A context number that is new to all ranks, and what each brought: has a colour, colour, key, next context.
    fn agree(&self, color: Option<u64>, key: u64) -> Result<(u64, Vec<Vec<u64>>), CommError> {
        let next = self.transport().next_context();
        let mine = vec![u64::from(color.is_some()), color.unwrap_or(0), key, next.load(Ordering::Relaxed)];
        let all = self.all_gather(mine, &())?;
        if let Some(odd) = all.iter().find(|entry| entry.len() != 4) {
            return Err(CommError::malformed("split", "4 numbers of every rank", odd.len()));
        }
        // Above every number that any rank here has used: no two communicators that share a rank share a number.
        let context = all.iter().map(|entry| entry[3]).max().unwrap_or(0);
        next.store(context + 1, Ordering::Relaxed);
        let limit = self.transport().n_contexts();
        if context < limit { Ok((context, all)) } else { Err(CommError::TooManyCommunicators { limit }) }
    }

    /// The communicator of this rank's colour.
    fn child(&self, context: u64, color: u64, all: &[Vec<u64>]) -> Communicator {
        let mut group: Vec<usize> = (0..self.size()).filter(|&rank| all[rank][..2] == [1, color]).collect();
        group.sort_by_key(|&rank| (all[rank][2], rank));
        // This rank brought the colour itself, so it is among them.
        let rank = group.iter().take_while(|&&rank| rank != self.rank()).count();
        let members = group.iter().map(|&rank| self.members()[rank]).collect();
        let child = Communicator::new(self.transport().clone(), context, members, rank);
        if let Some(path) = self.device_path() {
            child.set_device_path(path);
        }
        child
    }

    /// The first `n` ranks as a communicator of their own; the other ranks get `None`.
    ///
    /// # Errors
    /// [`NoSuchRank`](CommError::NoSuchRank) if there are fewer than `n` ranks, and those of [`split`](Self::split).
    ///
    /// # Communication
    /// As [`split`](Self::split).
    pub fn first_ranks(&self, n: usize) -> Result<Option<Communicator>, CommError> {
        if n == 0 || n > self.size() {
            return Err(CommError::NoSuchRank { rank: n.wrapping_sub(1), size: self.size() });
        }
        self.split((self.rank() < n).then_some(0), 0)
    }
}
