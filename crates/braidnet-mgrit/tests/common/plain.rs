//! MGRIT once more, as plainly as it can be written: one rank, scalars, every level a few dense vectors, loops over
//! all points. Written from the definition of the algorithm, to pin the solver digit by digit.

use braidnet_mgrit::{Coarsest, Cycle, FinalSweep, MgritOptions, TemporalNorm, Tolerance};

use super::problems::Scalar;

/// One level; entry `i` of a list belongs to point `i`, or to the step that ends there.
#[derive(Default)]
struct Level {
    times: Vec<f64>,
    /// Finest-level index of each point.
    fine: Vec<usize>,
    c: Vec<usize>,
    u: Vec<f64>,
    v: Vec<f64>,
    f: Vec<f64>,
}

/// The solver and, after [`Plain::solve`], its results.
pub struct Plain<'a> {
    problem: &'a Scalar,
    options: &'a MgritOptions,
    levels: Vec<Level>,
    norm: Option<f64>,
    pub norms: Vec<Option<f64>>,
    pub evaluations: Vec<u64>,
}

fn entry<T: Copy>(list: &[T], l: usize) -> T {
    list[l.min(list.len() - 1)]
}

impl<'a> Plain<'a> {
    pub fn new(problem: &'a Scalar, times: &[f64], options: &'a MgritOptions) -> Self {
        let mut plain =
            Self { problem, options, levels: Vec::new(), norm: None, norms: Vec::new(), evaluations: Vec::new() };
        let (mut times, mut fine) = (times.to_vec(), (0..times.len()).collect::<Vec<_>>());
        loop {
            let (l, n) = (plain.levels.len(), times.len() - 1);
            let m = entry(&options.coarsening.cfactors, l);
            let c = plain.c_points(&fine, m);
            let n_coarse = c.len() - 1;
            let next = (c.iter().map(|i| times[*i]).collect(), c.iter().map(|i| fine[*i]).collect());
            let zeros = vec![0.0; n + 1];
            plain.levels.push(Level { times, fine, c, u: zeros.clone(), v: zeros.clone(), f: zeros });
            plain.evaluations.push(0);
            let is_wanted = l + 1 < options.coarsening.max_levels && n_coarse >= options.coarsening.min_coarse.max(1);
            if !is_wanted || (n_coarse == n && m > 1) {
                return plain;
            }
            (times, fine) = next;
        }
    }

    /// Every `m`-th point since the last one, and both ends of a transition.
    fn c_points(&self, fine: &[usize], m: usize) -> Vec<usize> {
        let n = fine.len() - 1;
        let is_short = self.options.coarsening.last_interval == braidnet_grid::LastInterval::Short;
        let mut c = vec![0];
        for i in 1..=n {
            let is_before = i < n && self.problem.is_transition(fine[i]);
            let is_after = self.problem.is_transition(fine[i - 1]);
            if i - c[c.len() - 1] == m || is_before || is_after || (i == n && is_short) {
                c.push(i);
            }
        }
        c
    }

    pub fn solve(&mut self, initial: f64, guess: impl Fn(usize) -> f64) -> Vec<f64> {
        let n = self.levels[0].times.len();
        self.levels[0].u = (0..n).map(|i| if i == 0 { initial } else { guess(i) }).collect();
        if self.levels.len() == 1 {
            self.cycle(0, false, false);
            self.norms = vec![self.options.norm.map(|_| 0.0)];
            return self.levels[0].u.clone();
        }
        for k in 0..self.options.max_iters {
            let is_f = match self.options.cycle {
                Cycle::V => false,
                Cycle::F { iterations, .. } => iterations.is_none_or(|n| k < n),
            };
            self.norm = None;
            self.cycle(0, is_f, k == 0 && self.options.skip_downcycle);
            self.norms.push(self.norm);
            if self.is_done() {
                break;
            }
        }
        self.relax_tail(0);
        if self.options.final_sweep == FinalSweep::Fc {
            let weight = entry(&self.options.c_weights, 0);
            self.relax_fc(0, weight);
        } else {
            self.relax_f(0);
        }
        self.levels[0].u.clone()
    }

    fn is_done(&self) -> bool {
        let first = self.norms.iter().flatten().next();
        match (self.norm, self.options.tolerance) {
            (Some(r), Some(Tolerance::Absolute(tol))) => r < tol,
            (Some(r), Some(Tolerance::Relative(tol))) => first.is_some_and(|first| r < tol * first),
            _ => false,
        }
    }

    /// A cycle from level `l` down and back to it; `is_f` repeats every level on the way up.
    fn cycle(&mut self, l: usize, is_f: bool, skips_down: bool) {
        if l == self.levels.len() - 1 {
            return self.solve_coarsest(l);
        }
        if skips_down {
            self.inject(l);
        } else {
            let weight = entry(&self.options.c_weights, l);
            for _ in 0..entry(&self.options.relaxation, l).fc_sweeps() {
                self.relax_fc(l, weight);
            }
            self.relax_f(l);
            self.restrict(l);
        }
        self.cycle(l + 1, is_f, skips_down);
        self.correct(l);
        if let Cycle::F { v_cycles, .. } = self.options.cycle
            && is_f
            && l > 0
        {
            (0..v_cycles).for_each(|_| self.cycle(l, false, false));
        }
    }

    /// Level `l` to point `i` from `u` before it.
    fn step(&mut self, l: usize, i: usize, u: f64) -> f64 {
        self.evaluations[l] += 1;
        let f = self.levels[l].f[i];
        if self.problem.has_own_residual { self.phi(l, i, u + f) } else { self.phi(l, i, u) + f }
    }

    fn phi(&self, l: usize, i: usize, u: f64) -> f64 {
        let level = &self.levels[l];
        self.problem.phi(level.fine[i - 1], level.times[i] - level.times[i - 1], u)
    }

    /// `A(next, u)` of the step to point `i`.
    fn a(&mut self, l: usize, i: usize, next: f64, u: f64) -> f64 {
        if self.problem.has_own_residual {
            let level = &self.levels[l];
            return self.problem.own_residual(level.fine[i - 1], level.times[i] - level.times[i - 1], next, u);
        }
        self.evaluations[l] += 1;
        next - self.phi(l, i, u)
    }

    fn relax_fc(&mut self, l: usize, weight: f64) {
        let old = self.levels[l].u.clone();
        for j in 1..self.levels[l].c.len() {
            let (from, to) = (self.levels[l].c[j - 1], self.levels[l].c[j]);
            let mut u = old[from];
            for i in from + 1..to {
                u = self.step(l, i, u);
                self.levels[l].u[i] = u;
            }
            self.levels[l].u[to] = (1.0 - weight) * old[to] + weight * self.step(l, to, u);
        }
    }

    fn relax_f(&mut self, l: usize) {
        for j in 1..self.levels[l].c.len() {
            for i in self.levels[l].c[j - 1] + 1..self.levels[l].c[j] {
                self.levels[l].u[i] = self.step(l, i, self.levels[l].u[i - 1]);
            }
        }
    }

    /// The points behind the last C-point: only looked at, never used.
    fn relax_tail(&mut self, l: usize) {
        let last = self.levels[l].c[self.levels[l].c.len() - 1];
        for i in last + 1..self.levels[l].u.len() {
            self.levels[l].u[i] = self.step(l, i, self.levels[l].u[i - 1]);
        }
    }

    fn solve_coarsest(&mut self, l: usize) {
        match self.options.coarsest {
            Coarsest::Solve => {
                for i in 1..self.levels[l].u.len() {
                    self.levels[l].u[i] = self.step(l, i, self.levels[l].u[i - 1]);
                }
            }
            Coarsest::Relax { fc_sweeps } => {
                let weight = entry(&self.options.c_weights, l);
                (0..fc_sweeps).for_each(|_| self.relax_fc(l, weight));
                self.relax_f(l);
                self.relax_tail(l);
            }
        }
    }

    fn inject(&mut self, l: usize) {
        let v: Vec<f64> = self.levels[l].c.iter().map(|i| self.levels[l].u[*i]).collect();
        let coarse = &mut self.levels[l + 1];
        coarse.f.fill(0.0);
        (coarse.u, coarse.v) = (v.clone(), v);
    }

    fn restrict(&mut self, l: usize) {
        let mut r = vec![0.0; self.levels[l].c.len()];
        for (j, r) in r.iter_mut().enumerate().skip(1) {
            let i = self.levels[l].c[j];
            let (next, u) = (self.levels[l].u[i], self.levels[l].u[i - 1]);
            *r = self.levels[l].f[i] - self.a(l, i, next, u);
        }
        if l == 0 {
            self.norm = self.options.norm.map(|norm| match norm {
                TemporalNorm::One => r.iter().map(|r| r.abs()).sum(),
                TemporalNorm::Two => r.iter().map(|r| r * r).sum::<f64>().sqrt(),
                TemporalNorm::Max => r.iter().fold(0.0, |a, r| r.abs().max(a)),
            });
        }
        self.inject(l);
        for (j, r) in r.into_iter().enumerate().skip(1) {
            let (next, u) = (self.levels[l + 1].v[j], self.levels[l + 1].v[j - 1]);
            self.levels[l + 1].f[j] = r + self.a(l + 1, j, next, u);
        }
    }

    fn correct(&mut self, l: usize) {
        if l + 1 < self.levels.len() - 1 {
            self.relax_f(l + 1);
            self.relax_tail(l + 1);
        }
        for j in 1..self.levels[l].c.len() {
            let i = self.levels[l].c[j];
            self.levels[l].u[i] += self.levels[l + 1].u[j] - self.levels[l + 1].v[j];
        }
    }
}
