//! Batches of samples of similar length: sentences are padded to the longest of their batch, and
//! padding costs as much as words.

use rand::seq::SliceRandom;

use crate::{
    DataError,
    random::{Purpose, stream},
    sampler::epoch_order,
};

/// Batches that are sorted together. More make a batch's lengths more alike, fewer make batches of
/// different epochs more different.
const WINDOW: usize = 50;

/// The batches of an epoch, given the length of each sample: every sample once, `batch` of them in
/// every batch but the last, which has what is left over.
///
/// The samples are shuffled, those of 50 batches at a time sorted by length and cut, and the batches
/// shuffled. The samples left over are those at the end of the first shuffle, so that no length is
/// more often in the short batch than others. All of it depends on the arguments alone: every rank
/// computes the same batches, and an interrupted run goes on with those it would have had.
///
/// # Errors
/// [`DataError::ZeroBatch`] where `batch` is 0.
pub fn bucketed_batches(lengths: &[usize], batch: usize, seed: u64, epoch: u64) -> Result<Vec<Vec<usize>>, DataError> {
    if batch == 0 {
        return Err(DataError::ZeroBatch);
    }
    let mut order = epoch_order(lengths.len(), seed, epoch);
    let left_over = order.split_off(order.len() - order.len() % batch);
    for window in order.chunks_mut(batch.saturating_mul(WINDOW)) {
        // Stable: samples of one length stay shuffled.
        window.sort_by_key(|&sample| lengths[sample]);
    }
    let mut batches: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
    batches.shuffle(&mut stream(seed, 0, Purpose::Batches, epoch));
    if !left_over.is_empty() {
        batches.push(left_over);
    }
    Ok(batches)
}

/// The batches of [`bucketed_batches`] one after another: an order that, cut into `batch` samples each, gives them.
///
/// # Errors
/// As [`bucketed_batches`].
pub fn bucketed_order(lengths: &[usize], batch: usize, seed: u64, epoch: u64) -> Result<Vec<usize>, DataError> {
    Ok(bucketed_batches(lengths, batch, seed, epoch)?.concat())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::sampler;

    /// Tokens and padding of all batches.
    fn padded<'a>(lengths: &[usize], batches: impl IntoIterator<Item = &'a [usize]>) -> usize {
        let longest = |batch: &[usize]| batch.iter().map(|&sample| lengths[sample]).max().unwrap_or(0);
        batches.into_iter().map(|batch| batch.len() * longest(batch)).sum()
    }

    #[test]
    fn padding_is_small_and_batches_come_in_no_order_of_length() {
        let lengths: Vec<usize> = (0..7_003).map(|i| 3 + i * 37 % 98).collect();
        let batches = bucketed_batches(&lengths, 16, 5, 2).unwrap();
        let tokens: usize = lengths.iter().sum();
        let bucketed = padded(&lengths, batches.iter().map(Vec::as_slice));
        assert!(bucketed < tokens * 104 / 100, "{bucketed} for {tokens}");
        let plain = padded(&lengths, sampler::epoch_order(7_003, 5, 2).chunks(16));
        assert!(plain > tokens * 170 / 100, "{plain} for {tokens}: a test of nothing");
        let rising = batches.windows(2).filter(|pair| lengths[pair[0][0]] < lengths[pair[1][0]]).count();
        assert!((150..290).contains(&rising), "{rising} of {} batches are longer than the one before", batches.len());
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let lengths: Vec<usize> = (0..90).map(|i| i % 7).collect();
        let order = |seed, epoch| bucketed_order(&lengths, 4, seed, epoch).unwrap();
        assert_eq!(order(1, 0), order(1, 0));
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
        // Not only the order of the batches differs, but what is in them.
        let sorted = |epoch| {
            let mut batches = bucketed_batches(&lengths, 4, 1, epoch).unwrap();
            batches.iter_mut().for_each(|batch| batch.sort_unstable());
            batches.sort_unstable();
            batches
        };
        assert_ne!(sorted(0), sorted(1));
    }

    #[test]
    fn a_batch_of_nothing_is_an_error() {
        assert!(matches!(bucketed_batches(&[1], 0, 0, 0), Err(DataError::ZeroBatch)));
        assert!(bucketed_batches(&[], 3, 0, 0).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn every_sample_once_in_full_batches_but_the_last(
            lengths in vec(0_usize..60, 0..700),
            batch in 1_usize..20,
            seed: u64,
            epoch: u64,
        ) {
            let batches = bucketed_batches(&lengths, batch, seed, epoch).unwrap();
            let order = bucketed_order(&lengths, batch, seed, epoch).unwrap();
            prop_assert_eq!(sampler::batches(&order, batch).unwrap().collect::<Vec<_>>(), batches.clone());
            prop_assert!(batches.iter().all(|samples| !samples.is_empty()));
            // Sorting can only save padding.
            let plain = sampler::epoch_order(lengths.len(), seed, epoch);
            let bucketed = padded(&lengths, batches.iter().map(Vec::as_slice));
            prop_assert!(bucketed <= padded(&lengths, plain.chunks(batch)));
            let mut seen = order;
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}
