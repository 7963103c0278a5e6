//! Samples that come one after another.

use std::error::Error;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::data::{LoadError, Order, Reader, Source, source::check_left};

/// Samples of an iterator, such as the records of a file too large for memory.
///
/// Every epoch calls `F` for a fresh iterator, whose items are `Result<T, E>`; what fails to open gives the error as
/// its first item. Shuffled, each sample is drawn from a buffer, by seed and epoch, and the next one of the iterator
/// takes its place. Which place of the stream comes when is settled by length, buffer, seed and epoch, so that a stream
/// of inputs and one of targets stay aligned.
///
/// Skipping costs as much as reading.
#[derive(Clone, Debug)]
pub struct Stream<F> {
    n: usize,
    buffer: usize,
    make: F,
}

impl<F> Stream<F> {
    /// `n` samples of the iterators that `make` makes, shuffled through a buffer of `buffer` samples.
    ///
    /// A buffer of 0 or 1 shuffles nothing; one of `n` gives every order the same chance.
    pub fn new(n: usize, buffer: usize, make: F) -> Self {
        Self { n, buffer, make }
    }
}

impl<T, E, I, F> Source<T> for Stream<F>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
    I: Iterator<Item = Result<T, E>> + Send + 'static,
    F: Fn() -> I + Send + Sync,
{
    fn len(&self) -> usize {
        self.n
    }

    fn epoch<'a>(&'a self, order: Order) -> Result<Box<dyn Reader<T> + Send + 'a>, LoadError> {
        let mut items = Counted { items: (self.make)(), n: self.n, pulled: 0 };
        items.check_end()?;
        Ok(match order {
            Order::AsStored => Box::new(StreamReader { items, buffer: Vec::new(), shuffle: None }),
            Order::Shuffled { seed, epoch } => {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                // As in `epoch_order`: epochs are streams of one key.
                random.set_stream(epoch);
                let capacity = self.buffer.clamp(1, self.n.max(1));
                Box::new(StreamReader { items, buffer: Vec::new(), shuffle: Some((random, capacity)) })
            }
        })
    }
}

/// An iterator that must have `n` items.
struct Counted<I> {
    items: I,
    n: usize,
    pulled: usize,
}

impl<T, E, I> Counted<I>
where
    E: Into<Box<dyn Error + Send + Sync>>,
    I: Iterator<Item = Result<T, E>>,
{
    fn left(&self) -> usize {
        self.n - self.pulled
    }

    /// The next item; only where some are left.
    fn pull(&mut self) -> Result<T, LoadError> {
        let index = self.pulled;
        let item = self.items.next().ok_or(LoadError::StreamTooShort { expected: self.n, got: index })?;
        let sample = item.map_err(|error| LoadError::Sample { index, source: error.into() })?;
        self.pulled += 1;
        self.check_end()?;
        Ok(sample)
    }

    /// That the iterator ends where it should. Asked as early as can be known, so that no last batch comes without it.
    fn check_end(&mut self) -> Result<(), LoadError> {
        if self.left() > 0 || self.items.next().is_none() {
            return Ok(());
        }
        Err(LoadError::StreamTooLong { expected: self.n, at_least: self.n + 1 })
    }
}

struct StreamReader<T, I> {
    items: Counted<I>,
    buffer: Vec<T>,
    /// Capacity of the buffer, at least 1; `None` is the order as streamed.
    shuffle: Option<(ChaCha8Rng, usize)>,
}

impl<T, E, I> StreamReader<T, I>
where
    E: Into<Box<dyn Error + Send + Sync>>,
    I: Iterator<Item = Result<T, E>>,
{
    fn left(&self) -> usize {
        self.items.left() + self.buffer.len()
    }

    /// The next sample; only where some are left.
    fn draw(&mut self) -> Result<T, LoadError> {
        let Some((random, capacity)) = &mut self.shuffle else { return self.items.pull() };
        while self.buffer.len() < *capacity && self.items.left() > 0 {
            self.buffer.push(self.items.pull()?);
        }
        let place = random.random_range(..self.buffer.len());
        Ok(self.buffer.swap_remove(place))
    }
}

impl<T, E, I> Reader<T> for StreamReader<T, I>
where
    E: Into<Box<dyn Error + Send + Sync>>,
    I: Iterator<Item = Result<T, E>>,
{
    fn skip(&mut self, n: usize) -> Result<(), LoadError> {
        check_left(n, self.left())?;
        (0..n).try_for_each(|_| self.draw().map(drop))
    }

    fn read(&mut self, n: usize, out: &mut Vec<T>) -> Result<(), LoadError> {
        check_left(n, self.left())?;
        for _ in 0..n {
            out.push(self.draw()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn read_all<T, S: Source<T>>(source: &S, order: Order) -> Result<Vec<T>, LoadError> {
        let mut out = Vec::new();
        source.epoch(order)?.read(source.len(), &mut out)?;
        Ok(out)
    }

    /// A stream said to have `n` numbers that has `really`.
    fn numbers(n: usize, really: usize, buffer: usize) -> impl Source<usize> {
        Stream::new(n, buffer, move || (0..really).map(Ok::<_, Infallible>))
    }

    #[test]
    fn a_wrong_length_is_an_error_with_the_counts() {
        for order in [Order::AsStored, Order::Shuffled { seed: 1, epoch: 0 }] {
            let short = read_all(&numbers(5, 3, 2), order).unwrap_err();
            assert!(matches!(short, LoadError::StreamTooShort { expected: 5, got: 3 }), "{short}");
            let long = read_all(&numbers(5, 6, 2), order).unwrap_err();
            assert!(matches!(long, LoadError::StreamTooLong { expected: 5, at_least: 6 }), "{long}");
            let long = read_all(&numbers(0, 1, 2), order).unwrap_err();
            assert!(matches!(long, LoadError::StreamTooLong { expected: 0, at_least: 1 }), "{long}");
            assert!(read_all(&numbers(0, 0, 2), order).unwrap().is_empty());
        }
    }

    #[test]
    fn an_endless_stream_is_found_out_by_skipping_too() {
        let endless = Stream::new(4, 1, || (0..).map(Ok::<u8, Infallible>));
        let mut reader = endless.epoch(Order::AsStored).unwrap();
        reader.skip(3).unwrap();
        assert!(matches!(reader.skip(1), Err(LoadError::StreamTooLong { .. })));
    }

    #[test]
    fn an_item_that_is_an_error_is_named() {
        let torn = Stream::new(4, 2, || [Ok(1), Ok(2), Err("torn page"), Ok(4)].into_iter());
        let error = read_all(&torn, Order::AsStored).unwrap_err();
        assert_eq!(error.to_string(), "cannot read sample 2: torn page");
    }

    #[test]
    fn more_than_the_epoch_has_is_refused() {
        let source = numbers(4, 4, 3);
        let mut reader = source.epoch(Order::Shuffled { seed: 0, epoch: 0 }).unwrap();
        reader.skip(2).unwrap();
        let mut out = Vec::new();
        assert!(matches!(reader.read(3, &mut out), Err(LoadError::PastEnd { wanted: 3, left: 2 })));
        reader.read(2, &mut out).unwrap();
        assert!(matches!(reader.skip(1), Err(LoadError::PastEnd { wanted: 1, left: 0 })));
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let source = numbers(200, 200, 50);
        let order = |seed, epoch| read_all(&source, Order::Shuffled { seed, epoch }).unwrap();
        assert_eq!(order(1, 0), order(1, 0));
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
        assert_ne!(order(1, 0), (0..200).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn every_sample_comes_once_and_none_earlier_than_the_buffer_allows(
            n in 0_usize..100, buffer in 0_usize..120, seed: u64, epoch: u64,
        ) {
            let source = numbers(n, n, buffer);
            prop_assert_eq!(read_all(&source, Order::AsStored).unwrap(), (0..n).collect::<Vec<_>>());
            let mut got = read_all(&source, Order::Shuffled { seed, epoch }).unwrap();
            for (place, &sample) in got.iter().enumerate() {
                prop_assert!(sample < place + buffer.max(1));
            }
            got.sort_unstable();
            prop_assert_eq!(got, (0..n).collect::<Vec<_>>());
        }

        #[test]
        fn inputs_and_targets_stay_aligned_across_skips(
            n in 1_usize..100, buffer in 0_usize..20, seed: u64, epoch: u64, skip in 0_usize..100,
        ) {
            let skip = skip.min(n);
            let texts = Stream::new(n, buffer, move || (0..n).map(|i| Ok::<_, Infallible>(i.to_string())));
            let order = Order::Shuffled { seed, epoch };
            let mut inputs = Vec::new();
            let mut reader = texts.epoch(order).unwrap();
            reader.skip(skip).unwrap();
            reader.read(n - skip, &mut inputs).unwrap();
            let targets = read_all(&numbers(n, n, buffer), order).unwrap();
            prop_assert_eq!(inputs, targets[skip..].iter().map(usize::to_string).collect::<Vec<_>>());
        }
    }
}
