//! What travels along the layers.

use braidnet_comm::Transfer;

/// A state of the network (or of its adjoint): a vector.
///
/// `clone` should be cheap where it can be (tensors share their storage); the solver clones a state once per
/// step that it keeps.
pub trait State: Transfer + Clone {
    /// `self += a x`.
    fn axpy(&mut self, a: f64, x: &Self);

    /// `state += a x` of each pair. Where every operation is a call to a device, they should be one.
    fn axpy_each<'a>(a: f64, pairs: impl Iterator<Item = (&'a mut Self, &'a Self)>)
    where
        Self: 'a,
    {
        pairs.for_each(|(state, x)| state.axpy(a, x));
    }

    /// `self *= a`.
    fn scale(&mut self, a: f64);

    /// `self *= x`, component by component.
    fn multiply(&mut self, x: &Self);

    /// Sum of the squares of all components; not finite if any component is not.
    fn norm_squared(&self) -> f64;

    /// Gives `take` the [`State::norm_squared`] of each. Where reading a number from a device is a wait, they should be read
    /// together.
    fn norms_squared<'a>(states: impl Iterator<Item = &'a Self>, take: impl FnMut(f64))
    where
        Self: 'a,
    {
        states.map(Self::norm_squared).for_each(take);
    }
}

impl State for f64 {
    fn axpy(&mut self, a: f64, x: &Self) {
        *self += a * x;
    }

    fn scale(&mut self, a: f64) {
        *self *= a;
    }

    fn multiply(&mut self, x: &Self) {
        *self *= x;
    }

    fn norm_squared(&self) -> f64 {
        self * self
    }
}
