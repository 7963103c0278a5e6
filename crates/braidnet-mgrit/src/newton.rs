//! Newton's method for all states at once, with the diagonals of the Jacobians and a parallel prefix.
//!
//! With states `u_j` at all points, `v_j = Phi_j(u_j)`, residuals `r_(j+1) = v_j - u_(j+1)` and `D_j` the diagonal of
//! `dPhi_j/du` at `u_j`, one iteration is `u += delta` of
//! ```text
//! delta_0 = 0,   delta_(j+1) = r_(j+1) + D_j / (1 + mu) delta_j
//! ```
//! All `v_j` and `D_j` are independent of each other: as many of them are evaluated in one call as the propagator likes. The
//! recurrence is a chain of affine maps, which a rank combines to one for its layers, and the ranks by recursive doubling.
//!
//! For scalars this is Newton's method; for vectors the diagonal is an approximation, and so is the damped one: `mu` is 0 as
//! long as the residual falls. A trial whose residual is larger, or not finite, is rejected, and the damping raised;
//! at the end of that stands `delta = r`, the Picard step `u_(j+1) = v_j`, which is accepted whatever comes of it. Every
//! accepted iteration makes at least one more of the leading points exact, to the bit: after as many as there are layers
//! the states are the sequential ones. Needs no ODE form and no coarse level, but room for `u`, `v` and `D` of the states
//! held and of the trial: six states per layer.
//!
//! References: Danieli et al., DeepPCR: parallelizing sequential operations in neural networks, NeurIPS 2023. Lim et al.,
//! Parallelizing non-linear sequential models over the sequence length (DEER), ICLR 2024. Gonzalez et al., Towards
//! scalable and stable parallelization of nonlinear RNNs (quasi-DEER, ELK), NeurIPS 2024.

use std::sync::Arc;

use braidnet_grid::Step;

use crate::cycle::Outcome;
use crate::norm::NormSum;
use crate::prefix::{Affine, result_before};
use crate::relax::border_tag;
use crate::setting::Setting;
use crate::{Mgrit, MgritError, Propagator, State, Stop, TemporalNorm};

/// The damping `mu` of an iteration.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Damping(f64);

impl Damping {
    const LEAST: f64 = 1e-3;
    const MOST: f64 = 1e3;

    /// That of the first iteration: none, unless the guess leads nowhere.
    fn of_guess(norm: f64) -> Self {
        Self(if norm.is_finite() { 0.0 } else { f64::INFINITY })
    }

    /// By what the diagonals are multiplied; `None`: a Picard step.
    fn factor(self) -> Option<f64> {
        (self.0 <= Self::MOST).then(|| 1.0 / (1.0 + self.0))
    }

    /// After a trial was rejected.
    fn raised(self) -> Self {
        Self((8.0 * self.0).max(0.125))
    }

    /// After a trial with this residual norm was accepted.
    fn lowered(self, norm: f64) -> Self {
        match self.0.min(8.0 * Self::MOST) / 8.0 {
            _ if !norm.is_finite() => Self(f64::INFINITY),
            mu if mu < Self::LEAST => Self(0.0),
            mu => Self(mu),
        }
    }
}

/// States of a rank and the equations of the next iteration.
struct Iterate<S> {
    /// The states `u` of the points held.
    u: Vec<S>,
    /// `v`, by local step.
    next: Vec<S>,
    /// `D`, by local step; empty where no iteration follows.
    diagonals: Vec<S>,
    /// Norm of the residuals of all ranks.
    norm: f64,
}

impl<S: State> Iterate<S> {
    fn residual(&self, j: usize) -> S {
        let mut residual = self.next[j].clone();
        residual.axpy(-1.0, &self.u[j + 1]);
        residual
    }

    /// The map of all steps from `delta` before the first to `delta` behind the last.
    fn map(&self, factor: f64) -> Affine<S> {
        let of_step = |j: usize| {
            let mut linear = self.diagonals[j].clone();
            if factor != 1.0 {
                linear.scale(factor);
            }
            Affine { linear: Some(linear), constant: self.residual(j) }
        };
        (1..self.next.len()).fold(of_step(0), |before, j| of_step(j).after(&before))
    }

    /// Writes `u + delta` behind the steps into `trial`, given the first `delta` (`None` for 0); returns the last. Where
    /// `delta` is 0 the state becomes `v` to the bit, which `u + (v - u)` would not.
    fn correct(&self, factor: f64, mut delta: Option<S>, trial: &mut [S]) -> Option<S> {
        for (j, next) in self.next.iter().enumerate() {
            let mut state = next.clone();
            if let Some(mut change) = delta.take() {
                change.multiply(&self.diagonals[j]);
                state.axpy(factor, &change);
            }
            let mut change = state.clone();
            change.axpy(-1.0, &self.u[j + 1]);
            delta = Some(change);
            trial[j + 1] = state;
        }
        delta
    }
}

impl<S: State> Mgrit<S> {
    /// Iterates until a tolerance, the exact solution or the last iteration is reached.
    ///
    /// # Communication
    /// Per iteration one message per border between ranks, those of the prefix and one all-reduce; one all-reduce before.
    ///
    /// # Cost
    /// One evaluation per layer for the guess and for every iteration.
    pub(crate) fn newton<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
    ) -> Result<Outcome, MgritError> {
        let max_iters = self.options.max_iters;
        let mut held = self.evaluate_all(setting, propagator, true)?;
        let mut damping = Damping::of_guess(held.norm);
        let mut residuals = vec![Some(held.norm)];
        let (mut iterations, mut rejected) = (0, 0);
        let mut stop = self.newton_stop(&residuals, 0);
        while stop.is_none() && iterations < max_iters {
            self.try_from(setting, &held, damping)?;
            iterations += 1;
            let trial = self.evaluate_all(setting, propagator, iterations < max_iters)?;
            // Written so that a NaN is not better.
            if trial.norm <= held.norm && trial.norm.is_finite() || damping.factor().is_none() {
                held = trial;
                damping = damping.lowered(held.norm);
                residuals.push(Some(held.norm));
                stop = self.newton_stop(&residuals, iterations - rejected);
            } else {
                damping = damping.raised();
                rejected += 1;
                residuals.push(Some(held.norm));
            }
        }
        let last = if held.norm.is_finite() { Stop::MaxIters } else { Stop::Diverged };
        self.levels[0].u = held.u;
        if self.options.norm.is_none() {
            residuals.fill(None);
        }
        Ok(Outcome { iterations, stop: stop.unwrap_or(last), residuals, rejected })
    }

    /// Whether the iterate just accepted is the last one.
    fn newton_stop(&self, residuals: &[Option<f64>], accepted: usize) -> Option<Stop> {
        let norm = residuals.last().copied().flatten()?;
        if norm == 0.0 {
            return Some(Stop::Converged);
        }
        if accepted == self.level(0).n_steps() {
            // The sequential states; only a NaN of the layers themselves has a residual.
            return Some(if norm.is_finite() { Stop::Converged } else { Stop::Diverged });
        }
        if norm.is_finite() { self.stop(residuals) } else { None }
    }

    /// Applies all steps of this rank, each to the state before it, and forms the norm of the residuals.
    fn evaluate_all<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
        with_diagonals: bool,
    ) -> Result<Iterate<S>, MgritError> {
        let _span = setting.way.span(0).entered();
        let (level, first) = (self.hierarchy.finest(), self.layout.share(0).steps.start);
        let u = self.levels[0].u.clone();
        let mut next = u[..u.len() - 1].to_vec();
        let mut diagonals = Vec::with_capacity(if with_diagonals { next.len() } else { 0 });
        for (n, states) in next.chunks_mut(setting.batch).enumerate() {
            let at = first + n * setting.batch;
            let steps: Vec<Step> = (at..at + states.len()).map(|j| level.step(j)).collect();
            self.counters.evaluations[0] += steps.len() as u64;
            let outcome = if with_diagonals {
                propagator.step_with_diagonal(&steps, states).map(|found| diagonals.extend(found))
            } else {
                propagator.step(&steps, states)
            };
            let (layer, rank) = (steps[0].layer, setting.comm.rank());
            outcome.map_err(|source| MgritError::Step { level: 0, layer, rank, source })?;
        }
        let mut iterate = Iterate { u, next, diagonals, norm: 0.0 };
        let mut norm = NormSum::new(self.options.norm.unwrap_or(TemporalNorm::Two));
        (0..iterate.next.len()).rev().for_each(|j| norm.add(iterate.residual(j).norm_squared()));
        iterate.norm = norm.over_all_ranks(&setting.comm)?;
        Ok(iterate)
    }

    /// Writes the next trial into the states of the finest level.
    fn try_from(&mut self, setting: &Setting<S>, held: &Iterate<S>, damping: Damping) -> Result<(), MgritError> {
        let layout = Arc::clone(&self.layout);
        let (from, to) = (layout.share(0).from, layout.share(0).to);
        // A border point comes from the rank that computes it: two sums of corrections would drift apart.
        let message = from.map(|from| setting.comm.receive::<S>(from, border_tag(0))).transpose()?;
        let trial = &mut self.levels[0].u;
        match damping.factor() {
            None => trial[1..].clone_from_slice(&held.next),
            Some(factor) if from.is_none() => {
                let delta = held.correct(factor, None, trial);
                let own = delta.map(|constant| Affine { linear: None, constant });
                result_before(own.as_ref(), setting, &mut self.counters)?;
            }
            Some(factor) => {
                let own = to.map(|_| held.map(factor));
                let delta = result_before(own.as_ref(), setting, &mut self.counters)?;
                held.correct(factor, delta, trial);
            }
        }
        if let (Some(to), Some(last)) = (to, trial.last()) {
            setting.send(to, border_tag(0), last.clone(), &mut self.counters)?;
        }
        if let Some(message) = message {
            self.levels[0].u[0] = setting.wait(message, &mut self.counters)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damping_rises_to_a_picard_step_and_falls_to_none() {
        let mut damping = Damping::of_guess(1.0);
        let mut factors = vec![damping.factor()];
        for _ in 0..6 {
            damping = damping.raised();
            factors.push(damping.factor());
        }
        let expected = [1.0, 1.0 / 1.125, 0.5, 1.0 / 9.0, 1.0 / 65.0, 1.0 / 513.0].map(Some);
        assert_eq!(factors, [&expected[..], &[None]].concat());
        let lower = |damping: Damping| damping.lowered(1.0);
        let (once, five) = (lower(damping), (0..5).fold(damping, |d, _| lower(d)));
        assert_eq!((once.factor(), five), (Some(1.0 / 513.0), Damping(0.125)));
        assert_eq!((0..3).fold(five, |d, _| lower(d)), Damping(0.0));
    }

    #[test]
    fn what_is_not_finite_is_left_by_picard_steps() {
        for norm in [f64::NAN, f64::INFINITY] {
            assert_eq!(Damping::of_guess(norm).factor(), None);
            assert_eq!(Damping(0.0).lowered(norm).factor(), None);
        }
        assert_eq!(Damping(f64::INFINITY).lowered(1.0), Damping(1000.0));
    }
}
