//! Networks of vectors, with transfers between levels as matrices.

use braidnet_grid::{Step, StepKind, TimeGrid};
use braidnet_mgrit::model::Vector;
use braidnet_mgrit::{Differentiable, Linearization, Output, PendingGradients, Propagator, StepError};
use nalgebra::{DMatrix, DVector};

/// How the matrix of a layer is made for states of any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// Every entry a number of its own.
    Dense,
    /// Three numbers along a line.
    Stencil,
    /// Diffusion along a line of length 1, which damps what coarse points cannot show.
    Diffusion,
}

/// Along a line of `n` points, of which every other one, the second first, is among the `n / 2` coarse ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restriction {
    FullWeighting,
    Injection,
}

impl Restriction {
    /// `n / 2` rows.
    pub fn matrix(self, n: usize) -> DMatrix<f64> {
        match self {
            Self::FullWeighting => interpolation(n).transpose() * 0.5,
            Self::Injection => DMatrix::from_fn(n / 2, n, |i, j| f64::from(u8::from(j == 2 * i + 1))),
        }
    }
}

/// Linear interpolation from `n / 2` points to `n`, zero behind both ends.
pub fn interpolation(n: usize) -> DMatrix<f64> {
    DMatrix::from_fn(n, n / 2, |i, j| match i.abs_diff(2 * j + 1) {
        0 => 1.0,
        1 => 0.5,
        _ => 0.0,
    })
}

/// Layers `u + dt f(W u + b)` and transitions `T u` to another size, each with parameters of its own.
#[derive(Debug, Clone)]
pub struct Network {
    pub weights: Weights,
    /// `f` is the identity and `b` is 0; otherwise `f` is tanh.
    pub is_linear: bool,
    /// Size of the state before each layer, and of the last one.
    pub sizes: Vec<usize>,
    /// Whether a layer's linearisation serves all levels whose states have its size.
    pub shares: bool,
    /// Of each level; further ones keep the states.
    pub restrictions: Vec<Option<Restriction>>,
}

impl Network {
    pub fn n_layers(&self) -> usize {
        self.sizes.len() - 1
    }

    /// A transition where the size changes.
    pub fn grid(&self, dt: f64) -> TimeGrid {
        let kind = |pair: &[usize]| if pair[0] == pair[1] { StepKind::Ode } else { StepKind::Transition };
        TimeGrid::from_kinds(&self.sizes.windows(2).map(kind).collect::<Vec<_>>(), dt).unwrap()
    }

    /// A smooth state for a point of the finest level.
    pub fn state(&self, point: usize, phase: f64) -> Vector {
        let n = self.sizes[point];
        let at = |i: usize| (i + 1) as f64 / (n + 1) as f64;
        Vector(DVector::from_fn(n, |i, _| (3.0 * at(i) + 0.4 * point as f64 + phase).sin()))
    }

    pub fn zero(&self, point: usize) -> Vector {
        Vector::constant(self.sizes[point], 0.0)
    }

    fn restriction(&self, level: usize) -> Option<Restriction> {
        self.restrictions.get(level).copied().flatten()
    }

    fn n_coarsenings(&self, level: usize) -> usize {
        (0..level).filter(|l| self.restriction(*l).is_some()).count()
    }

    /// `W` for states of `n` components.
    fn weights(&self, layer: usize, n: usize) -> DMatrix<f64> {
        let number = |k: usize| (1.0 + 2.3 * layer as f64 + 1.7 * k as f64).sin();
        match self.weights {
            Weights::Dense => DMatrix::from_fn(n, n, |i, j| number(i + 5 * j) / n as f64),
            Weights::Stencil => DMatrix::from_fn(n, n, |i, j| match (i + 1).checked_sub(j) {
                Some(k @ 0..=2) => number(k),
                _ => 0.0,
            }),
            Weights::Diffusion => {
                let strength = (0.02 + 0.005 * number(0)) * ((n + 1) as f64).powi(2);
                DMatrix::from_fn(n, n, |i, j| match i.abs_diff(j) {
                    0 => number(1) - 2.0 * strength,
                    1 => strength,
                    _ => 0.0,
                })
            }
        }
    }

    /// `f(W u + b)` and its slope.
    fn activation(&self, layer: usize, u: &DVector<f64>) -> [DVector<f64>; 2] {
        let n = u.len();
        let z = self.weights(layer, n) * u;
        if self.is_linear {
            return [z, DVector::from_element(n, 1.0)];
        }
        let bias = |i: usize| 0.3 * (layer as f64 + 2.0 * (i + 1) as f64 / (n + 1) as f64).cos();
        let f = (z + DVector::from_fn(n, |i, _| bias(i))).map(f64::tanh);
        let slope = f.map(|f| 1.0 - f * f);
        [f, slope]
    }

    /// `T`, on the step's level.
    fn transition(&self, step: &Step, n: usize) -> DMatrix<f64> {
        let rows = self.sizes[step.layer + 1] >> self.n_coarsenings(step.level);
        match self.weights {
            Weights::Dense => DMatrix::from_fn(rows, n, |i, j| (1.0 + i as f64 + 2.0 * j as f64).sin()),
            Weights::Stencil | Weights::Diffusion => DMatrix::identity(rows, n) * 0.9,
        }
    }
}

impl Propagator for Network {
    type State = Vector;

    fn step(&self, steps: &[Step], states: &mut [Vector]) -> Result<(), StepError> {
        for (step, state) in steps.iter().zip(states) {
            self.linearize(step, state, Output::Used)?;
        }
        Ok(())
    }

    fn batch(&self) -> usize {
        3
    }

    fn context(&self) {}

    fn restrict(&self, level: usize, state: &Vector) -> Vector {
        let Some(restriction) = self.restriction(level) else { return state.clone() };
        Vector(restriction.matrix(state.0.len()) * &state.0)
    }

    fn prolong(&self, level: usize, correction: Vector, fine: &Vector) -> Vector {
        if self.restriction(level).is_none() {
            return correction;
        }
        Vector(interpolation(fine.0.len()) * correction.0)
    }
}

/// The derivative of one step.
pub struct Derivative {
    /// `T`, or `W`.
    matrix: DMatrix<f64>,
    /// `f'`; none of a transition.
    slope: Option<DVector<f64>>,
    u: DVector<f64>,
}

impl Differentiable for Network {
    type Linearization = Derivative;

    fn linearize(&self, step: &Step, state: &mut Vector, _: Output) -> Result<Derivative, StepError> {
        let n = state.0.len();
        let expected = self.sizes[step.layer] >> self.n_coarsenings(step.level);
        if n != expected {
            return Err(format!("{n} components instead of {expected} before {step:?}").into());
        }
        let u = state.0.clone();
        if step.kind == StepKind::Transition {
            let matrix = self.transition(step, n);
            state.0 = &matrix * &u;
            return Ok(Derivative { matrix, slope: None, u });
        }
        let [f, slope] = self.activation(step.layer, &u);
        state.0.axpy(step.dt, &f, 1.0);
        Ok(Derivative { matrix: self.weights(step.layer, n), slope: Some(slope), u })
    }

    fn restrict_adjoint(&self, level: usize, lambda: &Vector) -> Vector {
        if self.restriction(level).is_none() {
            return lambda.clone();
        }
        Vector(interpolation(lambda.0.len()).tr_mul(&lambda.0))
    }

    fn prolong_adjoint(&self, level: usize, correction: Vector, fine: &Vector) -> Vector {
        let Some(restriction) = self.restriction(level) else { return correction };
        Vector(restriction.matrix(fine.0.len()).tr_mul(&correction.0))
    }

    fn shared_linearization(&self, step: &Step) -> Option<usize> {
        (self.shares && self.n_coarsenings(step.level) == 0).then_some(step.layer)
    }
}

impl Linearization for Derivative {
    type State = Vector;
    type Gradients = DMatrix<f64>;

    fn pullback(&self, step: &Step, lambda: &mut Vector) -> Result<(), StepError> {
        match &self.slope {
            None => lambda.0 = self.matrix.tr_mul(&lambda.0),
            Some(slope) => lambda.0 += self.matrix.tr_mul(&(slope.component_mul(&lambda.0) * step.dt)),
        }
        Ok(())
    }

    /// Gradients of all entries of the matrix.
    fn pullback_with_gradients(
        self,
        step: &Step,
        lambda: &mut Vector,
        _: Output,
    ) -> Result<PendingGradients<DMatrix<f64>>, StepError> {
        let delta = match &self.slope {
            None => lambda.0.clone(),
            Some(slope) => slope.component_mul(&lambda.0) * step.dt,
        };
        self.pullback(step, lambda)?;
        Ok(Box::new(move || Ok(delta * self.u.transpose())))
    }
}
