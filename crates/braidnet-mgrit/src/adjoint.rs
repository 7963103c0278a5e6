//! The adjoint: `lambda_n = (dPhi_n/du)^T lambda_(n+1)`, and [`Sources`] where there are any, solved on the reversed grid.
//!
//! Three things keep its critical path short:
//! 1. Where a coarse step shares the linearisation of one of its layers ([`Differentiable::shared_linearization`]),
//!    one linearisation per layer serves all levels.
//! 2. All layers, those at C-points too, are linearised in the last sweep of the forward solve, in parallel: the
//!    sequential coarse solve of the adjoint costs pullbacks only, and those form no parameter gradients.
//! 3. In the last sweep, which forms the gradients `g_n = (dPhi_n/dtheta)^T lambda_(n+1)` of each layer exactly
//!    once, lambda is sent on before they are formed.
//!
//! Reference: Guenther et al., Layer-parallel training of deep residual neural networks, SIMODS 2020.

use std::collections::HashMap;
use std::ops::Range;

use braidnet_grid::Step;

use crate::activations::Tapes;
use crate::pullback::{Gradients, Pullback};
use crate::relax::{AtC, Visitor};
use crate::{
    Differentiable, Guess, Linearization, Mgrit, MgritError, Output, SolveReport, Sources, State, StepError, place,
};

/// Linearisations of the layers that a rank owns, at the states of a forward solve; none of a solver that keeps few states
/// ([`Mgrit::keep_only`]).
pub struct Linearized<L> {
    layers: Range<usize>,
    slots: Vec<Option<L>>,
}

impl<S: State> Mgrit<S> {
    /// As [`Mgrit::solve`], and linearises every layer of this rank in the last sweep, at the state that the sweep
    /// has before it. If few states are kept ([`Mgrit::keep_only`]) the adjoint linearises when it needs to.
    ///
    /// # Errors
    /// As [`Mgrit::solve`].
    ///
    /// # Communication
    /// As [`Mgrit::solve`].
    ///
    /// # Cost
    /// As [`Mgrit::solve`], and the last sweep evaluates the steps to C-points as well.
    pub fn solve_linearized<D: Differentiable<State = S>>(
        &mut self,
        network: &D,
        initial: Option<S>,
        guess: Guess<'_, S>,
    ) -> Result<(SolveReport, Linearized<D::Linearization>), MgritError> {
        let layers = self.layers();
        let slots: Vec<_> = layers.clone().map(|_| None).collect();
        if self.keeps_few() {
            let report = self.solve(network, initial, guess)?;
            return Ok((report, Linearized { layers, slots }));
        }
        let at_c = self.final_at_c(AtC::Evaluate);
        let mut visitor = Linearize { network, at_c, first: layers.start, slots };
        let report = self.solve_with(network, initial, guess, &mut visitor)?;
        Ok((report, Linearized { layers, slots: visitor.slots }))
    }

    /// Layers that this rank owns.
    pub(crate) fn layers(&self) -> Range<usize> {
        let steps = &self.layout.share(0).steps;
        let (first, last) = (self.level(0).layer(steps.start), self.level(0).layer(steps.end - 1));
        first.min(last)..first.max(last) + 1
    }
}

/// Gradients of one layer.
#[derive(Debug, Clone)]
pub struct LayerGradients<G> {
    /// Global index of the layer.
    pub layer: usize,
    /// Gradients of its parameters.
    pub gradients: G,
}

/// Gradients of all layers of a network's linearisation type.
pub type GradientsOf<D> = Vec<LayerGradients<<<D as Differentiable>::Linearization as Linearization>::Gradients>>;

/// Solves the adjoint of `forward`'s solve on `adjoint` (made by [`Mgrit::reversed`]) and forms the gradients.
///
/// `lambda_end` is `dLoss/du_N`, given on the rank that owns the last layer; `sources` are those of the points before, if the
/// loss reads them. Afterwards `adjoint.last_state()` is `dLoss/du_0` on the rank that owns layer 0. Gradients come in ascending order of the layers.
///
/// # Errors
/// As [`Mgrit::solve`], [`MgritError::LayersDiffer`] if the two solvers share the layers out differently, and
/// [`MgritError::NoSuchSource`] for a source of a point that is none before the last.
///
/// # Communication
/// As [`Mgrit::solve`].
///
/// # Cost
/// Pullbacks in place of evaluations; one pullback with gradients per layer in the last sweep; one
/// linearisation per coarse step that does not share that of a layer. Where few states are kept
/// ([`Mgrit::keep_only`]) also one linearisation of every layer per sweep; those are not counted as evaluations.
pub fn solve_adjoint<D: Differentiable>(
    adjoint: &mut Mgrit<D::State>,
    network: &D,
    forward: &Mgrit<D::State>,
    linearized: Linearized<D::Linearization>,
    lambda_end: Option<D::State>,
    sources: Sources<D::State>,
    guess: Guess<'_, D::State>,
) -> Result<(SolveReport, GradientsOf<D>), MgritError> {
    let mut gradients = Vec::new();
    let sink = |layer| gradients.push(layer);
    let report = solve_adjoint_into(adjoint, network, forward, linearized, lambda_end, sources, guess, sink)?;
    gradients.sort_by_key(|g| g.layer);
    Ok((report, gradients))
}

/// As [`solve_adjoint`], and hands the gradients of each layer to `sink` as soon as they are formed, while the sweep goes
/// on: on one layout always in the same order.
///
/// # Errors
/// As [`solve_adjoint`].
///
/// # Communication
/// As [`Mgrit::solve`].
#[allow(clippy::too_many_arguments)] // What the solve is of, what it starts from, and the sink.
pub fn solve_adjoint_into<D: Differentiable>(
    adjoint: &mut Mgrit<D::State>,
    network: &D,
    forward: &Mgrit<D::State>,
    linearized: Linearized<D::Linearization>,
    lambda_end: Option<D::State>,
    sources: Sources<D::State>,
    guess: Guess<'_, D::State>,
    sink: impl FnMut(LayerGradients<<D::Linearization as Linearization>::Gradients>),
) -> Result<SolveReport, MgritError> {
    let layers = adjoint.layers();
    if layers != linearized.layers {
        let (forward, rank) = (linearized.layers, adjoint.comm.rank());
        return Err(MgritError::LayersDiffer { rank, forward, adjoint: layers });
    }
    let sources = sources.of_steps(adjoint, network)?;
    let mut tapes = Tapes::new(network, forward, layers, linearized.slots);
    let coarse = linearize_coarse_steps(adjoint, network, forward, &mut tapes)?;
    let pullback = Pullback::new(network, tapes, coarse, sources);
    let at_c = adjoint.final_at_c(AtC::Evaluate);
    let mut visitor = Gradients::new(&pullback, at_c, sink);
    adjoint.solve_with(&pullback, lambda_end, guess, &mut visitor)
}

/// Linearisations of the coarse steps of this rank that do not share a layer's, by level and layer; those of
/// the others are pinned.
fn linearize_coarse_steps<D: Differentiable>(
    adjoint: &Mgrit<D::State>,
    network: &D,
    forward: &Mgrit<D::State>,
    tapes: &mut Tapes<'_, D>,
) -> Result<HashMap<(usize, usize), D::Linearization>, MgritError> {
    let rank = adjoint.comm.rank();
    let failed = |step: &Step, source| MgritError::Step { level: step.level, layer: step.layer, rank, source };
    let mut coarse = HashMap::new();
    for level in adjoint.hierarchy().levels().iter().skip(1) {
        let (mut steps, mut states) = (Vec::new(), Vec::new());
        for step in adjoint.layout.share(level.index()).steps.clone().map(|j| level.step(j)) {
            if network.shared_linearization(&step).is_some() {
                let mut layers =
                    network.parts(&step).into_iter().filter_map(|part| network.shared_linearization(&part));
                layers.try_for_each(|layer| tapes.pin(layer)).map_err(|source| failed(&step, source))?;
                continue;
            }
            // The owner of the step's first layer holds the state before it.
            let Some(state) = forward.state(step.layer) else { continue };
            states.push((0..level.index()).fold(state.clone(), |u, l| network.restrict(l, &u)));
            steps.push(step);
        }
        let batch = network.batch().max(1);
        for (steps, states) in steps.chunks(batch).zip(states.chunks_mut(batch)) {
            place::enter_steps("linearisation", steps);
            let linearizations = network.linearize_batch(steps, states, Output::Discarded);
            let linearizations = linearizations.map_err(|source| failed(&steps[0], source))?;
            coarse.extend(steps.iter().map(|step| (step.level, step.layer)).zip(linearizations));
        }
    }
    Ok(coarse)
}

/// Linearises while stepping.
struct Linearize<'a, D: Differentiable> {
    network: &'a D,
    at_c: AtC,
    first: usize,
    slots: Vec<Option<D::Linearization>>,
}

impl<D: Differentiable> Visitor<D::State> for Linearize<'_, D> {
    fn at_c(&self) -> AtC {
        self.at_c
    }

    fn evaluate(&mut self, steps: &[Step], states: &mut [D::State], output: Output) -> Result<(), StepError> {
        place::enter_steps("linearisation", steps);
        if let ([step], [state]) = (steps, &mut *states) {
            self.slots[step.layer - self.first] = Some(self.network.linearize(step, state, output)?);
            return Ok(());
        }
        let linearizations = self.network.linearize_batch(steps, states, output)?;
        for (step, linearization) in steps.iter().zip(linearizations) {
            self.slots[step.layer - self.first] = Some(linearization);
        }
        Ok(())
    }

    fn own_residual(&mut self, step: &Step, u_next: &D::State, u: &mut D::State) -> Result<(), StepError> {
        self.network.residual(step, u_next, u)
    }

    fn residuals(&mut self, _: impl Iterator<Item = usize>, _: &[D::State]) {}
}
