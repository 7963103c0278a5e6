//! Sums, minima and maxima over ranks, with the same bits everywhere.

use crate::all_reduce::Flight;
use crate::timeline::span;
use crate::{AllReduce, CommError, Communicator, Plain};

/// How values of several ranks combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReduceOp {
    /// The sum; integers wrap around.
    Sum,
    /// The least value; NaN if any is NaN, so that a diverged rank is not hidden.
    Min,
    /// The greatest value; NaN if any is NaN.
    Max,
}

/// A number that can be reduced: `f32`, `f64`, `u64`.
pub trait Reduce: Plain {
    /// `op` of two values, the lower rank's first.
    fn combine(self, other: Self, op: ReduceOp) -> Self;
}

macro_rules! reduce_float {
    ($($number:ty),*) => {$(
        impl Reduce for $number {
            fn combine(self, other: Self, op: ReduceOp) -> Self {
                match op {
                    ReduceOp::Sum => self + other,
                    ReduceOp::Min => if self.is_nan() || self <= other { self } else { other },
                    ReduceOp::Max => if self.is_nan() || self >= other { self } else { other },
                }
            }
        }
    )*};
}

reduce_float!(f32, f64);

impl Reduce for u64 {
    fn combine(self, other: Self, op: ReduceOp) -> Self {
        match op {
            ReduceOp::Sum => self.wrapping_add(other),
            ReduceOp::Min => self.min(other),
            ReduceOp::Max => self.max(other),
        }
    }
}

impl Communicator {
    /// Replaces every value by the combination of all ranks' values at its place.
    ///
    /// Values combine in rank order, `((x_0 op x_1) op x_2) ...`, so for a fixed number of ranks the result has the
    /// same bits on every rank, on threads and on MPI, and for any length of the array.
    ///
    /// # Errors
    /// [`LengthMismatch`](CommError::LengthMismatch) if the ranks' arrays differ in length, and those of
    /// [`send`](Self::send) and [`Receive::wait`](crate::Receive::wait).
    ///
    /// # Communication
    /// Collective. The array is cut into up to `size` parts, each combined by its owner: every rank sends a part to its
    /// owner, and the owner sends the result back, `2 (size - 1)` messages per part.
    pub fn all_reduce<E: Reduce>(&self, values: &mut [E], op: ReduceOp) -> Result<(), CommError> {
        let _span = span!("all-reduce");
        Flight::start(self, values, op)?.finish(self, values)
    }

    /// Starts an all-reduce and returns at once; [`AllReduce::wait`] returns the values that
    /// [`all_reduce`](Self::all_reduce) would give, to the bit.
    ///
    /// Any number may be under way, also with a blocking all-reduce in between. A rank combines its part of them inside
    /// [`AllReduce::advance`], [`AllReduce::wait`] and [`all_reduce`](Self::all_reduce) of this communicator, and
    /// nowhere else: one that waits in another call keeps the others waiting.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    ///
    /// # Communication
    /// Collective: all ranks start the same all-reduces in the same order, blocking ones counted, and may wait for them
    /// in any order. The messages of [`all_reduce`](Self::all_reduce).
    pub fn start_all_reduce<E: Reduce>(&self, values: Vec<E>, op: ReduceOp) -> Result<AllReduce<E>, CommError> {
        let flight = Flight::start(self, &values, op)?;
        Ok(AllReduce { comm: self.clone(), values, flight })
    }
}

/// That another rank brings as many values.
pub(crate) fn check_length(rank: usize, expected: usize, got: usize) -> Result<(), CommError> {
    if got == expected { Ok(()) } else { Err(CommError::LengthMismatch { rank, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_never_hidden() {
        for op in [ReduceOp::Sum, ReduceOp::Min, ReduceOp::Max] {
            assert!(f64::NAN.combine(1.0, op).is_nan());
            assert!(1f32.combine(f32::NAN, op).is_nan());
        }
        assert_eq!(2.0.combine(1.0, ReduceOp::Min), 1.0);
        assert_eq!(2u64.combine(1, ReduceOp::Max), 2);
    }
}
