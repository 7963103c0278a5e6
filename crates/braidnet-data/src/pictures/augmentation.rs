//! Random crops and flips: more pictures out of the same ones.

use rand::RngExt;

use super::{CHANNELS, SIDE, SIZE};
use crate::random::{Purpose, stream};

/// Pixels of black around a picture before it is cropped back to its size.
pub const PADDING: usize = 4;

/// Where the crop lies, and whether it is flipped.
///
/// Reference: K. He, X. Zhang, S. Ren, J. Sun, *Deep residual learning for image recognition*, CVPR 2016, section 4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augmentation {
    /// Rows left out above, up to twice [`PADDING`].
    top: usize,
    /// Columns left out on the left, up to twice [`PADDING`].
    left: usize,
    /// Whether left and right change places.
    flipped: bool,
}

impl Augmentation {
    /// The picture as it is.
    pub const NONE: Self = Self { top: PADDING, left: PADDING, flipped: false };

    /// The crop and flip of picture `sample` in an epoch: a function of the three numbers and of nothing else, so that
    /// every rank varies a picture alike, and an interrupted run goes on with the pictures it would have had.
    ///
    /// `sample` counts over the whole set, whatever part of it a rank has.
    pub fn random(seed: u64, epoch: u64, sample: u64) -> Self {
        let rng = &mut stream(seed, epoch, Purpose::Augmentation, sample);
        let [top, left] = [(); 2].map(|()| rng.random_range(0..=2 * PADDING as u32) as usize);
        Self { top, left, flipped: rng.random() }
    }

    /// The picture padded with black on all sides, cropped back to its size, and flipped or not.
    ///
    /// # Shapes
    /// `picture` and the result: `[CHANNELS, SIDE, SIDE]`.
    ///
    /// # Panics
    /// Where `picture` has another length.
    pub fn apply(&self, picture: &[u8]) -> Vec<u8> {
        assert_eq!(picture.len(), SIZE, "bytes of a picture");
        let mut cropped = vec![0; SIZE];
        let rows = (0..CHANNELS).flat_map(|channel| (0..SIDE).map(move |row| (channel, row)));
        for ((channel, row), to) in rows.zip(cropped.chunks_exact_mut(SIDE)) {
            if let Some(row) = inside(row + self.top) {
                let from = &picture[(channel * SIDE + row) * SIDE..][..SIDE];
                for (column, to) in to.iter_mut().enumerate() {
                    *to = inside(column + self.left).map_or(0, |column| from[column]);
                }
                if self.flipped {
                    to.reverse();
                }
            }
        }
        cropped
    }
}

/// The row or column of the picture that a padded one is.
fn inside(padded: usize) -> Option<usize> {
    padded.checked_sub(PADDING).filter(|&place| place < SIDE)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_augmentation_changes_nothing_and_two_flips_neither() {
        let picture: Vec<u8> = (0..SIZE).map(|k| (k * 7 % 251) as u8).collect();
        assert_eq!(Augmentation::NONE.apply(&picture), picture);
        let flip = Augmentation { flipped: true, ..Augmentation::NONE };
        assert_ne!(flip.apply(&picture), picture);
        assert_eq!(flip.apply(&flip.apply(&picture)), picture);
    }

    #[test]
    fn all_crops_and_flips_come_equally_often() {
        let drawn: Vec<Augmentation> = (0..16_200).map(|sample| Augmentation::random(3, 1, sample)).collect();
        let kinds: HashSet<_> = drawn.iter().map(|one| (one.top, one.left, one.flipped)).collect();
        assert_eq!(kinds.len(), 162);
        for k in 0..=2 * PADDING {
            // One in nine, with a deviation of 40.
            let rows = drawn.iter().filter(|one| one.top == k).count();
            let columns = drawn.iter().filter(|one| one.left == k).count();
            assert!([rows, columns].iter().all(|n| (1_600..2_000).contains(n)), "{k}: {rows} and {columns}");
        }
        let flipped = drawn.iter().filter(|one| one.flipped).count();
        assert!((7_800..8_400).contains(&flipped), "{flipped}");
    }

    #[test]
    fn seed_epoch_and_sample_are_all_that_counts() {
        let draw = |seed, epoch| (0..50).map(|sample| Augmentation::random(seed, epoch, sample)).collect::<Vec<_>>();
        assert_eq!(draw(1, 2), draw(1, 2));
        // The order of asking does not count.
        assert_eq!(Augmentation::random(1, 2, 17), draw(1, 2)[17]);
        assert!(draw(1, 2) != draw(2, 1) && draw(1, 2) != draw(1, 3) && draw(1, 2) != draw(3, 2));
        // A change of these values changes every result reported on augmented pictures.
        let golden =
            [0, 1, 2].map(|sample| Augmentation::random(7, 1, sample)).map(|one| (one.top, one.left, one.flipped));
        assert_eq!(golden, [(6, 0, true), (4, 3, false), (3, 2, true)]);
    }

    #[test]
    fn every_pixel_is_moved_alike_by_every_crop() {
        let picture: Vec<u8> = (0..SIZE).map(|k| 1 + (k * 7 % 251) as u8).collect();
        let at = |channel: usize, row: usize, column: usize| picture[(channel * SIDE + row) * SIDE + column];
        for (kind, top, left) in (0..162).map(|kind| (kind, kind / 2 % 9, kind / 18)) {
            let flipped = kind % 2 == 1;
            let cropped = Augmentation { top, left, flipped }.apply(&picture);
            assert_eq!(cropped.len(), SIZE);
            for (k, &pixel) in cropped.iter().enumerate() {
                let (channel, row, column) = (k / (SIDE * SIDE), k / SIDE % SIDE, k % SIDE);
                let column = if flipped { SIDE - 1 - column } else { column };
                // What is outside of the picture is black, and nothing in it is.
                let (row, column) = ((row + top).wrapping_sub(PADDING), (column + left).wrapping_sub(PADDING));
                let expected = if row < SIDE && column < SIDE { at(channel, row, column) } else { 0 };
                assert_eq!(pixel, expected, "{top} {left} {flipped}: {channel} {row} {column}");
            }
        }
    }
}
