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

    /// The step as `n` consecutive ones, first to last in forward order, for equal numbers of layers up to one; as one per layer
    /// where it stands for fewer.
    pub fn parts(&self, n: usize) -> impl Iterator<Item = Self> + '_ {
        let len = self.fine.len();
        let n = n.clamp(1, len.max(1));
        let border = move |i: usize| len * i / n;
        (0..n).map(move |i| {
            let (start, end) = (border(i), border(i + 1));
            let share = |layers: usize| self.dt * layers as f64 / len.max(1) as f64;
            let fine = self.fine.start + start..self.fine.start + end;
            Self { layer: self.layer + start, t: self.t + share(start), dt: share(end - start), fine, ..self.clone() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_step() {
        let step = Step { level: 1, index: 2, layer: 8, t: 4.0, dt: 2.5, kind: StepKind::Ode, fine: 8..13 };
        let parts: Vec<_> = step.parts(2).collect();
        assert_eq!(parts.iter().map(|part| part.fine.clone()).collect::<Vec<_>>(), [8..10, 10..13]);
        assert_eq!(parts.iter().map(|part| part.layer).collect::<Vec<_>>(), [8, 10]);
        assert_eq!(parts.iter().map(|part| (part.t, part.dt)).collect::<Vec<_>>(), [(4.0, 1.0), (5.0, 1.5)]);
        assert!(step.parts(1).eq([step.clone()]));
        assert_eq!(step.parts(9).map(|part| part.fine.len()).collect::<Vec<_>>(), [1; 5]);
        assert_eq!(step.parts(0).count(), 1);
    }
}
