//! Random numbers: one independent stream for each image, and the few distributions needed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Part;

/// What a stream is for; different purposes never share one.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Labels,
    Drawing,
}

/// The stream of (seed, part, purpose, index). The four make up the cipher's key, so two streams
/// are the same only where all four are.
pub(super) fn rng(seed: u64, part: Part, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, part as u64, purpose as u64, index];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Uniform in `low..high`.
pub(super) fn uniform(rng: &mut ChaCha8Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// Bell-shaped with mean 0 and the standard deviation given, never beyond 3 deviations.
///
/// The sum of three uniform numbers: smooth enough here, and free of logarithms, which differ
/// between machines.
pub(super) fn bell(rng: &mut ChaCha8Rng, deviation: f32) -> f32 {
    // Three numbers uniform in -1..1 have variance 3 x 1/3 = 1.
    let sum: f32 = (0..3).map(|_| 2.0 * rng.random::<f32>() - 1.0).sum();
    deviation * sum
}
