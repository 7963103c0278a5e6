//! One value of every rank, to one rank or to all.

use crate::communicator::tags;
use crate::timeline::span;
use crate::{CommError, Communicator, Receive, Transfer};

impl Communicator {
    /// Collects one value of every rank, in rank order, on the root; `None` elsewhere.
    ///
    /// # Errors
    /// [`NoSuchRank`](CommError::NoSuchRank) for the root, and those of [`send`](Self::send) and
    /// [`Receive::wait`](crate::Receive::wait).
    ///
    /// # Communication
    /// Collective. One message of every rank but the root.
    pub fn gather<T: Transfer>(
        &self,
        root: usize,
        value: T,
        context: &T::Context,
    ) -> Result<Option<Vec<T>>, CommError> {
        let _span = span!("gather");
        self.check_rank(root)?;
        if self.rank() != root {
            self.send_collective(root, tags::GATHER, value)?;
            return Ok(None);
        }
        self.collect(tags::GATHER, value, context).map(Some)
    }

    /// Collects one value of every rank, in rank order, on all ranks.
    ///
    /// # Errors
    /// Those of [`send`](Self::send) and [`Receive::wait`](crate::Receive::wait).
    ///
    /// # Communication
    /// Collective. Every rank sends one message to every other: one latency, `size * (size - 1)` messages.
    pub fn all_gather<T: Transfer + Clone>(&self, value: T, context: &T::Context) -> Result<Vec<T>, CommError> {
        let _span = span!("gather");
        for to in self.others() {
            self.send_collective(to, tags::ALL_GATHER, value.clone())?;
        }
        self.collect(tags::ALL_GATHER, value, context)
    }

    /// The other ranks, the next one first, so that not all ranks begin with the same one.
    pub(crate) fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let (rank, size) = (self.rank(), self.size());
        (1..size).map(move |step| (rank + step) % size)
    }

    /// Receives one value of every other rank and puts this rank's own in its place.
    fn collect<T: Transfer>(&self, tag: u16, own: T, context: &T::Context) -> Result<Vec<T>, CommError> {
        wait_all(self.post_all(tag)?, own, context)
    }

    /// Posts one receive of every other rank.
    pub(crate) fn post_all<T: Transfer>(&self, tag: u16) -> Result<Posted<T>, CommError> {
        let post = |from| if from == self.rank() { Ok(None) } else { self.post(from, tag).map(Some) };
        (0..self.size()).map(post).collect()
    }
}

/// One receive of every rank, in rank order; `None` for the rank itself.
pub(crate) type Posted<T> = Vec<Option<Receive<T>>>;

/// Waits for every rank's value, with the own one in its place.
pub(crate) fn wait_all<T: Transfer>(posted: Posted<T>, own: T, context: &T::Context) -> Result<Vec<T>, CommError> {
    let mut own = Some(own);
    let values = posted.into_iter().filter_map(|receive| match receive {
        Some(receive) => Some(receive.wait(context)),
        None => own.take().map(Ok),
    });
    values.collect()
}
