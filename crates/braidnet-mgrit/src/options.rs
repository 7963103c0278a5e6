//! Everything that can be chosen about a solve.

use braidnet_grid::Coarsening;
use serde::{Deserialize, Serialize};

use crate::MgritError;

/// Deepest hierarchy that message tags have room for.
pub(crate) const MAX_LEVELS: usize = 200;

/// How the equations of all states are solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Multigrid reduction in time.
    #[default]
    Multigrid,
    /// Newton's method with a parallel prefix, on one level whatever the coarsening says; needs a propagator with
    /// [`step_with_diagonal`](crate::Propagator::step_with_diagonal). Of the options it heeds the tolerance, the norm (the
    /// 2-norm if that is off), the final sweep and `max_iters`, against which rejected trials count.
    Newton,
}

/// Relaxation of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relaxation {
    /// F-relaxation alone.
    F,
    /// So many FC sweeps, then F: `Fcf(1)` is FCF, `Fcf(2)` is FCFCF.
    Fcf(usize),
}

impl Relaxation {
    /// Number of FC sweeps.
    pub fn fc_sweeps(self) -> usize {
        match self {
            Self::F => 0,
            Self::Fcf(sweeps) => sweeps,
        }
    }
}

/// Order in which the levels are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cycle {
    /// Down to the coarsest level and up again.
    V,
    /// On the way up, go down again from every level, `v_cycles` times.
    F {
        /// V-cycles on every level.
        v_cycles: usize,
        /// Use V-cycles from this iteration on; `None`: F-cycles throughout.
        iterations: Option<usize>,
    },
}

/// What is done on the coarsest level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coarsest {
    /// A sequential solve.
    Solve,
    /// So many FC sweeps and an F-relaxation only.
    Relax {
        /// FC sweeps.
        fc_sweeps: usize,
    },
}

/// The sweep after the last cycle, which brings the F-points up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSweep {
    /// F-relaxation.
    F,
    /// F-relaxation, then C-relaxation from its result.
    Fc,
    /// F-relaxation that goes on through the C-points of a rank, as if they were F-points: what the coarse grid says counts only where
    /// a rank begins. More exact at the same cost, and the last rank has no part in the last coarse solve (without a
    /// tolerance); but the result depends on how layers are shared out. On one rank it is that of the sequential solve.
    Joined,
}

/// When to stop before `max_iters`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// Stop once the residual norm is below this.
    Absolute(f64),
    /// Stop once the residual norm is below this times the first norm available.
    Relative(f64),
    /// Stop once an iteration leaves more than this part of the residual norm: round-off is reached, or nothing converges.
    Stagnation(f64),
}

/// How residual norms of the C-points are combined over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemporalNorm {
    /// Their sum.
    One,
    /// The root of the sum of their squares.
    Two,
    /// Their maximum.
    Max,
}

/// A solve on one grid.
///
/// Lists hold one entry per level, finest first; the last entry holds for all further levels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MgritOptions {
    /// Multigrid, or Newton's method.
    #[serde(default)]
    pub method: Method,
    /// The levels.
    pub coarsening: Coarsening,
    /// Relaxation per level.
    pub relaxation: Vec<Relaxation>,
    /// Weight of C-relaxation per level; 1 is unweighted. Holds wherever a C-point is relaxed, so on the coarsest
    /// level only with [`Coarsest::Relax`], and in a final FC sweep; as in XBraid.
    pub c_weights: Vec<f64>,
    /// Order of the levels.
    pub cycle: Cycle,
    /// Start on the coarsest level: its solution replaces the guess, so a warm start has no effect.
    pub skip_downcycle: bool,
    /// What is done on the coarsest level.
    pub coarsest: Coarsest,
    /// The sweep after the last cycle.
    pub final_sweep: FinalSweep,
    /// Iterations at most.
    pub max_iters: usize,
    /// When to stop earlier.
    pub tolerance: Option<Tolerance>,
    /// Norm of the residual; `None` saves forming it, and the collective call that it takes.
    pub norm: Option<TemporalNorm>,
    /// What a NaN or an infinity in a state does.
    pub on_non_finite: OnNonFinite,
}

/// What a state that is not finite does to a solve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNonFinite {
    /// The rank that finds it returns an error, which ends all ranks.
    #[default]
    Fail,
    /// The report says so ([`crate::SolveReport::not_finite`]), and the ranks go on: for callers that agree on what to do.
    Report,
}

impl MgritOptions {
    /// F-relaxation on the finest level and FCF on the others, V-cycles, first down-cycle skipped, norms off:
    /// a layer-parallel solve with a fixed number of iterations.
    pub fn network(coarsening: Coarsening, max_iters: usize) -> Self {
        Self {
            method: Method::Multigrid,
            coarsening,
            relaxation: vec![Relaxation::F, Relaxation::Fcf(1)],
            c_weights: vec![1.0],
            cycle: Cycle::V,
            skip_downcycle: true,
            coarsest: Coarsest::Solve,
            final_sweep: FinalSweep::F,
            max_iters,
            tolerance: None,
            norm: None,
            on_non_finite: OnNonFinite::Fail,
        }
    }

    /// The sequential solve over the ranks.
    pub fn sequential() -> Self {
        Self::network(Coarsening::none(), 1)
    }

    /// Newton's method from a guess at all points, with residual norms. Without a tolerance it takes `max_iters` iterations,
    /// unless it meets the exact solution.
    pub fn newton(max_iters: usize, tolerance: Option<Tolerance>) -> Self {
        let norm = Some(TemporalNorm::Two);
        Self { method: Method::Newton, tolerance, norm, ..Self::network(Coarsening::none(), max_iters) }
    }

    /// The coarsening that the method works with.
    pub(crate) fn effective_coarsening(&self) -> Coarsening {
        match self.method {
            Method::Multigrid => self.coarsening.clone(),
            // One level, on which every point is a C-point.
            Method::Newton => Coarsening::network(1, 1),
        }
    }

    /// Relaxation of `level`.
    pub fn relaxation(&self, level: usize) -> Relaxation {
        nth_or_last(&self.relaxation, level).unwrap_or(Relaxation::F)
    }

    /// C-relaxation weight of `level`.
    pub fn c_weight(&self, level: usize) -> f64 {
        nth_or_last(&self.c_weights, level).unwrap_or(1.0)
    }

    /// Checks all options before any communication.
    ///
    /// # Errors
    /// [`MgritError::Grid`] for the coarsening, [`MgritError::Options`] with every other problem.
    pub fn validate(&self) -> Result<(), MgritError> {
        self.coarsening.validate()?;
        let mut problems = Vec::new();
        if self.max_iters == 0 {
            problems.push("max_iters is 0, use at least 1".to_owned());
        }
        for weight in self.c_weights.iter().filter(|w| !(w.is_finite() && **w > 0.0)) {
            problems.push(format!("the C-relaxation weight {weight} must be finite and above 0"));
        }
        if let Cycle::F { v_cycles: 0, .. } = self.cycle {
            problems.push("an F-cycle needs at least 1 V-cycle per level, got 0".to_owned());
        }
        if self.tolerance.is_some() && self.norm.is_none() {
            problems.push("a tolerance needs a residual norm: choose one, or drop the tolerance".to_owned());
        }
        if let Some(Tolerance::Absolute(tol) | Tolerance::Relative(tol) | Tolerance::Stagnation(tol)) = self.tolerance
            && tol.is_nan()
        {
            problems.push("the tolerance is NaN".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(MgritError::Options { problems }) }
    }
}

fn nth_or_last<T: Copy>(list: &[T], n: usize) -> Option<T> {
    list.get(n).or(list.last()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_listed_at_once() {
        let mut options = MgritOptions::network(Coarsening::network(2, 4), 0);
        options.c_weights = vec![1.0, f64::NAN];
        options.tolerance = Some(Tolerance::Absolute(1e-3));
        let message = options.validate().unwrap_err().to_string();
        for part in ["max_iters is 0", "weight NaN", "needs a residual norm"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_factor_of_zero_is_named() {
        let message = MgritOptions::network(Coarsening::network(3, 0), 1).validate().unwrap_err().to_string();
        assert!(message.contains("coarsening factor of level 0 is 0"), "{message}");
    }
}
