//! What the adjoint needs of the forward solve: kept, or computed again interval by interval.

use std::collections::VecDeque;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::setting::TIMELINE;
use crate::walk::Split;
use crate::{Differentiable, Mgrit, Output, State, StepError};

/// What is kept between the forward and the adjoint solve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activations {
    /// The linearisation of every layer.
    #[default]
    Store,
    /// The states of [`checkpoints`] alone: every interval is evaluated again, and linearised, when its adjoint is
    /// due. One more forward evaluation per layer, and memory for the C-points and one interval in place of all layers.
    Recompute,
}

/// The points, besides the forward solve's own C-points, whose states [`Activations::Recompute`] needs: the C-points of
/// the adjoint; where neither has any, the first of every `sqrt(n)` points of this rank's `n`.
pub fn checkpoints<S: State>(forward: &Mgrit<S>, adjoint: &Mgrit<S>) -> Vec<usize> {
    let n_steps = forward.hierarchy().finest().n_steps();
    if adjoint.hierarchy().n_levels() > 1 {
        return adjoint.hierarchy().finest().c_points().iter().map(|c| n_steps - c).collect();
    }
    if forward.finest_split() == Split::Intervals {
        return Vec::new();
    }
    let own = forward.layout().share(0).steps.clone();
    let every = (own.len() as f64).sqrt().ceil() as usize;
    own.step_by(every.max(1)).collect()
}

/// A linearisation that is missing: a bug of the solver, reported instead of a panic.
#[derive(Debug, thiserror::Error)]
#[error("no linearisation of layer {layer}: each layer can form its gradients only once")]
struct NoLinearization {
    layer: usize,
}

/// The linearisations of a rank's layers at the states of a forward solve, made again where they were not kept.
pub(crate) struct Tapes<'a, D: Differentiable> {
    network: &'a D,
    forward: &'a Mgrit<D::State>,
    layers: Range<usize>,
    slots: Vec<Option<D::Linearization>>,
    /// Layers that coarse steps use again and again: never given up before their gradients.
    pinned: Vec<bool>,
    /// Intervals made again, oldest first.
    recomputed: VecDeque<Range<usize>>,
}

impl<'a, D: Differentiable> Tapes<'a, D> {
    pub fn new(
        network: &'a D,
        forward: &'a Mgrit<D::State>,
        layers: Range<usize>,
        slots: Vec<Option<D::Linearization>>,
    ) -> Self {
        let pinned = vec![false; layers.len()];
        Self { network, forward, layers, slots, pinned, recomputed: VecDeque::new() }
    }

    /// Makes sure that a layer's linearisation is there, and stays.
    pub fn pin(&mut self, layer: usize) -> Result<(), StepError> {
        let at = layer - self.layers.start;
        self.pinned[at] = true;
        if self.slots[at].is_some() {
            return Ok(());
        }
        let first = self.layers.start;
        let start = (first..=layer).rev().find(|point| self.forward.keeps(*point)).unwrap_or(first);
        let Some(mut state) = self.forward.state(start).cloned() else { return Ok(()) };
        for n in start..layer {
            let step = self.forward.level(0).step(n);
            self.network.step(std::slice::from_ref(&step), std::slice::from_mut(&mut state))?;
        }
        let step = self.forward.level(0).step(layer);
        self.slots[at] = Some(self.network.linearize(&step, &mut state, Output::Discarded)?);
        Ok(())
    }

    /// The linearisation of a layer, made again if it must be.
    pub fn of(&mut self, layer: usize) -> Result<&D::Linearization, StepError> {
        self.recompute_unless_there(layer)?;
        self.get(layer)
    }

    /// The linearisation of a layer that need not be made again; any number can be held at once.
    pub fn get(&self, layer: usize) -> Result<&D::Linearization, StepError> {
        self.slots[layer - self.layers.start].as_ref().ok_or_else(|| NoLinearization { layer }.into())
    }

    /// The linearisation of a layer, given up.
    pub fn take(&mut self, layer: usize) -> Result<D::Linearization, StepError> {
        self.recompute_unless_there(layer)?;
        self.slots[layer - self.layers.start].take().ok_or_else(|| NoLinearization { layer }.into())
    }

    /// Whether an interval must be evaluated again for a layer's linearisation.
    pub fn must_recompute(&self, layer: usize) -> bool {
        self.slots[layer - self.layers.start].is_none() && self.forward.keeps_few()
    }

    /// Evaluates and linearises the layers from the last state kept before `layer` up to it. The layers behind it in its
    /// interval come first in an adjoint sweep, so they are there, or done.
    fn recompute_unless_there(&mut self, layer: usize) -> Result<(), StepError> {
        if !self.must_recompute(layer) {
            return Ok(());
        }
        let _span = tracing::trace_span!(target: TIMELINE, "recompute", layer).entered();
        self.make_room();
        let first = self.layers.start;
        let start = (first..=layer).rev().find(|point| self.forward.keeps(*point)).unwrap_or(first);
        let mut state = self.forward.state(start).ok_or(NoLinearization { layer })?.clone();
        for n in start..=layer {
            let step = self.forward.level(0).step(n);
            let output = if n == layer { Output::Discarded } else { Output::Used };
            match &mut self.slots[n - first] {
                Some(_) => self.network.step(std::slice::from_ref(&step), std::slice::from_mut(&mut state))?,
                slot => *slot = Some(self.network.linearize(&step, &mut state, output)?),
            }
        }
        self.recomputed.push_back(start..layer + 1);
        Ok(())
    }

    /// Gives up the oldest interval once there are as many as are walked at the same time.
    fn make_room(&mut self) {
        while self.recomputed.len() >= self.network.batch().max(1) {
            for n in self.recomputed.pop_front().into_iter().flatten() {
                let at = n - self.layers.start;
                if !self.pinned[at] {
                    self.slots[at] = None;
                }
            }
        }
    }
}
