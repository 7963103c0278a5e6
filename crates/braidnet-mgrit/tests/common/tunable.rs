//! [`Scalar`] layers with derivatives, which count what is asked of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use braidnet_grid::Step;
use braidnet_mgrit::{Differentiable, Linearization, Output, PendingGradients, Propagator, StepError};

use super::problems::Scalar;

/// ODE layers `u + dt tanh(w u + b)` and transitions, differentiable in `u`, `w` and `b`.
#[derive(Debug)]
pub struct Tunable {
    pub layers: Scalar,
    /// Whether one linearisation per layer serves all levels.
    pub shares: bool,
    /// Linearisations of the finest level and of the others.
    pub linearizations: [AtomicUsize; 2],
}

impl Tunable {
    pub fn new(layers: Scalar, shares: bool) -> Self {
        assert!(!layers.has_own_residual);
        Self { layers, shares, linearizations: Default::default() }
    }

    pub fn n_linearizations(&self) -> [usize; 2] {
        self.linearizations.each_ref().map(|n| n.load(Ordering::Relaxed))
    }

    /// `tanh'(w u + b)`, or 0 for a transition.
    pub fn slope(&self, layer: usize, u: f64) -> f64 {
        let (w, b) = self.layers.parameters[layer];
        if self.layers.is_transition(layer) { 0.0 } else { 1.0 - (w * u + b).tanh().powi(2) }
    }

    /// `dPhi/du`.
    pub fn jacobian(&self, layer: usize, dt: f64, u: f64) -> f64 {
        let (w, _) = self.layers.parameters[layer];
        if self.layers.is_transition(layer) {
            self.layers.phi(layer, dt, 1.0)
        } else {
            1.0 + dt * w * self.slope(layer, u)
        }
    }
}

impl Propagator for Tunable {
    type State = f64;

    fn step(&self, steps: &[Step], states: &mut [f64]) -> Result<(), StepError> {
        self.layers.step(steps, states)
    }

    fn step_with_diagonal(&self, steps: &[Step], states: &mut [f64]) -> Result<Vec<f64>, StepError> {
        let pairs = steps.iter().zip(&*states);
        let diagonals = pairs.map(|(step, u)| self.jacobian(step.layer, step.dt, *u)).collect();
        self.step(steps, states)?;
        Ok(diagonals)
    }

    fn batch(&self) -> usize {
        self.layers.batch()
    }

    fn context(&self) {}
}

/// The derivative of one layer at one state.
pub struct Derivative {
    step: Step,
    shares: bool,
    is_transition: bool,
    u: f64,
    w: f64,
    slope: f64,
}

impl Differentiable for Tunable {
    type Linearization = Derivative;

    fn linearize(&self, step: &Step, state: &mut f64, output: Output) -> Result<Derivative, StepError> {
        self.linearizations[usize::from(step.level > 0)].fetch_add(1, Ordering::Relaxed);
        let (u, w) = (*state, self.layers.parameters[step.layer].0);
        // What is thrown away may be anything.
        *state = if output == Output::Used { self.layers.phi(step.layer, step.dt, u) } else { f64::NAN };
        let is_transition = self.layers.is_transition(step.layer);
        let slope = self.slope(step.layer, u);
        Ok(Derivative { step: step.clone(), shares: self.shares, is_transition, u, w, slope })
    }

    fn shared_linearization(&self, step: &Step) -> Option<usize> {
        self.shares.then_some(step.layer)
    }
}

impl Linearization for Derivative {
    type State = f64;
    type Gradients = [f64; 2];

    fn pullback(&self, step: &Step, lambda: &mut f64) -> Result<(), StepError> {
        let is_mine = step.layer == self.step.layer && (self.shares || step.level == self.step.level);
        if !is_mine {
            return Err(format!("asked for {step:?}, linearised {:?}", self.step).into());
        }
        *lambda *= if self.is_transition { 0.9 } else { 1.0 + step.dt * self.w * self.slope };
        Ok(())
    }

    fn diagonal(&self, step: &Step) -> Result<f64, StepError> {
        let mut diagonal = 1.0;
        self.pullback(step, &mut diagonal)?;
        Ok(diagonal)
    }

    fn pullback_with_gradients(
        self,
        step: &Step,
        lambda: &mut f64,
        output: Output,
    ) -> Result<PendingGradients<[f64; 2]>, StepError> {
        let delta = step.dt * self.slope * *lambda;
        self.pullback(step, lambda)?;
        if output == Output::Discarded {
            *lambda = f64::NAN;
        }
        Ok(Box::new(move || Ok([delta * self.u, delta])))
    }
}
