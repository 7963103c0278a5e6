//! States of one level on one rank.

use braidnet_grid::Share;

/// The FAS right-hand side of a level.
#[derive(Debug, Clone)]
pub(crate) enum Rhs<S> {
    /// None: the finest level, and coarse levels before their first restriction.
    Zero,
    /// One per step, for the point that the step produces.
    Fas(Vec<S>),
}

/// Everything one rank stores of one level; indices are local: entry 0 belongs to the first point it holds.
#[derive(Debug, Clone)]
pub(crate) struct LevelStorage<S> {
    /// The states `u` of the points held.
    pub u: Vec<S>,
    /// The restricted states `v` that corrections are measured from; empty on the finest level.
    pub v: Vec<S>,
    /// The right-hand side `f`.
    pub rhs: Rhs<S>,
    /// The F-points whose states are kept, ascending; `None` for all. Coarse levels keep all.
    pub kept: Option<Vec<usize>>,
}

impl<S: Clone> LevelStorage<S> {
    pub fn empty() -> Self {
        Self { u: Vec::new(), v: Vec::new(), rhs: Rhs::Zero, kept: None }
    }

    /// The state of `point`, if the rank holds it.
    pub fn state(&self, share: &Share, point: usize) -> Option<&S> {
        point.checked_sub(share.steps.start).and_then(|local| self.u.get(local))
    }
}
