//! Where samples come from.

use std::sync::Arc;

use crate::data::LoadError;

/// In which order an epoch visits the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In an order that depends on the two numbers and the number of samples alone, never on ranks.
    Shuffled {
        /// The seed of the run.
        seed: u64,
        /// The epoch, from 0.
        epoch: u64,
    },
    /// As stored, for evaluation.
    AsStored,
}

/// Samples, in memory or streamed.
///
/// Two sources, of inputs and of targets, stay aligned where they are of the same kind, length and buffer.
pub trait Source<T>: Send + Sync {
    /// How many samples an epoch has.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts an epoch.
    ///
    /// # Errors
    /// If the source cannot be opened.
    fn epoch<'a>(&'a self, order: Order) -> Result<Box<dyn Reader<T> + Send + 'a>, LoadError>;
}

impl<T, S: Source<T> + ?Sized> Source<T> for Arc<S> {
    fn len(&self) -> usize {
        self.as_ref().len()
    }

    fn epoch<'a>(&'a self, order: Order) -> Result<Box<dyn Reader<T> + Send + 'a>, LoadError> {
        self.as_ref().epoch(order)
    }
}

/// The samples of one epoch, in its order.
///
/// After an error it is of no further use.
pub trait Reader<T> {
    /// Leaves out the next `n` samples.
    ///
    /// # Errors
    /// If fewer are left, or the source fails.
    fn skip(&mut self, n: usize) -> Result<(), LoadError>;

    /// Appends the next `n` samples to `out`.
    ///
    /// # Errors
    /// If fewer are left, or the source fails.
    fn read(&mut self, n: usize, out: &mut Vec<T>) -> Result<(), LoadError>;
}

/// That `wanted` samples can be had where `left` are.
pub(super) fn check_left(wanted: usize, left: usize) -> Result<(), LoadError> {
    if wanted > left { Err(LoadError::PastEnd { wanted, left }) } else { Ok(()) }
}
