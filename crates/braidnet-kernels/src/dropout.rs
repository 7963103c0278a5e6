//! Dropout whose mask is a function of a key and of the position alone.
//!
//! No state is carried from one element to the next, so any part of a matrix can be done by anyone, in any order, any
//! number of times: when a layer is evaluated again, and in its pullback, the same elements are dropped.

use crate::vector::vectorised;

/// Where the golden ratio falls in 64 bits: an odd number without a pattern.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A key for [`Dropout`] from what it shall depend on, in this order: a seed, a layer, a step, a place in the layer.
///
/// ```
/// use braidnet_kernels::key;
///
/// assert_ne!(key(&[1, 0]), key(&[0, 1]));
/// ```
pub fn key(parts: &[u64]) -> u64 {
    parts.iter().fold(parts.len() as u64, |key, &part| mix(key ^ mix(part)))
}

/// The step and the finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit of the result depends on every bit.
#[inline(always)]
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(GOLDEN);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Drops elements with a probability and scales the others by `1 / (1 - probability)` (Srivastava and others 2014).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability that an element is dropped, from 0 to 1, in steps of `2^-24`.
    pub probability: f32,
    /// What the mask depends on besides the position; see [`key`].
    pub key: u64,
}

impl Dropout {
    /// Drops elements of consecutive rows, of which `first_row` is the first; the same call on a cotangent is the
    /// pullback.
    ///
    /// The elements are multiplied by 0 or by the scale, so a NaN is not hidden.
    ///
    /// # Shapes
    /// `x` is `[rows, columns]`.
    pub fn apply(&self, first_row: u64, columns: usize, x: &mut [f32]) {
        debug_assert!((0.0..=1.0).contains(&self.probability), "probability {}", self.probability);
        debug_assert!(u32::try_from(columns).is_ok(), "{columns} columns");
        if self.probability == 0.0 || columns == 0 {
            return;
        }
        debug_assert!(x.len().is_multiple_of(columns), "columns");
        let threshold = (self.probability * 16_777_216.0).round() as i32;
        let scale = if self.probability < 1.0 { 1.0 / (1.0 - self.probability) } else { 0.0 };
        let key = mix(self.key);
        vectorised(
            #[inline(always)]
            || {
                for (row, x) in (first_row..).zip(x.chunks_exact_mut(columns)) {
                    drop_in_row(mix(key ^ row), threshold, scale, x);
                }
            },
        );
    }
}

/// A function of its own: a loop that reads the numbers through what a closure captured is not vectorised.
#[inline(always)]
fn drop_in_row(row_key: u64, threshold: i32, scale: f32, x: &mut [f32]) {
    for (column, x) in (0u32..).zip(x) {
        *x *= if (hash(row_key, column) as i32) < threshold { 0.0 } else { scale };
    }
}

/// 24 random bits of a column: the 32-bit mixing function `triple32` of C. Wellons, with one half of the row's key
/// before the first multiplication and the other after it. One half alone would make the rows pieces of one sequence,
/// which overlap sooner or later.
#[inline(always)]
fn hash(row_key: u64, column: u32) -> u32 {
    let x = column ^ row_key as u32;
    let x = (x ^ (x >> 17)).wrapping_mul(0xed5a_d4bb);
    let x = x ^ (row_key >> 32) as u32;
    let x = (x ^ (x >> 11)).wrapping_mul(0xac4c_1b51);
    let x = (x ^ (x >> 15)).wrapping_mul(0x3184_8bab);
    (x ^ (x >> 14)) >> 8
}
