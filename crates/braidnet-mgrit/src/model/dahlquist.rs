//! `u' = lambda u`, a scalar.

use braidnet_grid::Step;
use serde::Deserialize;

use crate::{Propagator, ResidualForm, StepError};

/// One-step method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Method {
    /// Backward Euler, `u / (1 - z)` with `z = lambda dt`.
    #[serde(rename = "be")]
    BackwardEuler,
    /// Forward Euler, `(1 + z) u`.
    #[serde(rename = "fe")]
    ForwardEuler,
    /// Crank-Nicolson, `(1 + z/2) / (1 - z/2) u`.
    #[serde(rename = "cn")]
    CrankNicolson,
}

/// The test equation of Dahlquist; coarse levels use the coarse `dt`.
#[derive(Debug, Clone, Copy)]
pub struct Dahlquist {
    /// Rate.
    pub lambda: f64,
    /// Method.
    pub method: Method,
    /// One-step or own residual `(1 - z) u_next - u`.
    pub residual: ResidualForm,
}

impl Dahlquist {
    /// The factor by which a step of length `dt` multiplies.
    pub fn factor(&self, dt: f64) -> f64 {
        let z = self.lambda * dt;
        match self.method {
            Method::BackwardEuler => 1.0 / (1.0 - z),
            Method::ForwardEuler => 1.0 + z,
            Method::CrankNicolson => (1.0 + 0.5 * z) / (1.0 - 0.5 * z),
        }
    }
}

impl Propagator for Dahlquist {
    type State = f64;

    fn step(&self, steps: &[Step], states: &mut [f64]) -> Result<(), StepError> {
        for (step, u) in steps.iter().zip(states) {
            *u *= self.factor(step.dt);
        }
        Ok(())
    }

    fn step_with_diagonal(&self, steps: &[Step], states: &mut [f64]) -> Result<Vec<f64>, StepError> {
        self.step(steps, states)?;
        Ok(steps.iter().map(|step| self.factor(step.dt)).collect())
    }

    /// A few hundred intervals stay in the first cache and make the loop over them tight.
    fn batch(&self) -> usize {
        256
    }

    fn context(&self) {}

    fn residual_form(&self) -> ResidualForm {
        self.residual
    }

    fn residual(&self, step: &Step, u_next: &f64, u: &mut f64) -> Result<(), StepError> {
        *u = (1.0 - self.lambda * step.dt) * u_next - *u;
        Ok(())
    }
}
