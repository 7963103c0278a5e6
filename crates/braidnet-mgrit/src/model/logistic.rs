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

    fn batch(&self) -> usize {
        256
    }

    fn context(&self) {}
}
