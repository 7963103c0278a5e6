//! The adjoint: `lambda_n = (dPhi_n/du)^T lambda_(n+1)`, solved by MGRIT on the reversed grid.
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
use std::sync::{Mutex, MutexGuard, PoisonError};

use braidnet_comm::Transfer;
use braidnet_grid::Step;
use tracing::trace_span;

use crate::activations::Tapes;
use crate::relax::{AtC, TIMELINE, Visitor};
use crate::{
    Differentiable, Guess, Linearization, Mgrit, MgritError, Output, PendingGradients, Propagator, SolveReport, State,
    StepError,
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
/// `lambda_end` is `dLoss/du_N`, given on the rank that owns the last layer. Afterwards `adjoint.last_state()`
/// is `dLoss/du_0` on the rank that owns layer 0. Gradients come in ascending order of the layers.
///
/// # Errors
/// As [`Mgrit::solve`], and [`MgritError::LayersDiffer`] if the two solvers share the layers out differently.
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
    guess: Guess<'_, D::State>,
) -> Result<(SolveReport, GradientsOf<D>), MgritError> {
    let mut gradients = Vec::new();
    let report =
        solve_adjoint_into(adjoint, network, forward, linearized, lambda_end, guess, |layer| gradients.push(layer))?;
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
pub fn solve_adjoint_into<D: Differentiable>(
    adjoint: &mut Mgrit<D::State>,
    network: &D,
    forward: &Mgrit<D::State>,
    linearized: Linearized<D::Linearization>,
    lambda_end: Option<D::State>,
    guess: Guess<'_, D::State>,
    sink: impl FnMut(LayerGradients<<D::Linearization as Linearization>::Gradients>),
) -> Result<SolveReport, MgritError> {
    let layers = adjoint.layers();
    if layers != linearized.layers {
        let (forward, rank) = (linearized.layers, adjoint.comm.rank());
        return Err(MgritError::LayersDiffer { rank, forward, adjoint: layers });
    }
    let mut tapes = Tapes::new(network, forward, layers, linearized.slots);
    let coarse = linearize_coarse_steps(adjoint, network, forward, &mut tapes)?;
    let pullback = Pullback { network, tapes: Mutex::new(tapes), coarse };
    let at_c = adjoint.final_at_c(AtC::Evaluate);
    let mut visitor = Gradients { pullback: &pullback, at_c, pending: Vec::new(), sink };
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
    let mut coarse = HashMap::new();
    for level in adjoint.hierarchy().levels().iter().skip(1) {
        for j in adjoint.layout.share(level.index()).steps.clone() {
            let step = level.step(j);
            let failed =
                |source| MgritError::Step { level: step.level, layer: step.layer, rank: adjoint.comm.rank(), source };
            if let Some(layer) = network.shared_linearization(&step) {
                tapes.pin(layer).map_err(failed)?;
                continue;
            }
            // The owner of the step's first layer holds the state before it.
            let Some(state) = forward.state(step.layer) else { continue };
            let mut state = (0..level.index()).fold(state.clone(), |u, l| network.restrict(l, &u));
            let linearization = network.linearize(&step, &mut state, Output::Discarded).map_err(failed)?;
            coarse.insert((step.level, step.layer), linearization);
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
        for (step, state) in steps.iter().zip(states) {
            self.slots[step.layer - self.first] = Some(self.network.linearize(step, state, output)?);
        }
        Ok(())
    }

    fn own_residual(&mut self, step: &Step, u_next: &D::State, u: &mut D::State) -> Result<(), StepError> {
        self.network.residual(step, u_next, u)
    }

    fn residual(&mut self, _: usize, _: &D::State) {}
}

/// The adjoint network: its steps are pullbacks.
struct Pullback<'a, D: Differentiable> {
    network: &'a D,
    /// A solve is single-threaded, so the lock is never contended.
    tapes: Mutex<Tapes<'a, D>>,
    coarse: HashMap<(usize, usize), D::Linearization>,
}

impl<'a, D: Differentiable> Pullback<'a, D> {
    fn tapes(&self) -> MutexGuard<'_, Tapes<'a, D>> {
        self.tapes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Differentiable> Propagator for Pullback<'_, D> {
    type State = D::State;

    fn step(&self, steps: &[Step], states: &mut [D::State]) -> Result<(), StepError> {
        let mut tapes = self.tapes();
        for (step, lambda) in steps.iter().zip(states) {
            match self.coarse.get(&(step.level, step.layer)) {
                Some(linearization) => linearization.pullback(step, lambda)?,
                None => {
                    let layer = self.network.shared_linearization(step).unwrap_or(step.layer);
                    tapes.of(layer)?.pullback(step, lambda)?;
                }
            }
        }
        Ok(())
    }

    fn batch(&self) -> usize {
        self.network.batch()
    }

    fn context(&self) -> <D::State as Transfer>::Context {
        self.network.context()
    }

    fn restrict(&self, level: usize, state: &D::State) -> D::State {
        self.network.restrict(level, state)
    }

    fn prolong(&self, level: usize, correction: D::State) -> D::State {
        self.network.prolong(level, correction)
    }
}

type LayerPending<G> = (usize, PendingGradients<G>);

/// The last sweep: pullbacks, and gradients once no other rank waits for lambda.
struct Gradients<'a, D: Differentiable, F> {
    pullback: &'a Pullback<'a, D>,
    at_c: AtC,
    pending: Vec<LayerPending<<D::Linearization as Linearization>::Gradients>>,
    sink: F,
}

impl<D, F> Visitor<D::State> for Gradients<'_, D, F>
where
    D: Differentiable,
    F: FnMut(LayerGradients<<D::Linearization as Linearization>::Gradients>),
{
    fn at_c(&self) -> AtC {
        self.at_c
    }

    fn evaluate(&mut self, steps: &[Step], states: &mut [D::State], output: Output) -> Result<(), StepError> {
        for (step, lambda) in steps.iter().zip(states) {
            if self.pullback.tapes().must_recompute(step.layer) {
                // Memory was asked for: what the interval before needs goes first, even if another rank waits.
                self.off_critical_path().map_err(|(_, source)| source)?;
            }
            let linearization = self.pullback.tapes().take(step.layer)?;
            self.pending.push((step.layer, linearization.pullback_with_gradients(step, lambda, output)?));
        }
        Ok(())
    }

    fn own_residual(&mut self, step: &Step, u_next: &D::State, u: &mut D::State) -> Result<(), StepError> {
        self.pullback.residual(step, u_next, u)
    }

    fn residual(&mut self, _: usize, _: &D::State) {}

    fn off_critical_path(&mut self) -> Result<(), (usize, StepError)> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let _span = trace_span!(target: TIMELINE, "gradients", layers = self.pending.len()).entered();
        for (layer, pending) in self.pending.drain(..) {
            let gradients = pending().map_err(|source| (layer, source))?;
            (self.sink)(LayerGradients { layer, gradients });
        }
        Ok(())
    }
}
