//! Coloured, textured shapes, drawn on the spot: the pictures that need no download.
//!
//! A class is one of eight shapes with one of five textures, such as a striped star. Where the shape lies, how large it
//! is, how it is turned, how its texture is laid on it, all colours, the background, the clutter behind and before it
//! and the noise are drawn at random for every picture. A colour and its opposite are equally likely, so the mean
//! picture of every class is the same grey, and a weighted sum of the pixels tells next to nothing: with 20 classes and
//! 100 training pictures of each, softmax regression gets 6 % of the test pictures right. Five convolutions, of 24 to
//! 128 channels with batch norm, and the mean over the picture get 80 % after 40 epochs of flipped and shifted pictures.
//!
//! Picture `i` of a set is a function of (seed, training or test, number of classes, `i`) and of nothing else: larger
//! sets begin with the smaller ones. Only the four operations and square roots are used on floats, which IEEE 754
//! rounds the same everywhere: the bytes are equal on all machines.

mod scene;
mod shape;
mod texture;

use rand::seq::SliceRandom;

use crate::{
    DataError,
    pictures::{Pictures, SIZE},
    random::{Purpose, stream},
};
use scene::Scene;
use shape::Shape;
use texture::Texture;

/// The most classes there can be: every shape with every texture.
pub const MAX_CLASSES: usize = Shape::ALL.len() * Texture::ALL.len();

/// Generated pictures to learn from, and others to be judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Textures {
    /// What the network learns from.
    pub train: PictureSet,
    /// What it is judged by; never trained on.
    pub test: PictureSet,
}

/// Pictures in memory, with a class each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureSet {
    pixels: Vec<u8>,
    labels: Vec<u8>,
    classes: Vec<String>,
}

/// Draws both sets: `n_train` and `n_test` pictures of each of `classes` classes, 2 to [`MAX_CLASSES`].
///
/// Classes are balanced: every `classes` pictures from a multiple of `classes` show each class once, in random order.
/// Neighbouring classes differ in shape; from eight classes on there are all shapes, and from sixteen on every shape
/// comes with several textures, so that neither the shape nor the texture alone tells the class.
///
/// # Errors
/// [`DataError::TextureClasses`].
///
/// # Cost
/// 12,288 bytes and about 0.3 ms a picture, on one core.
pub fn generated(seed: u64, n_train: usize, n_test: usize, classes: usize) -> Result<Textures, DataError> {
    if !(2..=MAX_CLASSES).contains(&classes) {
        return Err(DataError::TextureClasses { asked: classes, least: 2, most: MAX_CLASSES });
    }
    let [train, test] = [(0, n_train), (1, n_test)].map(|(part, n_blocks)| draw_set(seed, part, n_blocks, classes));
    Ok(Textures { train, test })
}

/// One set, block by block; a block shows each class once.
fn draw_set(seed: u64, part: u64, n_blocks: usize, classes: usize) -> PictureSet {
    let mut pixels = Vec::with_capacity(n_blocks * classes * SIZE);
    let mut labels = Vec::with_capacity(n_blocks * classes);
    for block in 0..n_blocks {
        let mut block_labels: Vec<usize> = (0..classes).collect();
        block_labels.shuffle(&mut stream(seed, part, Purpose::PictureClasses, block as u64));
        for class in block_labels {
            let rng = &mut stream(seed, part, Purpose::Picture, labels.len() as u64);
            let (shape, texture) = kind(class);
            Scene::random(shape, texture, rng).draw(rng, &mut pixels);
            // At most `MAX_CLASSES`, which is below 256.
            labels.push(class as u8);
        }
    }
    PictureSet { pixels, labels, classes: (0..classes).map(name).collect() }
}

/// What a class shows. The textures move on by one from shape to shape and from round to round of the shapes, so that
/// no pair comes twice.
fn kind(class: usize) -> (Shape, Texture) {
    let (shape, round) = (class % Shape::ALL.len(), class / Shape::ALL.len());
    (Shape::ALL[shape], Texture::ALL[(shape + round) % Texture::ALL.len()])
}

fn name(class: usize) -> String {
    let (shape, texture) = kind(class);
    format!("{} {}", texture.name(), shape.name())
}

impl PictureSet {
    /// The bytes of picture `index`, `[CHANNELS, SIDE, SIDE]`.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Pictures::len), as a slice does.
    pub fn picture(&self, index: usize) -> &[u8] {
        &self.pixels[index * SIZE..(index + 1) * SIZE]
    }
}

impl Pictures for PictureSet {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> usize {
        usize::from(self.labels[index])
    }

    /// A copy; never an error.
    fn decode(&self, index: usize) -> Result<Vec<u8>, DataError> {
        Ok(self.picture(index).to_vec())
    }

    /// Texture and shape, such as `striped star`.
    fn classes(&self) -> &[String] {
        &self.classes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_classes_show_the_same() {
        let names: HashSet<String> = (0..MAX_CLASSES).map(name).collect();
        assert_eq!((names.len(), MAX_CLASSES), (40, 40));
        // With the twenty classes of the documentation, every shape has at least two textures and the reverse.
        for part in Shape::ALL.map(Shape::name).iter().chain(&Texture::ALL.map(Texture::name)) {
            assert!((0..20).filter(|&class| name(class).split(' ').any(|word| word == *part)).count() >= 2, "{part}");
        }
    }

    #[test]
    fn larger_sets_begin_with_smaller_ones() {
        for part in [0, 1] {
            let (small, large) = (draw_set(3, part, 1, 20), draw_set(3, part, 2, 20));
            assert_eq!((small.len(), large.len()), (20, 40));
            for i in 0..20 {
                assert_eq!((small.picture(i), small.label(i)), (large.picture(i), large.label(i)));
            }
        }
    }
}
