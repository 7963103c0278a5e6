//! `u' = u (1 - u)`, a nonlinear scalar.

use braidnet_grid::Step;

use crate::{Propagator, StepError};

/// The logistic equation by forward Euler.
#[derive(Debug, Clone, Copy)]
pub struct Logistic;

impl Propagator for Logistic {
    type State = f64;

    fn step(&self, steps: &[Step], states: &mut [f64]) -> Result<(), StepError> {
        for (step, u) in steps.iter().zip(states) {
            *u += step.dt * *u * (1.0 - *u);
        }
        Ok(())
    }

    fn step_with_diagonal(&self, steps: &[Step], states: &mut [f64]) -> Result<Vec<f64>, StepError> {
        let diagonals = steps.iter().zip(&*states).map(|(step, u)| 1.0 + step.dt * (1.0 - 2.0 * u)).collect();
        self.step(steps, states)?;
        Ok(diagonals)
    }

    fn batch(&self) -> usize {
        256
    }

    fn context(&self) {}
}
