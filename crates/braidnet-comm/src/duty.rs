//! The parts of arrays that this rank combines for all.
//!
//! Every rank performs its duties in the order in which the all-reduces were started, which is the same on all ranks.
//! So the results leave every owner in that order too, receives posted at the start find their own result under one
//! tag, and it does not matter which all-reduce a rank waits for first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::communicator::tags;
use crate::gather::{Posted, wait_all};
use crate::reduce::check_length;
use crate::{CommError, Communicator, Reduce, ReduceOp};

/// A part to combine, of any type of number.
pub(crate) trait Duty: Send {
    /// Whether every rank's part is here.
    fn is_ready(&self) -> Result<bool, CommError>;

    /// Waits for every rank's part, combines them, and sends the result to all.
    fn perform(self: Box<Self>, comm: &Communicator);
}

/// What is still to be combined, oldest first.
#[derive(Default)]
pub(crate) struct Duties {
    queue: VecDeque<Box<dyn Duty>>,
    n_done: u64,
}

impl Duties {
    pub fn add(&mut self, duty: Box<dyn Duty>) {
        self.queue.push_back(duty);
    }

    /// How many were added so far.
    pub fn n_added(&self) -> u64 {
        self.n_done + self.queue.len() as u64
    }

    /// Performs the first `n` that were added, waiting for what they need.
    pub fn perform_first_n(&mut self, n: u64, comm: &Communicator) {
        while self.n_done < n {
            self.perform_next(comm);
        }
    }

    /// Performs those that need not wait, up to the first that must.
    pub fn perform_ready(&mut self, comm: &Communicator) -> Result<(), CommError> {
        while self.queue.front().map_or(Ok(false), |duty| duty.is_ready())? {
            self.perform_next(comm);
        }
        Ok(())
    }

    fn perform_next(&mut self, comm: &Communicator) {
        if let Some(duty) = self.queue.pop_front() {
            duty.perform(comm);
        }
        self.n_done += 1;
    }
}

/// A combined part, once it is there: filled by whichever call performs the duty, taken by the all-reduce it belongs to.
pub(crate) struct Outcome<E>(Arc<Mutex<Option<Combined<E>>>>);

type Combined<E> = Result<Vec<E>, CommError>;

impl<E> Outcome<E> {
    pub fn empty() -> Self {
        Self(Arc::default())
    }

    /// Another handle of the same outcome.
    pub fn share(&self) -> Self {
        Self(self.0.clone())
    }

    pub fn take(&self) -> Option<Combined<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fill(&self, result: Combined<E>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

/// This rank's part of one array.
pub(crate) struct Part<E> {
    pub own: Vec<E>,
    pub others: Posted<Vec<E>>,
    pub op: ReduceOp,
    pub outcome: Outcome<E>,
}

impl<E: Reduce> Part<E> {
    fn combine(own: Vec<E>, others: Posted<Vec<E>>, op: ReduceOp, comm: &Communicator) -> Combined<E> {
        let len = own.len();
        let parts = wait_all(others, own, &())?;
        for (rank, part) in parts.iter().enumerate() {
            check_length(rank, len, part.len())?;
        }
        let in_rank_order = |mut sum: Vec<E>, part: Vec<E>| {
            sum.iter_mut().zip(part).for_each(|(sum, value)| *sum = sum.combine(value, op));
            sum
        };
        let sum = parts.into_iter().reduce(in_rank_order).unwrap_or_default();
        for to in comm.others() {
            comm.send_collective(to, tags::REDUCED, sum.clone())?;
        }
        Ok(sum)
    }
}

impl<E: Reduce> Duty for Part<E> {
    fn is_ready(&self) -> Result<bool, CommError> {
        for receive in self.others.iter().flatten() {
            if !receive.is_ready()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn perform(self: Box<Self>, comm: &Communicator) {
        let Self { own, others, op, outcome } = *self;
        // An error belongs to the all-reduce of this part, not to the call that happens to perform it.
        outcome.fill(Self::combine(own, others, op, comm));
    }
}
