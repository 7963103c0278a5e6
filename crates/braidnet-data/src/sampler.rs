//! The order of an epoch, and its batches.

use std::slice::Chunks;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::DataError;

/// The order in which epoch `epoch` visits `n` images: a permutation of `0..n`.
///
/// It depends on `n`, `seed` and `epoch` alone, so every rank computes the same one and none has to
/// be sent; and an interrupted run goes on with the order it would have had.
pub fn epoch_order(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Epochs are streams of one key: distinct by construction, where an arithmetic mix of seed and
    // epoch could collide.
    rng.set_stream(epoch);
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut rng);
    order
}

/// Cuts `order` into batches of `batch` indices; the last one is shorter where the numbers do not
/// divide.
///
/// # Errors
/// [`DataError::ZeroBatch`] where `batch` is 0.
pub fn batches(order: &[usize], batch: usize) -> Result<Chunks<'_, usize>, DataError> {
    if batch == 0 {
        return Err(DataError::ZeroBatch);
    }
    Ok(order.chunks(batch))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_short_batch_is_kept() {
        let order = [4, 2, 0, 1, 3];
        let cut: Vec<&[usize]> = batches(&order, 2).unwrap().collect();
        assert_eq!(cut, [&[4, 2][..], &[0, 1], &[3]]);
        assert_eq!(batches(&order, 100).unwrap().len(), 1);
        assert_eq!(batches(&[], 3).unwrap().len(), 0);
    }

    #[test]
    fn a_batch_of_nothing_is_an_error() {
        assert!(matches!(batches(&[0], 0), Err(DataError::ZeroBatch)));
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let first = epoch_order(100, 1, 0);
        assert_eq!(first, epoch_order(100, 1, 0));
        assert_ne!(first, epoch_order(100, 1, 1));
        assert_ne!(first, epoch_order(100, 2, 0));
        assert_ne!(first, (0..100).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn every_image_is_visited_once(n in 0_usize..500, seed: u64, epoch: u64, batch in 1_usize..60) {
            let order = epoch_order(n, seed, epoch);
            let mut seen: Vec<usize> = batches(&order, batch).unwrap().flatten().copied().collect();
            prop_assert_eq!(&seen, &order);
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..n).collect::<Vec<_>>());
        }
    }
}
