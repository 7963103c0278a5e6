//! The few distributions that drawing needs.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

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
