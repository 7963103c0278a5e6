//! Times by the number of samples.

use std::fmt::Display;

use serde::{Deserialize, Deserializer, Serialize};

/// Seconds of one operation, for each of the numbers of samples in [`Costs::samples`](super::Costs::samples).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Times(#[serde(deserialize_with = "amounts")] pub Vec<f64>);

impl Times {
    /// Seconds for `n` samples, where `samples` are those of the entries, ascending: on the line between two entries; behind the last on the line
    /// through the last two, before the first through the first two, there at least in proportion. One entry is in proportion.
    pub fn at(&self, samples: &[usize], n: usize) -> f64 {
        let known = |i: usize| (samples[i] as f64, self.0[i]);
        let (last, n) = (samples.len().min(self.0.len()) - 1, n as f64);
        let (first_n, first) = known(0);
        let in_proportion = first * n / first_n;
        if last == 0 {
            return in_proportion;
        }
        let right = samples[1..last].partition_point(|m| (*m as f64) < n) + 1;
        let ((low_n, low), (high_n, high)) = (known(right - 1), known(right));
        let on_line = low + (high - low) * (n - low_n) / (high_n - low_n);
        if n < first_n {
            on_line.max(in_proportion)
        } else if n > high_n {
            on_line.max(high)
        } else {
            on_line
        }
    }
}

impl From<f64> for Times {
    fn from(seconds: f64) -> Self {
        Self(vec![seconds])
    }
}

/// Reads a number that is finite and not negative.
pub(super) fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(f64::deserialize(from)?, |value| value.is_finite() && value >= 0.0, "a finite number, at least 0")
}

/// Reads a number above 0, which may be infinite.
pub(super) fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(f64::deserialize(from)?, |value| value > 0.0, "a number above 0, or inf")
}

/// Reads a finite number, at least 1.
pub(super) fn factor<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(f64::deserialize(from)?, |value| value.is_finite() && value >= 1.0, "a finite number, at least 1")
}

/// Reads a whole number from 1.
pub(super) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    checked(usize::deserialize(from)?, |value| value > 0, "a whole number from 1")
}

fn amounts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    checked_all(Vec::deserialize(from)?, |value| value.is_finite() && value >= 0.0, "finite numbers, at least 0")
}

fn checked<T: Copy + Display, E: serde::de::Error>(value: T, fits: impl Fn(T) -> bool, wanted: &str) -> Result<T, E> {
    if fits(value) { Ok(value) } else { Err(E::custom(format!("{value} is not possible here: use {wanted}"))) }
}

fn checked_all<E: serde::de::Error>(values: Vec<f64>, fits: impl Fn(f64) -> bool, wanted: &str) -> Result<Vec<f64>, E> {
    match values.iter().find(|value| !fits(**value)) {
        None => Ok(values),
        Some(value) => Err(E::custom(format!("{value} is not possible here: use {wanted}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_lie_on_lines_between_samples() {
        let times = Times(vec![3.0, 5.0, 13.0]);
        let at = |n| times.at(&[1, 2, 4], n);
        assert_eq!([1, 2, 3, 4, 6].map(at), [3.0, 5.0, 9.0, 13.0, 21.0]);
        assert_eq!(Times::from(6.0).at(&[3], 5), 10.0);
    }

    #[test]
    fn few_samples_take_their_share_at_least() {
        // A line that would go below zero.
        assert_eq!(Times(vec![4.0, 12.0]).at(&[4, 6], 2), 2.0);
        // A fixed part that stays.
        assert_eq!(Times(vec![5.0, 6.0]).at(&[4, 6], 2), 4.0);
        // Measured noise never makes more samples cheaper.
        assert_eq!(Times(vec![5.0, 4.0]).at(&[4, 6], 100), 4.0);
    }

    proptest! {
        #[test]
        fn times_are_never_negative(values in prop::collection::vec(0.0f64..9.0, 1..5), n in 1usize..99) {
            let samples: Vec<usize> = (1..=values.len()).map(|i| 7 * i).collect();
            prop_assert!(Times(values).at(&samples, n) >= 0.0);
        }
    }
}
