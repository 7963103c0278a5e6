//! A residual network with given weights, a small vector.

use braidnet_grid::Step;
use nalgebra::{DMatrix, DVector};

use super::Vector;
use crate::{Differentiable, Linearization, Output, PendingGradients, Propagator, StepError};

/// `u_i += dt tanh(sum_j W_ij(t) u_j + b_i(t))`, parameters at the left end of the (coarse) step:
/// `W_ij(t) = 2 sin(1 + i + 2j + t) / n`, `b_i(t) = 0.1 cos(i + t)`, indices from 0.
#[derive(Debug, Clone, Copy)]
pub struct Resnet {
    /// Components of the state.
    pub n: usize,
}

impl Resnet {
    /// `u_i = 1 / (1 + i)`.
    pub fn initial(&self) -> Vector {
        Vector(DVector::from_fn(self.n, |i, _| 1.0 / (1.0 + i as f64)))
    }

    pub(super) fn weights(&self, t: f64) -> DMatrix<f64> {
        let n = self.n as f64;
        DMatrix::from_fn(self.n, self.n, |i, j| 2.0 * (1.0 + i as f64 + 2.0 * j as f64 + t).sin() / n)
    }

    /// `tanh(W u + b)`.
    pub(super) fn activation(&self, t: f64, u: &DVector<f64>) -> DVector<f64> {
        let bias = DVector::from_fn(self.n, |i, _| 0.1 * (i as f64 + t).cos());
        (self.weights(t) * u + bias).map(f64::tanh)
    }
}

impl Propagator for Resnet {
    type State = Vector;

    fn step(&self, steps: &[Step], states: &mut [Vector]) -> Result<(), StepError> {
        for (step, Vector(u)) in steps.iter().zip(states) {
            let f = self.activation(step.t, u);
            u.axpy(step.dt, &f, 1.0);
        }
        Ok(())
    }

    fn step_with_diagonal(&self, steps: &[Step], states: &mut [Vector]) -> Result<Vec<Vector>, StepError> {
        let tapes = self.linearize_batch(steps, states, Output::Used)?;
        steps.iter().zip(tapes).map(|(step, tape)| tape.diagonal(step)).collect()
    }

    fn context(&self) {}
}

/// The derivative of one layer: `W`, the state before it and `1 - tanh^2`.
#[derive(Debug, Clone)]
pub struct ResnetLinearization {
    weights: DMatrix<f64>,
    state: DVector<f64>,
    slope: DVector<f64>,
}

/// Gradients of one layer's `W` and `b`.
#[derive(Debug, Clone, PartialEq)]
pub struct ResnetGradients {
    /// `dLoss/dW`.
    pub weights: DMatrix<f64>,
    /// `dLoss/db`.
    pub bias: DVector<f64>,
}

impl Differentiable for Resnet {
    type Linearization = ResnetLinearization;

    fn linearize(&self, step: &Step, state: &mut Vector, _: Output) -> Result<ResnetLinearization, StepError> {
        let f = self.activation(step.t, &state.0);
        let slope = f.map(|f| 1.0 - f * f);
        let linearization = ResnetLinearization { weights: self.weights(step.t), state: state.0.clone(), slope };
        state.0.axpy(step.dt, &f, 1.0);
        Ok(linearization)
    }

    fn shared_linearization(&self, step: &Step) -> Option<usize> {
        Some(step.layer)
    }
}

impl Linearization for ResnetLinearization {
    type State = Vector;
    type Gradients = ResnetGradients;

    fn pullback(&self, step: &Step, lambda: &mut Vector) -> Result<(), StepError> {
        let delta = self.slope.component_mul(&lambda.0) * step.dt;
        lambda.0 += self.weights.tr_mul(&delta);
        Ok(())
    }

    fn diagonal(&self, step: &Step) -> Result<Vector, StepError> {
        Ok(Vector((self.slope.component_mul(&self.weights.diagonal()) * step.dt).add_scalar(1.0)))
    }

    fn pullback_with_gradients(
        self,
        step: &Step,
        lambda: &mut Vector,
        output: Output,
    ) -> Result<PendingGradients<ResnetGradients>, StepError> {
        let delta = self.slope.component_mul(&lambda.0) * step.dt;
        if output == Output::Used {
            lambda.0 += self.weights.tr_mul(&delta);
        }
        Ok(Box::new(move || Ok(ResnetGradients { weights: &delta * self.state.transpose(), bias: delta })))
    }
}
