//! A dense vector as a state.

use braidnet_comm::{CommError, Transfer};
use nalgebra::DVector;

use crate::State;

/// A vector of numbers, shape `[n]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector(pub DVector<f64>);

impl Vector {
    /// `n` times the same number.
    pub fn constant(n: usize, value: f64) -> Self {
        Self(DVector::from_element(n, value))
    }
}

impl Transfer for Vector {
    type Context = ();

    fn n_bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }

    fn pack(&self, out: &mut Vec<u8>) {
        for value in self.0.iter() {
            value.pack(out);
        }
    }

    fn unpack(bytes: &[u8], (): &()) -> Result<Self, CommError> {
        Vec::<f64>::unpack(bytes, &()).map(|values| Self(DVector::from_vec(values)))
    }
}

impl State for Vector {
    fn axpy(&mut self, a: f64, x: &Self) {
        self.0.axpy(a, &x.0, 1.0);
    }

    fn scale(&mut self, a: f64) {
        self.0 *= a;
    }

    fn multiply(&mut self, x: &Self) {
        self.0.component_mul_assign(&x.0);
    }

    fn norm_squared(&self) -> f64 {
        self.0.norm_squared()
    }
}

/// A state whose components can be looked at.
pub(super) trait Components: State {
    /// All components.
    fn components(&self) -> &[f64];

    /// A state of `n` components.
    fn from_components(n: usize, component: impl Fn(usize) -> f64) -> Self;
}
