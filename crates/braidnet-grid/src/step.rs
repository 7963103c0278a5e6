//! One step of one level.

use std::ops::Range;

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// `u + dt F(u)`: may be merged with its neighbours into a coarse step.
    Ode,
    /// A map without time step (pooling, stride, change of channels): never merged.
    Transition,
}

/// One step of one level: which parameters it uses, when, how long, and what it stands for.
///
/// A coarse step borrows the parameters of the first of the layers it stands for. On the reversed grid
/// ([`crate::Hierarchy::reversed`]) `layer`, `t` and `fine` keep their forward meaning, so that an adjoint
/// step finds its layer without arithmetic.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Level, 0 is the finest.
    pub level: usize,
    /// Index of the step on its level, counted in the direction of the solve.
    pub index: usize,
    /// Global index of the layer whose parameters the step uses.
    pub layer: usize,
    /// Time at the (forward) start of the step.
    pub t: f64,
    /// Length in time; not negative, zero for a transition.
    pub dt: f64,
    /// ODE step or transition.
    pub kind: StepKind,
    /// The layers this step stands for, first to last in forward order.
    pub fine: Range<usize>,
}

impl Step {
    /// Time at the (forward) end of the step.
    pub fn t_next(&self) -> f64 {
        self.t + self.dt
    }
}
