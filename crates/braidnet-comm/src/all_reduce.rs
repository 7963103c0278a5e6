//! An all-reduce under way.

use std::fmt;
use std::ops::Range;

use crate::communicator::tags;
use crate::duty::{Outcome, Part};
use crate::reduce::check_length;
use crate::timeline::span;
use crate::{CommError, Communicator, Receive, Reduce, ReduceOp};

/// Values per part below which another owner does not pay: a message of this size costs about its latency.
const PART: usize = 4096;

/// An all-reduce that was started, by [`Communicator::start_all_reduce`].
#[must_use = "the other ranks may need this one to wait, or to advance"]
pub struct AllReduce<E> {
    pub(crate) comm: Communicator,
    pub(crate) values: Vec<E>,
    pub(crate) flight: Flight<E>,
}

impl<E: Reduce> AllReduce<E> {
    /// Does what can be done without waiting, for this all-reduce and for the older ones of its communicator; whether
    /// this one is done.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Communication
    /// Not collective: ranks advance when they like. May send the results of parts that this rank combines.
    pub fn advance(&mut self) -> Result<bool, CommError> {
        self.flight.advance(&self.comm, &mut self.values)
    }

    /// Waits for the combination of all ranks' values, the same bits as [`all_reduce`](Communicator::all_reduce) gives.
    ///
    /// # Errors
    /// As [`all_reduce`](Communicator::all_reduce).
    ///
    /// # Communication
    /// Every rank waits for every all-reduce it has started, in any order.
    pub fn wait(mut self) -> Result<Vec<E>, CommError> {
        let _span = span!("all-reduce");
        self.flight.finish(&self.comm, &mut self.values)?;
        Ok(self.values)
    }
}

impl<E> fmt::Debug for AllReduce<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AllReduce({} values on {:?})", self.values.len(), self.comm)
    }
}

/// What one rank still expects of an all-reduce.
pub(crate) struct Flight<E> {
    n_parts: usize,
    /// How many duties of this rank come before the end of this all-reduce: older ones count, other ranks may wait for
    /// them first.
    n_duties: u64,
    /// The part that this rank combines.
    own: Option<Outcome<E>>,
    /// The parts that others combine.
    results: Vec<Receive<Vec<E>>>,
}

impl<E: Reduce> Flight<E> {
    /// Sends every part to its owner and posts all receives. Collective.
    pub fn start(comm: &Communicator, values: &[E], op: ReduceOp) -> Result<Self, CommError> {
        let n_parts = values.len().div_ceil(PART).clamp(1, comm.size());
        let mut flight = Self { n_parts, n_duties: 0, own: None, results: Vec::new() };
        if comm.size() == 1 {
            return Ok(flight);
        }
        for owner in comm.others().filter(|&owner| owner < n_parts) {
            let part = values[part(values.len(), n_parts, owner)].to_vec();
            comm.send_collective(owner, tags::REDUCE, part)?;
            flight.results.push(comm.post(owner, tags::REDUCED)?);
        }
        if comm.rank() < n_parts {
            let own = values[part(values.len(), n_parts, comm.rank())].to_vec();
            let outcome = Outcome::empty();
            let part = Part { own, others: comm.post_all(tags::REDUCE)?, op, outcome: outcome.share() };
            comm.duties().add(Box::new(part));
            flight.own = Some(outcome);
        }
        flight.n_duties = comm.duties().n_added();
        Ok(flight)
    }

    /// Does what need not wait; whether all is done.
    pub fn advance(&mut self, comm: &Communicator, values: &mut [E]) -> Result<bool, CommError> {
        comm.duties().perform_ready(comm)?;
        self.settle_own(comm.rank(), values)?;
        for at in (0..self.results.len()).rev() {
            if self.results[at].is_ready()? {
                self.settle(at, values)?;
            }
        }
        Ok(self.own.is_none() && self.results.is_empty())
    }

    /// Waits for the rest.
    pub fn finish(&mut self, comm: &Communicator, values: &mut [E]) -> Result<(), CommError> {
        // First: the other ranks wait for this.
        comm.duties().perform_first_n(self.n_duties, comm);
        self.settle_own(comm.rank(), values)?;
        while !self.results.is_empty() {
            self.settle(0, values)?;
        }
        Ok(())
    }

    /// Puts this rank's own part in its place, if it is combined.
    fn settle_own(&mut self, rank: usize, values: &mut [E]) -> Result<(), CommError> {
        if let Some(part) = self.own.as_ref().and_then(Outcome::take) {
            self.own = None;
            self.place(rank, &part?, values)?;
        }
        Ok(())
    }

    /// Waits for one of the others' parts and puts it in its place.
    fn settle(&mut self, at: usize, values: &mut [E]) -> Result<(), CommError> {
        let receive = self.results.swap_remove(at);
        let owner = receive.from;
        self.place(owner, &receive.wait(&())?, values)
    }

    fn place(&self, owner: usize, result: &[E], values: &mut [E]) -> Result<(), CommError> {
        let place = part(values.len(), self.n_parts, owner);
        check_length(owner, place.len(), result.len())?;
        values[place].copy_from_slice(result);
        Ok(())
    }
}

/// The values of one part: all parts differ by one value at most.
fn part(len: usize, n_parts: usize, owner: usize) -> Range<usize> {
    let start = |owner: usize| owner * (len / n_parts) + owner.min(len % n_parts);
    start(owner)..start(owner + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_array_once() {
        assert_eq!((0..3).map(|owner| part(8, 3, owner)).collect::<Vec<_>>(), [0..3, 3..6, 6..8]);
        assert_eq!((0..2).map(|owner| part(1, 2, owner)).collect::<Vec<_>>(), [0..1, 1..1]);
        assert_eq!(part(0, 1, 0), 0..0);
    }
}
