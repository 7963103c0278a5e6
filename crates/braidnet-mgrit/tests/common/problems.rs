//! Networks of scalar layers with parameters of their own.

use braidnet_grid::{Step, StepKind, TimeGrid};
use braidnet_mgrit::{Propagator, ResidualForm, StepError};

/// Layers `u + dt tanh(w u + b)`, or `u / (1 + w^2 dt)` with the residual `(1 + w^2 dt) u_next - u`; transitions
/// `0.9 u`. Every layer has its own `w` and `b`.
#[derive(Debug, Clone)]
pub struct Scalar {
    pub parameters: Vec<(f64, f64)>,
    pub kinds: Vec<StepKind>,
    pub has_own_residual: bool,
}

const TRANSITION: f64 = 0.9;

impl Scalar {
    /// `n` ODE layers whose parameters vary irregularly.
    pub fn generic(n: usize) -> Self {
        let parameter = |k: usize, a: f64| (a * k as f64 + 1.0).sin();
        let parameters = (0..n).map(|k| (parameter(k, 2.3), parameter(k, 5.1))).collect();
        Self { parameters, kinds: vec![StepKind::Ode; n], has_own_residual: false }
    }

    pub fn grid(&self, dt: f64) -> TimeGrid {
        TimeGrid::from_kinds(&self.kinds, dt).unwrap()
    }

    pub fn is_transition(&self, layer: usize) -> bool {
        self.kinds.get(layer) == Some(&StepKind::Transition)
    }

    pub fn phi(&self, layer: usize, dt: f64, u: f64) -> f64 {
        let (w, b) = self.parameters[layer];
        match (self.is_transition(layer), self.has_own_residual) {
            (true, _) => TRANSITION * u,
            (false, true) => u / (1.0 + w * w * dt),
            (false, false) => u + dt * (w * u + b).tanh(),
        }
    }

    pub fn own_residual(&self, layer: usize, dt: f64, next: f64, u: f64) -> f64 {
        let (w, _) = self.parameters[layer];
        if self.is_transition(layer) { next / TRANSITION - u } else { (1.0 + w * w * dt) * next - u }
    }
}

impl Propagator for Scalar {
    type State = f64;

    fn step(&self, steps: &[Step], states: &mut [f64]) -> Result<(), StepError> {
        for (step, u) in steps.iter().zip(states) {
            assert_eq!(step.kind == StepKind::Transition, self.is_transition(step.layer), "{step:?}");
            *u = self.phi(step.layer, step.dt, *u);
        }
        Ok(())
    }

    fn batch(&self) -> usize {
        3
    }

    fn context(&self) {}

    fn residual_form(&self) -> ResidualForm {
        if self.has_own_residual { ResidualForm::Own } else { ResidualForm::OneStep }
    }

    fn residual(&self, step: &Step, u_next: &f64, u: &mut f64) -> Result<(), StepError> {
        *u = self.own_residual(step.layer, step.dt, *u_next, *u);
        Ok(())
    }
}
