//! Samples with random access.

use braidnet_data::sampler::epoch_order;
use burn_dataset::Dataset;

use crate::data::{LoadError, Order, Reader, Source, source::check_left};

/// Any data set of `burn-dataset`, in memory or not: what counts is that samples are found by index.
///
/// Its shuffled order is [`epoch_order`]; skipping costs nothing.
#[derive(Clone, Debug)]
pub struct InMemory<D>(
    /// The data set.
    pub D,
);

impl<T, D: Dataset<T>> Source<T> for InMemory<D> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn epoch<'a>(&'a self, order: Order) -> Result<Box<dyn Reader<T> + Send + 'a>, LoadError> {
        let n = self.0.len();
        let order = match order {
            Order::Shuffled { seed, epoch } => Some(epoch_order(n, seed, epoch)),
            Order::AsStored => None,
        };
        Ok(Box::new(InMemoryReader::new(&self.0, n, order)))
    }
}

pub(super) struct InMemoryReader<'a, D> {
    dataset: &'a D,
    n: usize,
    /// `None` is the order as stored.
    order: Option<Vec<usize>>,
    position: usize,
}

impl<'a, D> InMemoryReader<'a, D> {
    pub fn new(dataset: &'a D, n: usize, order: Option<Vec<usize>>) -> Self {
        Self { dataset, n, order, position: 0 }
    }
}

impl<T, D: Dataset<T>> Reader<T> for InMemoryReader<'_, D> {
    fn skip(&mut self, n: usize) -> Result<(), LoadError> {
        check_left(n, self.n - self.position)?;
        self.position += n;
        Ok(())
    }

    fn read(&mut self, n: usize, out: &mut Vec<T>) -> Result<(), LoadError> {
        check_left(n, self.n - self.position)?;
        for _ in 0..n {
            let index = self.order.as_ref().map_or(self.position, |order| order[self.position]);
            let sample = self.dataset.get(index);
            out.push(sample.map_err(|source| LoadError::Sample { index, source: Box::new(source) })?);
            self.position += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn_dataset::{DatasetError, InMemDataset};
    use proptest::prelude::*;

    use super::*;

    fn numbers(n: usize) -> InMemory<InMemDataset<usize>> {
        InMemory(InMemDataset::new((0..n).collect()))
    }

    /// Sample 3 cannot be had.
    struct Torn;

    impl Dataset<u8> for Torn {
        fn get(&self, index: usize) -> Result<u8, DatasetError> {
            if index == 3 { Err(DatasetError::new(std::io::Error::other("torn page"))) } else { Ok(0) }
        }

        fn len(&self) -> usize {
            5
        }
    }

    #[test]
    fn a_sample_that_cannot_be_read_is_named() {
        let source = InMemory(Torn);
        let mut reader = source.epoch(Order::AsStored).unwrap();
        reader.skip(1).unwrap();
        let mut out = Vec::new();
        let error = reader.read(4, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "cannot read sample 3: torn page");
        assert_eq!(out, [0, 0]);
    }

    #[test]
    fn more_than_the_epoch_has_is_refused() {
        let source = numbers(4);
        let mut reader = source.epoch(Order::AsStored).unwrap();
        reader.skip(1).unwrap();
        let mut out = Vec::new();
        assert!(matches!(reader.read(4, &mut out), Err(LoadError::PastEnd { wanted: 4, left: 3 })));
        assert!(matches!(reader.skip(usize::MAX), Err(LoadError::PastEnd { wanted: usize::MAX, left: 3 })));
        reader.read(3, &mut out).unwrap();
        assert_eq!(out, [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn reads_follow_the_order_and_skips_leave_out(
            n in 0_usize..60,
            cuts in prop::collection::vec((0_usize..10, 0_usize..10), 0..6),
            seed: u64,
            epoch: u64,
        ) {
            let source = numbers(n);
            for (order, expected) in [
                (Order::AsStored, (0..n).collect()),
                (Order::Shuffled { seed, epoch }, epoch_order(n, seed, epoch)),
            ] {
                let mut reader = source.epoch(order).unwrap();
                let mut left = expected.as_slice();
                for &(skip, read) in cuts.iter().take_while(|(skip, read)| skip + read <= n) {
                    if skip + read > left.len() {
                        break;
                    }
                    reader.skip(skip).unwrap();
                    let mut out = vec![77];
                    reader.read(read, &mut out).unwrap();
                    prop_assert_eq!(&out[1..], &left[skip..skip + read]);
                    left = &left[skip + read..];
                }
            }
        }
    }
}
