//! The linearisation of one step of ODE layers.

use braidnet_grid::{Step, StepKind};
use braidnet_mgrit::{Linearization, Output, PendingGradients, State, StepError};

use crate::{Gradients, RhsTape};

/// The linearisation of one step: those of its right-hand sides, each with its share of the step.
pub struct OdeLinearization<T> {
    /// Fraction of the step's `dt`, and tape.
    parts: Vec<(f64, T)>,
    /// Whether coarse steps are pulled back as midpoint steps: `lambda + dt J^T (lambda + (1 - 1/m) dt/2 J^T lambda)`, equal to `m`
    /// pullbacks of `I + dt/m J` to second order.
    midpoint: bool,
}

impl<T> OdeLinearization<T> {
    pub(crate) fn new(parts: Vec<(f64, T)>, midpoint: bool) -> Self {
        Self { parts, midpoint }
    }
}

impl<S: State, T: RhsTape<State = S>> OdeLinearization<T> {
    /// `lambda += dt J^T stage`.
    fn add(&self, dt: f64, stage: &S, lambda: &mut S) -> Result<(), StepError> {
        for (fraction, tape) in &self.parts {
            let mut delta = stage.clone();
            delta.scale(dt * fraction);
            lambda.axpy(1.0, &tape.pullback(delta)?);
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("layer {layer} has {parts} right-hand sides at once: gradients are formed on the finest level only")]
struct NotFinest {
    layer: usize,
    parts: usize,
}

impl<S: State, T: RhsTape<State = S>> Linearization for OdeLinearization<T> {
    type State = S;
    type Gradients = Gradients;

    fn pullback(&self, step: &Step, lambda: &mut S) -> Result<(), StepError> {
        if let (StepKind::Transition, [(_, tape)]) = (step.kind, &self.parts[..]) {
            *lambda = tape.pullback(lambda.clone())?;
            return Ok(());
        }
        let mut stage = lambda.clone();
        if self.midpoint && step.fine.len() > 1 {
            let to_the_middle = 0.5 * (step.dt - step.dt / step.fine.len() as f64);
            self.add(to_the_middle, lambda, &mut stage)?;
        }
        self.add(step.dt, &stage, lambda)
    }

    fn pullback_with_gradients(
        mut self,
        step: &Step,
        lambda: &mut S,
        output: Output,
    ) -> Result<PendingGradients<Gradients>, StepError> {
        let parts = self.parts.len();
        let (Some((_, tape)), 1) = (self.parts.pop(), parts) else {
            return Err(NotFinest { layer: step.layer, parts }.into());
        };
        let mut delta = lambda.clone();
        if step.kind == StepKind::Ode {
            delta.scale(step.dt);
        }
        let (term, pending) = tape.pullback_with_gradients(delta, output)?;
        match (term, step.kind) {
            (Some(term), StepKind::Ode) => lambda.axpy(1.0, &term),
            (Some(term), StepKind::Transition) => *lambda = term,
            (None, _) => {}
        }
        Ok(pending)
    }
}
