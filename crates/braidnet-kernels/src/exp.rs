//! The exponential function without branches and tables.
//!
//! `x = n ln 2 + r` with the integer `n` nearest to `x / ln 2`; `e^r - 1` is the polynomial of S. Moshier's Cephes
//! library (`single/expf.c`), and `2^n` is written straight into the exponent bits. `ln 2` is split in two parts, of
//! which the first has few bits, so that `n` times it is exact.

/// First part of `ln 2`, 355 / 512.
const LN_2_HIGH: f32 = 0.693_359_4;
/// What the first part lacks.
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// A number of this size has a last bit worth 1: adding it rounds to an integer. The 126 make those bits the biased
/// exponent of `2^(n - 1)`.
const ROUND: f32 = 12_582_912.0 + 126.0;

/// `e^r - 1` and `2^(n - 1)` for `e^x = 2^n e^r`; half the power, for `2^128` is no `f32`.
#[inline(always)]
fn parts(x: f32) -> (f32, f32) {
    // Comparisons written so that NaN passes. Below the first bound the power is 0, above the second e^x is infinite.
    let x = if x < -87.5 { -87.5 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_66;
    let p = p * r + 0.5;
    (p * (r * r) + r, f32::from_bits(rounded.to_bits() << 23))
}

/// `e^x` to 2 units in the last place; 0 where it is below `2^-125.5`, infinite where it is no `f32`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let (q, half) = parts(x);
    (1.0 + q) * half * 2.0
}

/// `e^x - 1`, accurate near 0 too.
#[inline(always)]
pub(crate) fn exp_m1(x: f32) -> f32 {
    let (q, half) = parts(x);
    (q * half + (half - 0.5)) * 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The finite arguments with a bit pattern divisible by 997, both signs.
    fn arguments() -> impl Iterator<Item = f32> {
        (0..=f32::MAX.to_bits()).step_by(997).flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
    }

    #[test]
    fn exp_is_accurate_to_two_units_in_the_last_place() {
        let mut worst: f64 = 0.0;
        for x in arguments().filter(|x| (-86.9..88.722_8).contains(x)) {
            let expected = f64::from(x).exp();
            worst = worst.max(((f64::from(exp(x)) - expected) / expected).abs());
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst:e}");
    }

    #[test]
    fn exp_is_zero_and_infinite_where_the_result_is_no_normal_number() {
        for x in arguments().chain([f32::INFINITY, f32::NEG_INFINITY]) {
            if x < -87.4 {
                assert_eq!((exp(x), exp_m1(x)), (0.0, -1.0), "{x}");
            } else if x < -86.9 {
                assert!((0.0..2e-38).contains(&exp(x)), "{x}");
            } else if x > 88.722_84 {
                assert_eq!(exp(x), f32::INFINITY, "{x}");
            }
        }
        assert!(exp(f32::NAN).is_nan() && exp_m1(f32::NAN).is_nan());
        assert_eq!((exp(0.0), exp(-0.0), exp_m1(0.0)), (1.0, 1.0, 0.0));
    }

    #[test]
    fn exp_m1_is_accurate_near_zero() {
        let mut worst: f64 = 0.0;
        for x in arguments().filter(|x| (-86.9..80.0).contains(x) && x.is_normal()) {
            let expected = f64::from(x).exp_m1();
            worst = worst.max(((f64::from(exp_m1(x)) - expected) / expected).abs());
        }
        assert!(worst < 3.0 * f64::from(f32::EPSILON), "{worst:e}");
    }
}
