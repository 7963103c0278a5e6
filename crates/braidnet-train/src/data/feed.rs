//! From samples to what the network takes.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::data::{LoadError, Order, Reader, Source};

/// Samples that are read or skipped between two looks at whether the loader is still wanted.
const BETWEEN_LOOKS: usize = 16;

/// A source, and how a micro-batch is made of its samples.
///
/// It hides the type of the samples; a clone is the same feed.
pub struct Feed<I>(Arc<dyn Batches<I>>);

impl<I> Clone for Feed<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> Feed<I> {
    /// A feed of what `collate` makes of the samples of a micro-batch, never 0 of them.
    ///
    /// `collate` runs on the loader's thread.
    pub fn new<A, S, C>(source: S, collate: C) -> Self
    where
        A: 'static,
        S: Source<A> + 'static,
        C: Fn(Vec<A>) -> I + Send + Sync + 'static,
    {
        Self(Arc::new(Collated { source, collate, samples: PhantomData }))
    }

    /// How many samples an epoch has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn epoch(&self, order: Order) -> Result<Box<dyn BatchReader<I> + '_>, LoadError> {
        self.0.epoch(order)
    }
}

/// Why an epoch ended before its end.
pub(super) enum End {
    /// The loader was dropped.
    Dropped,
    /// Something went wrong.
    Failed(LoadError),
}

impl From<LoadError> for End {
    fn from(error: LoadError) -> Self {
        Self::Failed(error)
    }
}

/// [`Source`], of batches.
trait Batches<I>: Send + Sync {
    fn len(&self) -> usize;
    fn epoch(&self, order: Order) -> Result<Box<dyn BatchReader<I> + '_>, LoadError>;
}

/// [`Reader`], of batches; gives up soon after `stop` is set.
pub(super) trait BatchReader<I> {
    /// Leaves out the next `n` samples.
    fn skip(&mut self, n: usize, stop: &AtomicBool) -> Result<(), End>;

    /// A batch of the next `n` samples.
    fn read(&mut self, n: usize, stop: &AtomicBool) -> Result<I, End>;
}

struct Collated<A, S, C> {
    source: S,
    collate: C,
    samples: PhantomData<fn(A)>,
}

impl<I, A, S: Source<A>, C: Fn(Vec<A>) -> I + Send + Sync> Batches<I> for Collated<A, S, C> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn epoch(&self, order: Order) -> Result<Box<dyn BatchReader<I> + '_>, LoadError> {
        Ok(Box::new(CollatedReader { reader: self.source.epoch(order)?, collate: &self.collate }))
    }
}

struct CollatedReader<'a, A, C> {
    reader: Box<dyn Reader<A> + Send + 'a>,
    collate: &'a C,
}

impl<I, A, C: Fn(Vec<A>) -> I> BatchReader<I> for CollatedReader<'_, A, C> {
    fn skip(&mut self, n: usize, stop: &AtomicBool) -> Result<(), End> {
        in_pieces(n, stop, |piece| self.reader.skip(piece))
    }

    fn read(&mut self, n: usize, stop: &AtomicBool) -> Result<I, End> {
        let mut samples = Vec::new();
        in_pieces(n, stop, |piece| self.reader.read(piece, &mut samples))?;
        if samples.len() != n {
            return Err(LoadError::WrongCount { expected: n, got: samples.len() }.into());
        }
        Ok((self.collate)(samples))
    }
}

fn in_pieces(n: usize, stop: &AtomicBool, mut work: impl FnMut(usize) -> Result<(), LoadError>) -> Result<(), End> {
    for start in (0..n).step_by(BETWEEN_LOOKS) {
        if stop.load(Ordering::Relaxed) {
            return Err(End::Dropped);
        }
        work(BETWEEN_LOOKS.min(n - start))?;
    }
    Ok(())
}
