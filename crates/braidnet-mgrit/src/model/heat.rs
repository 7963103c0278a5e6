//! `u_t = u_xx + F` on `[0, pi]`, backward Euler, both boundary points included.

use std::f64::consts::PI;

use braidnet_grid::Step;
use nalgebra::DVector;

use super::{Vector, space};
use crate::{Propagator, ResidualForm, StepError};

/// The heat equation whose solution is `sin(x) cos(t)` (with forcing), optionally coarsened in space as well.
#[derive(Debug, Clone)]
pub struct Heat {
    forcing: bool,
    residual: ResidualForm,
    /// Points in space on the finest level.
    nx: usize,
    /// Levels whose next one has half as many.
    n_coarsened: usize,
}

impl Heat {
    /// `nx` points in space; with `coarsen_space`, half as many on each of the first `floor(log2(nx)) - 1` levels.
    pub fn new(nx: usize, forcing: bool, residual: ResidualForm, coarsen_space: bool) -> Self {
        let n_coarsened = if coarsen_space { (nx.max(2).ilog2() as usize).saturating_sub(1) } else { 0 };
        Self { forcing, residual, nx, n_coarsened }
    }

    /// The solution at time 0, `sin(x)`.
    pub fn initial(&self) -> Vector {
        Vector(DVector::from_iterator(self.nx, abscissae(self.nx).map(f64::sin)))
    }

    fn exact(&self, t: f64, x: f64) -> f64 {
        if self.forcing { x.sin() * t.cos() } else { 0.0 }
    }

    /// Adds `a F(t, x)` to all components.
    fn add_forcing(&self, a: f64, t: f64, values: &mut DVector<f64>) {
        let nx = values.len();
        if self.forcing {
            for (u, x) in values.iter_mut().zip(abscissae(nx)) {
                *u += a * (-x.sin() * t.sin() + x.sin() * t.cos());
            }
        }
    }
}

fn spacing(nx: usize) -> f64 {
    PI / (nx as f64 - 1.0)
}

/// `x_i`, accumulated as `x += dx`.
fn abscissae(nx: usize) -> impl Iterator<Item = f64> {
    let dx = spacing(nx);
    std::iter::successors(Some(0.0), move |x| Some(x + dx)).take(nx)
}

/// Solves with the stencil `[-c, 1 + 2c, -c]`, identity in the first and the last row (Thomas algorithm).
fn solve_tridiagonal(c: f64, x: &mut DVector<f64>) {
    let n = x.len();
    let mut g = vec![0.0; n];
    for i in 1..n - 1 {
        let m = 1.0 / ((1.0 + 2.0 * c) + c * g[i - 1]);
        g[i] = m * -c;
        x[i] = m * (x[i] + c * x[i - 1]);
    }
    for i in (1..n - 1).rev() {
        x[i] -= g[i] * x[i + 1];
    }
}

impl Propagator for Heat {
    type State = Vector;

    fn step(&self, steps: &[Step], states: &mut [Vector]) -> Result<(), StepError> {
        for (step, Vector(u)) in steps.iter().zip(states) {
            let (nx, t) = (u.len(), step.t_next());
            u[0] = self.exact(t, 0.0);
            u[nx - 1] = self.exact(t, PI);
            self.add_forcing(step.dt, t, u);
            let dx = spacing(nx);
            solve_tridiagonal(step.dt / (dx * dx), u);
        }
        Ok(())
    }

    fn context(&self) {}

    fn restrict(&self, level: usize, state: &Vector) -> Vector {
        if level < self.n_coarsened { Vector(space::restrict(&state.0)) } else { state.clone() }
    }

    fn prolong(&self, level: usize, correction: Vector, fine: &Vector) -> Vector {
        if level < self.n_coarsened { Vector(space::prolong(&correction.0, fine.0.len())) } else { correction }
    }

    fn residual_form(&self) -> ResidualForm {
        self.residual
    }

    /// `M u_next - u - dt F(t_next, x)`.
    fn residual(&self, step: &Step, u_next: &Vector, u: &mut Vector) -> Result<(), StepError> {
        let (Vector(next), Vector(u)) = (u_next, u);
        let (nx, dx) = (next.len(), spacing(next.len()));
        let c = step.dt / (dx * dx);
        let inside = |i: usize| -c * next[i - 1] + (1.0 + 2.0 * c) * next[i] + -c * next[i + 1];
        let mut a = DVector::from_fn(nx, |i, _| if i == 0 || i == nx - 1 { next[i] } else { inside(i) });
        a -= &*u;
        self.add_forcing(-step.dt, step.t_next(), &mut a);
        *u = a;
        Ok(())
    }
}
