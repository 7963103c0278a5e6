//! Handwritten-looking digits, drawn on the spot: the data set that needs no download.
//!
//! Image `i` of a set is a function of (seed, training or test, `i`) and of nothing else: larger
//! sets begin with the smaller ones, and any rank can draw any image. Each is a way of writing its
//! digit (`glyphs`), bent as a hand would (`hand`), set in a 28 x 28 frame as MNIST does and drawn
//! with a soft pen (`pen`). The result is as hard as MNIST for a linear classifier (5,000 images of
//! either give it 88 % on the test set), as bright, and without end.
//!
//! Only the four operations and square roots are used on floats, which IEEE 754 rounds the same
//! everywhere: the bytes are equal on all machines.
//!
//! The elastic distortion follows the idea of P. Simard, D. Steinkraus, J. Platt, *Best practices
//! for convolutional neural networks applied to visual document analysis*, ICDAR 2003, applied to
//! the strokes before drawing, so that it blurs nothing.

mod glyphs;
mod hand;
mod pen;

use rand::seq::SliceRandom;

use crate::{
    ImageSet, Split,
    random::{Purpose, stream},
};
use pen::Canvas;

/// Rows and columns of every image, as in MNIST.
pub const SIDE: usize = 28;

/// Digits 0 to 9.
pub const CLASSES: usize = 10;

/// How many digits to draw, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigitsConfig {
    /// Training images.
    pub n_train: usize,
    /// Test images; drawn from random streams that no training image uses.
    pub n_test: usize,
    /// Another seed, other images.
    pub seed: u64,
}

/// Which of the two sets an image belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The training set.
    Train,
    /// The test set.
    Test,
}

impl Default for DigitsConfig {
    /// 5,000 training and 1,000 test images: learnt in seconds, and enough to tell a good network
    /// from a bad one.
    fn default() -> Self {
        Self { n_train: 5_000, n_test: 1_000, seed: 0 }
    }
}

impl DigitsConfig {
    /// Draws both sets. Classes are balanced: every ten images from a multiple of ten hold each
    /// digit once, in random order.
    ///
    /// # Cost
    /// 784 bytes and about 10 microseconds an image, on one core.
    pub fn generate(&self) -> Split {
        Split {
            train: draw_set(self.seed, Part::Train, self.n_train),
            test: draw_set(self.seed, Part::Test, self.n_test),
        }
    }
}

/// The digit shown by image `index` of a set.
pub fn label(seed: u64, part: Part, index: u64) -> u8 {
    block_labels(seed, part, index / CLASSES as u64)[(index % CLASSES as u64) as usize]
}

/// Draws image `index` of a set alone; the same bytes that [`DigitsConfig::generate`] gives.
pub fn image(seed: u64, part: Part, index: u64) -> [u8; SIDE * SIDE] {
    draw(seed, part, index, label(seed, part, index))
}

fn draw_set(seed: u64, part: Part, n: usize) -> ImageSet {
    let mut pixels = Vec::with_capacity(n * SIDE * SIDE);
    let mut labels = Vec::with_capacity(n);
    for block in 0..n.div_ceil(CLASSES) {
        for digit in block_labels(seed, part, block as u64) {
            if labels.len() < n {
                pixels.extend(draw(seed, part, labels.len() as u64, digit));
                labels.push(digit);
            }
        }
    }
    ImageSet::from_valid(pixels, SIDE, SIDE, labels, CLASSES)
}

/// The labels of the ten images of one block.
fn block_labels(seed: u64, part: Part, block: u64) -> [u8; CLASSES] {
    let mut labels = std::array::from_fn(|digit| digit as u8);
    labels.shuffle(&mut stream(seed, part as u64, Purpose::Labels, block));
    labels
}

fn draw(seed: u64, part: Part, index: u64, digit: u8) -> [u8; SIDE * SIDE] {
    let rng = &mut stream(seed, part as u64, Purpose::Drawing, index);
    let strokes = hand::write(digit, rng);
    let mut canvas = Canvas::new();
    strokes.iter().for_each(|stroke| canvas.draw(stroke));
    canvas.into_bytes(rng)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_sets_begin_with_smaller_ones() {
        let small = DigitsConfig { n_train: 25, n_test: 3, seed: 11 }.generate();
        let large = DigitsConfig { n_train: 64, n_test: 47, seed: 11 }.generate();
        for (small, large) in [(&small.train, &large.train), (&small.test, &large.test)] {
            for i in 0..small.len() {
                assert_eq!((small.image(i), small.label(i)), (large.image(i), large.label(i)));
            }
        }
    }

    #[test]
    fn an_image_drawn_alone_is_the_one_in_the_set() {
        let split = DigitsConfig { n_train: 23, n_test: 5, seed: 3 }.generate();
        assert_eq!(image(3, Part::Train, 22), split.train.image(22));
        assert_eq!(image(3, Part::Test, 4), split.test.image(4));
        assert_eq!(label(3, Part::Train, 22), split.train.label(22));
    }

    #[test]
    fn classes_are_balanced_and_not_in_turn() {
        let train = DigitsConfig { n_train: 1_000, n_test: 0, seed: 0 }.generate().train;
        assert_eq!(train.class_counts(), [100; CLASSES]);
        let in_turn = (0..1_000).filter(|&i| usize::from(train.label(i)) == i % CLASSES).count();
        assert!(in_turn < 150, "{in_turn} labels equal their index modulo ten");
    }

    #[test]
    fn seeds_parts_and_indices_give_different_images() {
        let images = [(0, Part::Train, 0), (1, Part::Train, 0), (0, Part::Test, 0), (0, Part::Train, 1)]
            .map(|(seed, part, index)| image(seed, part, index));
        for (i, a) in images.iter().enumerate() {
            assert!(images[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn no_image_comes_twice() {
        let Split { train, test } = DigitsConfig { n_train: 3_000, n_test: 1_000, seed: 5 }.generate();
        let images = (0..train.len()).map(|i| train.image(i)).chain((0..test.len()).map(|i| test.image(i)));
        let distinct: std::collections::HashSet<&[u8]> = images.collect();
        assert_eq!(distinct.len(), 4_000);
    }

    #[test]
    fn every_digit_has_ink_inside_and_none_at_the_rim() {
        let train = DigitsConfig { n_train: 2_000, n_test: 0, seed: 9 }.generate().train;
        for i in 0..train.len() {
            let image = train.image(i);
            let ink = image.iter().filter(|&&pixel| pixel > 127).count();
            assert!((20..320).contains(&ink), "image {i}: {ink} dark pixels");
            let rim = (0..SIDE).flat_map(|k| [k, (SIDE - 1) * SIDE + k, k * SIDE, k * SIDE + SIDE - 1]);
            assert_eq!(rim.map(|k| u32::from(image[k])).sum::<u32>(), 0, "image {i} touches the rim");
        }
    }
}
