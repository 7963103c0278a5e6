//! Independent streams of random numbers, one for each thing drawn, and the few distributions that drawing needs.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the streams of one seed are used for. Different purposes never share one.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// The labels of ten digits.
    Labels,
    /// The strokes of a digit.
    Drawing,
    /// The order of an epoch's batches.
    Batches,
    /// A sentence of the language with tags.
    Tagging,
    /// A sentence of the plain text.
    Characters,
    /// The numbers of the translation pairs.
    Pairs,
    /// The activities of six windows of motion.
    Activities,
    /// How a person moves, and carries the sensors.
    People,
    /// A window of motion.
    Motion,
    /// The classes of one block of pictures.
    PictureClasses = 20,
    /// What a picture shows.
    Picture = 21,
    /// How a picture is cropped and flipped.
    Augmentation = 22,
    // A number of its own: purposes added above change nothing below.
    /// The families of ten pieces of furniture.
    Furniture = 32,
    /// A piece of furniture, and where it stands.
    Solids,
}

/// The stream of (seed, part, purpose, index). The four make up the cipher's key, so two streams
/// are the same only where all four are.
pub(crate) fn stream(seed: u64, part: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, part, purpose as u64, index];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Uniform in `low..high`.
pub(crate) fn uniform(rng: &mut ChaCha8Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// Bell-shaped with mean 0 and the standard deviation given, never beyond 3 deviations.
///
/// The sum of three uniform numbers: smooth enough here, and free of logarithms, which differ
/// between machines.
pub(crate) fn bell(rng: &mut ChaCha8Rng, deviation: f32) -> f32 {
    // Three numbers uniform in -1..1 have variance 3 x 1/3 = 1.
    let sum: f32 = (0..3).map(|_| 2.0 * rng.random::<f32>() - 1.0).sum();
    deviation * sum
}
