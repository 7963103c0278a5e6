//! Sums, minima and maxima over ranks, with the same bits everywhere.

use std::ops::Range;

use crate::communicator::tags;
use crate::{CommError, Communicator, Plain};

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

/// Values per part below which another owner does not pay: a message of this size costs about its latency.
const PART: usize = 4096;

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
        if self.size() == 1 {
            return Ok(());
        }
        let len = values.len();
        let n_parts = len.div_ceil(PART).clamp(1, self.size());
        for owner in self.others().filter(|&owner| owner < n_parts) {
            self.send_collective(owner, tags::REDUCE, values[part(len, n_parts, owner)].to_vec())?;
        }
        if self.rank() < n_parts {
            self.combine_part(&mut values[part(len, n_parts, self.rank())], op)?;
        }
        for owner in self.others().filter(|&owner| owner < n_parts) {
            let result: Vec<E> = self.post(owner, tags::REDUCED)?.wait(&())?;
            let place = &mut values[part(len, n_parts, owner)];
            check_length(owner, place.len(), result.len())?;
            place.copy_from_slice(&result);
        }
        Ok(())
    }

    /// The owner's side: combines the part of all ranks and sends the result to them.
    fn combine_part<E: Reduce>(&self, own: &mut [E], op: ReduceOp) -> Result<(), CommError> {
        let parts = self.collect(tags::REDUCE, own.to_vec(), &())?;
        for (rank, part) in parts.iter().enumerate() {
            check_length(rank, own.len(), part.len())?;
        }
        own.copy_from_slice(&parts[0]);
        for part in &parts[1..] {
            for (sum, value) in own.iter_mut().zip(part) {
                *sum = sum.combine(*value, op);
            }
        }
        for to in self.others() {
            self.send_collective(to, tags::REDUCED, own.to_vec())?;
        }
        Ok(())
    }
}

/// The values of one part: all parts differ by one value at most.
fn part(len: usize, n_parts: usize, owner: usize) -> Range<usize> {
    let start = |owner: usize| owner * (len / n_parts) + owner.min(len % n_parts);
    start(owner)..start(owner + 1)
}

fn check_length(rank: usize, expected: usize, got: usize) -> Result<(), CommError> {
    if got == expected { Ok(()) } else { Err(CommError::LengthMismatch { rank, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_array_once() {
        assert_eq!((0..3).map(|owner| part(8, 3, owner)).collect::<Vec<_>>(), [0..3, 3..6, 6..8]);
        assert_eq!((0..2).map(|owner| part(1, 2, owner)).collect::<Vec<_>>(), [0..1, 1..1]);
        assert_eq!(part(0, 1, 0), 0..0);
    }

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
