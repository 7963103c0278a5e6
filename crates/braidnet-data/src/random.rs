//! Independent streams of random numbers, one for each thing drawn.

use rand::SeedableRng;
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
