//! Sources of the adjoint: what a loss that reads the states before the last one adds on the way.
//!
//! With `s_n = dLoss/du_n` of the points inside, the adjoint is `lambda_n = (dPhi_n/du)^T lambda_(n+1) + s_n`. A coarse
//! step over the layers `a..b` adds `s_a + ... + s_(b-1)`, as far as its rank was given them: its steps are affine, so
//! the full approximation scheme makes the sequential solution the fixed point whatever a coarse step adds. Only a first
//! coarse solve without a down-cycle before it depends on the sum, and is as good as the sum is.

use std::collections::{BTreeMap, HashMap};

use crate::{Differentiable, Mgrit, MgritError, State};

/// `dLoss/du_n` of points before the last.
///
/// Of point `n` it is asked for on the rank that owns layer `n`, and, for coarse steps over layers of several ranks, on the
/// rank that owns the first of them; elsewhere it has no effect.
#[derive(Debug, Clone)]
pub struct Sources<S> {
    points: BTreeMap<usize, S>,
}

impl<S: State> Sources<S> {
    /// None: the loss reads the last state alone.
    pub fn none() -> Self {
        Self { points: BTreeMap::new() }
    }

    /// A source for each point given; those of one point are added up.
    pub fn new(sources: impl IntoIterator<Item = (usize, S)>) -> Self {
        let mut points: BTreeMap<usize, S> = BTreeMap::new();
        for (point, source) in sources {
            match points.get_mut(&point) {
                Some(sum) => sum.axpy(1.0, &source),
                None => drop(points.insert(point, source)),
            }
        }
        Self { points }
    }

    /// What each step of this rank adds, by level and layer.
    pub(crate) fn of_steps<D: Differentiable<State = S>>(
        &self,
        adjoint: &Mgrit<S>,
        network: &D,
    ) -> Result<HashMap<(usize, usize), S>, MgritError> {
        let n_layers = adjoint.hierarchy().finest().n_steps();
        if let Some((point, _)) = self.points.range(n_layers..).next() {
            return Err(MgritError::NoSuchSource { point: *point, n_layers, rank: adjoint.comm.rank() });
        }
        let mut all = HashMap::new();
        for level in adjoint.hierarchy().levels() {
            for step in adjoint.layout().share(level.index()).steps.clone().map(|j| level.step(j)) {
                let mut sources = self.points.range(step.fine.clone()).map(|(_, source)| source);
                let Some(mut sum) = sources.next().cloned() else { continue };
                sources.for_each(|source| sum.axpy(1.0, source));
                let sum = (0..level.index()).fold(sum, |s, l| network.restrict_adjoint(l, &s));
                all.insert((step.level, step.layer), sum);
            }
        }
        Ok(all)
    }
}
