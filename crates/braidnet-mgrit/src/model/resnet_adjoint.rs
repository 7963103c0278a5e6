//! The adjoint of [`Resnet`] posed as a problem of its own, forward in reversed time.

use braidnet_grid::Step;
use nalgebra::DVector;

use super::{Resnet, Vector};
use crate::{Propagator, StepError};

/// `w_j += dt sum_i W_ij (1 - tanh^2(W u_k + b)_i) w_i` with the parameters and the exact forward state `u_k` at the
/// left end of the (coarse) layer; starts from `w = u_N`.
#[derive(Debug, Clone)]
pub struct ResnetAdjoint {
    resnet: Resnet,
    t_stop: f64,
    /// Exact forward states, of all points.
    states: Vec<DVector<f64>>,
}

impl ResnetAdjoint {
    /// The adjoint of `n_layers` layers up to time `t_stop`.
    pub fn new(resnet: Resnet, n_layers: usize, t_stop: f64) -> Self {
        let dt = t_stop / n_layers as f64;
        let mut states = vec![resnet.initial().0];
        for k in 0..n_layers {
            let t = (k as f64 / n_layers as f64) * t_stop;
            let f = resnet.activation(t, &states[k]);
            states.push(&states[k] + f * dt);
        }
        Self { resnet, t_stop, states }
    }

    /// The exact final state of the forward problem.
    pub fn initial(&self) -> Vector {
        Vector(self.states[self.states.len() - 1].clone())
    }

    /// Layer at whose left end the reversed time `s` lies.
    fn layer(&self, s: f64) -> usize {
        let n = self.states.len() - 1;
        n - ((s / self.t_stop * n as f64).round() as usize).min(n)
    }
}

impl Propagator for ResnetAdjoint {
    type State = Vector;

    fn step(&self, steps: &[Step], states: &mut [Vector]) -> Result<(), StepError> {
        let n = self.states.len() - 1;
        for (step, Vector(w)) in steps.iter().zip(states) {
            let k = self.layer(step.t_next());
            let t = (k as f64 / n as f64) * self.t_stop;
            let slope = self.resnet.activation(t, &self.states[k]).map(|f| 1.0 - f * f);
            let delta = slope.component_mul(w) * step.dt;
            *w += self.resnet.weights(t).tr_mul(&delta);
        }
        Ok(())
    }

    fn context(&self) {}
}
