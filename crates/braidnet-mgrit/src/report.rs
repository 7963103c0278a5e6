//! What a solve did.

use braidnet_comm::{CommError, Communicator, ReduceOp};

use crate::NotFinite;

/// Why a solve stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The residual norm fell below the tolerance, or the states are the sequential ones.
    Converged,
    /// The residual norm did not fall any more.
    Stagnated,
    /// All iterations were used up.
    MaxIters,
    /// The residual norm became NaN, or Newton's method ended with one that is not finite.
    Diverged,
}

/// Outcome of a solve. Counts and seconds are this rank's own.
#[derive(Debug, Clone, PartialEq)]
pub struct SolveReport {
    /// Iterations done; those of Newton's method with the rejected ones.
    pub iterations: usize,
    /// Why it stopped.
    pub stop: Stop,
    /// Residual norm of every iteration, after its relaxation and before its coarse correction; `None` where
    /// it was not formed (norms off, or the skipped first down-cycle). Of Newton's method that of the guess, then that of
    /// the states held after every iteration: one more than there are iterations. The same on all ranks.
    pub residuals: Vec<Option<f64>>,
    /// Iterations of Newton's method whose states were rejected, because their residual was larger.
    pub rejected: usize,
    /// Evaluations of Phi (or of its pullback) per level.
    pub evaluations: Vec<u64>,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of the states sent.
    pub bytes: u64,
    /// Wall time of the solve.
    pub seconds: f64,
    /// Part of `seconds` spent waiting for messages.
    pub seconds_waiting: f64,
    /// The first layer of this rank whose output is not finite; an error instead unless
    /// [`OnNonFinite::Report`](crate::OnNonFinite::Report) is chosen.
    pub not_finite: Option<NotFinite>,
}

impl SolveReport {
    /// The last residual norm.
    pub fn residual(&self) -> Option<f64> {
        self.residuals.last().copied().flatten()
    }

    /// Convergence factor: the ratio of the last two residual norms, if there are two and the first is not 0; NaN where one is.
    pub fn rho(&self) -> Option<f64> {
        match self.residuals[..] {
            [.., Some(before), Some(last)] if before != 0.0 => Some(last / before),
            _ => None,
        }
    }

    /// Adds up evaluations, messages and bytes over all ranks of `comm`.
    ///
    /// # Communication
    /// Collective: one all-reduce.
    ///
    /// # Errors
    /// If a message fails.
    pub fn over_all_ranks(&self, comm: &Communicator) -> Result<Self, CommError> {
        let mut counts = self.evaluations.clone();
        counts.extend([self.messages, self.bytes]);
        comm.all_reduce(&mut counts, ReduceOp::Sum)?;
        let (bytes, messages) = (counts.pop().unwrap_or(0), counts.pop().unwrap_or(0));
        Ok(Self { evaluations: counts, messages, bytes, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(residuals: &[Option<f64>]) -> SolveReport {
        SolveReport {
            iterations: residuals.len(),
            stop: Stop::MaxIters,
            residuals: residuals.to_vec(),
            rejected: 0,
            evaluations: vec![3, 1],
            messages: 2,
            bytes: 16,
            seconds: 0.0,
            seconds_waiting: 0.0,
            not_finite: None,
        }
    }

    #[test]
    fn rho_is_the_ratio_of_the_last_two_norms() {
        assert_eq!(report(&[Some(9.0), Some(8.0), Some(2.0)]).rho(), Some(0.25));
        assert_eq!(report(&[Some(9.0), Some(8.0), Some(2.0)]).residual(), Some(2.0));
        for residuals in [&[][..], &[Some(1.0)], &[None, Some(1.0)], &[Some(0.0), Some(1.0)], &[Some(1.0), None]] {
            assert_eq!(report(residuals).rho(), None, "{residuals:?}");
        }
    }

    #[test]
    fn one_rank_is_its_own_sum() {
        let report = report(&[Some(1.0)]);
        assert_eq!(report.over_all_ranks(&Communicator::alone()).unwrap(), report);
    }
}
