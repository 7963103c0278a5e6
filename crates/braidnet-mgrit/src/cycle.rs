//! The multigrid cycle.
//!
//! ```text
//! V, iteration k:  for l = 0..L-2: relax(l); restrict(l)      restriction on level 0 yields r_k
//!                  for l = L-1..1: prolong(l)                 F-relax l, then correct l-1
//! ```
//! An F-cycle goes down again from every level on the way up. Skipping the first down-cycle starts iteration 0
//! on the coarsest level, with the restricted guess as `u` and `v` and without a right-hand side.

use std::sync::Arc;

use braidnet_grid::Share;

use crate::norm::NormSum;
use crate::prolong::correct;
use crate::relax::AtC;
use crate::restrict::{Residuals, restrict_states};
use crate::setting::Setting;
use crate::solver::Steps;
use crate::storage::{LevelStorage, Rhs};
use crate::tau::add_tau;
use crate::walk::{Reach, Split};
use crate::{Coarsest, Cycle, FinalSweep, Method, Mgrit, MgritError, MgritOptions, Propagator, State, Stop, Tolerance};

/// How the iteration went.
pub(crate) struct Outcome {
    pub iterations: usize,
    pub stop: Stop,
    pub residuals: Vec<Option<f64>>,
    pub rejected: usize,
}

impl<S: State> Mgrit<S> {
    /// Iterates until a tolerance, a NaN or the last iteration is reached. One level needs no iteration: the
    /// final sweep solves it.
    pub(crate) fn iterate<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
    ) -> Result<Outcome, MgritError> {
        for storage in &mut self.levels {
            storage.rhs = Rhs::Zero;
        }
        if self.options.method == Method::Newton {
            return self.newton(setting, propagator);
        }
        if self.levels.len() == 1 {
            self.relax_coarsest(setting, propagator)?;
            return Ok(Outcome {
                iterations: 1,
                stop: Stop::Converged,
                residuals: vec![self.options.norm.map(|_| 0.0)],
                rejected: 0,
            });
        }
        let mut pending = Vec::new();
        let mut residuals: Vec<Option<f64>> = Vec::new();
        for iteration in 0..self.options.max_iters {
            let norm = if iteration == 0 && self.options.skip_downcycle {
                self.start_on_coarsest(setting, propagator)?;
                None
            } else {
                self.descend(setting, propagator, 0, self.options.norm.map(NormSum::new))?
            };
            self.ascend(setting, propagator, iteration)?;
            if self.options.tolerance.is_none() {
                pending.push(norm);
                continue;
            }
            residuals.push(norm.map(|n| n.over_all_ranks(&self.comm)).transpose()?);
            if let Some(stop) = self.stop(&residuals) {
                return Ok(Outcome { iterations: iteration + 1, stop, residuals, rejected: 0 });
            }
        }
        // Without a tolerance nobody waits for the norms before the end.
        for norm in pending {
            residuals.push(norm.map(|n| n.over_all_ranks(&self.comm)).transpose()?);
        }
        Ok(Outcome { iterations: self.options.max_iters, stop: Stop::MaxIters, residuals, rejected: 0 })
    }

    pub(crate) fn stop(&self, residuals: &[Option<f64>]) -> Option<Stop> {
        let last = residuals.last().copied().flatten()?;
        if last.is_nan() {
            return Some(Stop::Diverged);
        }
        let (reached, stop) = match self.options.tolerance? {
            Tolerance::Absolute(tolerance) => (last < tolerance, Stop::Converged),
            Tolerance::Relative(tolerance) => (last < tolerance * residuals.iter().flatten().next()?, Stop::Converged),
            Tolerance::Stagnation(_) if last == 0.0 => (true, Stop::Converged),
            Tolerance::Stagnation(part) => match residuals {
                [.., Some(before), _] => (last > part * before, Stop::Stagnated),
                _ => (false, Stop::Stagnated),
            },
        };
        reached.then_some(stop)
    }

    /// From `from` down to the coarsest level; the norm is that of the residual of level `from`.
    fn descend<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
        from: usize,
        norm: Option<NormSum>,
    ) -> Result<Option<NormSum>, MgritError> {
        let (mut wanted, mut found) = (norm, None);
        for level in from..self.levels.len() - 1 {
            self.relax(setting, propagator, level, self.options.relaxation(level).fc_sweeps())?;
            found = found.or(self.restrict(setting, propagator, level, wanted.take())?);
        }
        Ok(found)
    }

    /// From the coarsest level up to the finest, with the detours of an F-cycle.
    fn ascend<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
        iteration: usize,
    ) -> Result<(), MgritError> {
        let coarsest = self.levels.len() - 1;
        let (mut detours_below, v_cycles) = match self.options.cycle {
            Cycle::F { v_cycles, iterations } if iterations.is_none_or(|n| iteration < n) => (coarsest, v_cycles),
            _ => (0, 1),
        };
        let is_last_way_up = self.is_last_way_up(iteration);
        let mut visits = 0;
        let mut level = coarsest;
        while level > 0 {
            if level < detours_below {
                visits += 1;
                if visits == v_cycles {
                    visits = 0;
                    detours_below -= 1;
                }
                self.descend(setting, propagator, level, None)?;
                level = coarsest;
            } else {
                let reach = if is_last_way_up { self.reach_of_last_rank(level) } else { Reach::End };
                self.prolong(setting, propagator, level, reach)?;
                level -= 1;
            }
        }
        Ok(())
    }

    /// FC sweeps; the F-relaxation that completes them comes with what follows.
    fn relax<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
        level: usize,
        fc_sweeps: usize,
    ) -> Result<(), MgritError> {
        let at_c = AtC::Relax { weight: self.options.c_weight(level) };
        for _ in 0..fc_sweeps {
            self.sweep(setting, Split::Intervals, Reach::LastC, level, &mut Steps { propagator, at_c })?;
        }
        Ok(())
    }

    fn relax_coarsest<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
    ) -> Result<(), MgritError> {
        match self.options.coarsest {
            Coarsest::Solve => Ok(()),
            Coarsest::Relax { fc_sweeps } => self.relax(setting, propagator, self.levels.len() - 1, fc_sweeps),
        }
    }

    fn restrict<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
        level: usize,
        norm: Option<NormSum>,
    ) -> Result<Option<NormSum>, MgritError> {
        let (hierarchy, layout) = (Arc::clone(&self.hierarchy), Arc::clone(&self.layout));
        let levels = hierarchy.levels();
        let coarse_share = layout.share(level + 1);
        self.reserve_coarse(level);
        let f = match std::mem::replace(&mut self.levels[level + 1].rhs, Rhs::Zero) {
            Rhs::Fas(f) if f.len() == coarse_share.steps.len() => f,
            _ => self.levels[level + 1].v.iter().skip(1).cloned().collect(),
        };
        let fine = &levels[level];
        let mut residuals = Residuals { propagator, level: fine, coarse_share, f, elsewhere: Vec::new(), norm };
        self.sweep(setting, Split::Intervals, Reach::LastC, level, &mut residuals)?;
        let Residuals { f, elsewhere, norm, .. } = residuals;
        let [fine_storage, coarse_storage] = pair(&mut self.levels, level);
        coarse_storage.rhs = Rhs::Fas(f);
        let both = [fine_storage, &mut *coarse_storage];
        restrict_states(setting, propagator, fine, &layout, both, Some(&elsewhere), &mut self.counters)?;
        let coarse = &levels[level + 1];
        add_tau(setting, propagator, coarse, coarse_share, coarse_storage, &mut self.counters)?;
        Ok(norm)
    }

    /// Whether nothing but a joined sweep follows the way up of this iteration.
    fn is_last_way_up(&self, iteration: usize) -> bool {
        let MgritOptions { final_sweep, tolerance, max_iters, .. } = &self.options;
        *final_sweep == FinalSweep::Joined && tolerance.is_none() && iteration + 1 == *max_iters
    }

    /// How far a coarse sweep goes before a joined one. Nobody comes after the last rank, and its own sweep needs the first of its
    /// C-points alone.
    fn reach_of_last_rank(&self, level: usize) -> Reach {
        let Share { steps, to, .. } = self.layout.share(0);
        let points = 0..=self.level(level).n_steps();
        let is_own = |point: &usize| self.level(level).fine_point(*point) >= steps.start;
        points.into_iter().find(is_own).filter(|_| to.is_none()).map_or(Reach::End, Reach::Point)
    }

    /// F-relaxes `level` (solves it, if it is the coarsest) as far as `reach` and corrects the level above.
    fn prolong<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
        level: usize,
        reach: Reach,
    ) -> Result<(), MgritError> {
        let mut split = Split::Intervals;
        if level == self.levels.len() - 1 {
            self.relax_coarsest(setting, propagator)?;
            if self.options.coarsest == Coarsest::Solve {
                split = Split::Whole;
            }
        }
        self.sweep(setting, split, reach, level, &mut Steps { propagator, at_c: AtC::Stop })?;
        let both = pair(&mut self.levels, level - 1);
        let fine = &self.hierarchy.levels()[level - 1];
        correct(setting, propagator, fine, &self.layout, both, &mut self.counters)
    }

    /// Restricts the guess to all levels: `u = v = R(guess)`.
    fn start_on_coarsest<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
    ) -> Result<(), MgritError> {
        for level in 0..self.levels.len() - 1 {
            self.reserve_coarse(level);
            let both = pair(&mut self.levels, level);
            let fine = &self.hierarchy.levels()[level];
            restrict_states(setting, propagator, fine, &self.layout, both, None, &mut self.counters)?;
        }
        Ok(())
    }

    /// Makes room for the states of level `level + 1`; what they hold, and its shape, does not matter: all are replaced.
    fn reserve_coarse(&mut self, level: usize) {
        let n = self.layout.share(level + 1).points().len();
        let [fine, coarse] = pair(&mut self.levels, level);
        if coarse.v.len() != n
            && let Some(any) = fine.u.first()
        {
            coarse.v.clear();
            coarse.v.resize(n, any.clone());
        }
    }
}

/// The storage of `level` and of the next coarser one.
fn pair<S>(levels: &mut [LevelStorage<S>], level: usize) -> [&mut LevelStorage<S>; 2] {
    let (fine, coarse) = levels.split_at_mut(level + 1);
    [&mut fine[level], &mut coarse[0]]
}
