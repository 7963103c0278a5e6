//! Temporal norm of the residual.

use braidnet_comm::{CommError, Communicator, ReduceOp};

use crate::TemporalNorm;

/// Combines spatial norms of C-points, right to left, into one number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormSum {
    norm: TemporalNorm,
    sum: f64,
}

impl NormSum {
    pub fn new(norm: TemporalNorm) -> Self {
        Self { norm, sum: 0.0 }
    }

    /// Adds a point, given the square of its spatial norm.
    pub fn add(&mut self, norm_squared: f64) {
        match self.norm {
            TemporalNorm::One => self.sum += norm_squared.sqrt(),
            TemporalNorm::Two => self.sum += norm_squared,
            // `f64::max` would drop a NaN, which must reach the report.
            TemporalNorm::Max if self.sum.is_nan() => {}
            TemporalNorm::Max if norm_squared.is_nan() => self.sum = f64::NAN,
            TemporalNorm::Max => self.sum = self.sum.max(norm_squared.sqrt()),
        }
    }

    /// The norm over all ranks.
    ///
    /// # Communication
    /// Collective: one all-reduce of one number, in which a NaN of any rank survives.
    pub fn over_all_ranks(self, comm: &Communicator) -> Result<f64, CommError> {
        let mut value = [self.sum];
        match self.norm {
            TemporalNorm::One => comm.all_reduce(&mut value, ReduceOp::Sum)?,
            TemporalNorm::Two => {
                comm.all_reduce(&mut value, ReduceOp::Sum)?;
                value[0] = value[0].sqrt();
            }
            TemporalNorm::Max => comm.all_reduce(&mut value, ReduceOp::Max)?,
        }
        Ok(value[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_norms() {
        for (norm, expected) in [(TemporalNorm::One, 7.0), (TemporalNorm::Two, 5.0), (TemporalNorm::Max, 4.0)] {
            let mut sum = NormSum::new(norm);
            sum.add(9.0);
            sum.add(16.0);
            assert_eq!(sum.over_all_ranks(&Communicator::alone()).unwrap(), expected);
        }
    }

    #[test]
    fn no_norm_loses_a_nan() {
        for norm in [TemporalNorm::One, TemporalNorm::Two, TemporalNorm::Max] {
            let mut sum = NormSum::new(norm);
            sum.add(f64::NAN);
            sum.add(1.0);
            assert!(sum.over_all_ranks(&Communicator::alone()).unwrap().is_nan());
        }
    }
}
