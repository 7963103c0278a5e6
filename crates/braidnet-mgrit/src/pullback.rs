//! The network of the adjoint: pullbacks as steps, and the last sweep, which forms the gradients.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use braidnet_comm::Transfer;
use braidnet_grid::Step;
use tracing::trace_span;

use crate::activations::Tapes;
use crate::adjoint::LayerGradients;
use crate::relax::{AtC, Visitor};
use crate::setting::TIMELINE;
use crate::{Differentiable, Linearization, Output, PendingGradients, Propagator, State, StepError, place};

/// The adjoint network: its steps are pullbacks.
pub(crate) struct Pullback<'a, D: Differentiable> {
    network: &'a D,
    /// A solve is single-threaded, so the lock is never contended.
    tapes: Mutex<Tapes<'a, D>>,
    coarse: HashMap<(usize, usize), D::Linearization>,
    /// What steps add, by level and layer.
    sources: HashMap<(usize, usize), D::State>,
    /// Diagonals by layer, once asked for: the same in every iteration.
    diagonals: Mutex<HashMap<usize, D::State>>,
}

impl<'a, D: Differentiable> Pullback<'a, D> {
    /// With the linearisations of layers and of coarse steps, and what steps add, by level and layer.
    pub fn new(
        network: &'a D,
        tapes: Tapes<'a, D>,
        coarse: HashMap<(usize, usize), D::Linearization>,
        sources: HashMap<(usize, usize), D::State>,
    ) -> Self {
        Self { network, tapes: Mutex::new(tapes), coarse, sources, diagonals: Mutex::default() }
    }

    fn tapes(&self) -> MutexGuard<'_, Tapes<'a, D>> {
        self.tapes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the linearisation of a part of a step is.
    fn tape(&self, step: &Step) -> Tape<'_, D> {
        match self.coarse.get(&(step.level, step.layer)) {
            Some(linearization) => Tape::OfStep(linearization),
            None => Tape::OfLayer(self.network.shared_linearization(step).unwrap_or(step.layer)),
        }
    }

    /// Pulls back through the parts of steps, the last ones first: those of all steps at once where they have equally many.
    fn pull_back(&self, steps: &[Step], lambdas: &mut [D::State]) -> Result<(), StepError> {
        if steps.iter().all(|step| step.fine.len() == 1) {
            return self.pull_back_parts(steps, lambdas);
        }
        let mut parts: Vec<Vec<Step>> = steps.iter().map(|step| self.parts(step)).collect();
        let n = parts[0].len();
        if parts.iter().all(|parts| parts.len() == n) {
            return (0..n).try_for_each(|_| {
                let last: Vec<Step> = parts.iter_mut().filter_map(Vec::pop).collect();
                self.pull_back_parts(&last, lambdas)
            });
        }
        let mut each = parts.iter().zip(lambdas);
        each.try_for_each(|(parts, lambda)| {
            let mut last_first = parts.iter().rev();
            last_first
                .try_for_each(|part| self.pull_back_parts(std::slice::from_ref(part), std::slice::from_mut(lambda)))
        })
    }

    fn parts(&self, step: &Step) -> Vec<Step> {
        let is_whole = self.coarse.contains_key(&(step.level, step.layer));
        if is_whole { vec![step.clone()] } else { self.network.parts(step) }
    }

    fn pull_back_parts(&self, steps: &[Step], lambdas: &mut [D::State]) -> Result<(), StepError> {
        let mut tapes = self.tapes();
        if steps.len() == 1 || steps.iter().any(|step| self.tape(step).must_recompute(&tapes)) {
            for (step, lambda) in steps.iter().zip(lambdas) {
                match self.tape(step) {
                    Tape::OfStep(linearization) => linearization.pullback(step, lambda)?,
                    Tape::OfLayer(layer) => tapes.of(layer)?.pullback(step, lambda)?,
                }
            }
            return Ok(());
        }
        let found = steps.iter().map(|step| match self.tape(step) {
            Tape::OfStep(linearization) => Ok(linearization),
            Tape::OfLayer(layer) => tapes.get(layer),
        });
        let found: Vec<_> = found.collect::<Result<_, _>>()?;
        self.network.pullback_batch(steps, &found, lambdas)
    }

    /// The diagonals of a Jacobian and of its transpose are the same.
    fn find_diagonals(&self, steps: &[Step]) -> Result<Vec<D::State>, StepError> {
        let mut tapes = self.tapes();
        if steps.iter().any(|step| tapes.must_recompute(step.layer)) {
            return steps.iter().map(|step| tapes.of(step.layer)?.diagonal(step)).collect();
        }
        let found: Vec<_> = steps.iter().map(|step| tapes.get(step.layer)).collect::<Result<_, _>>()?;
        self.network.diagonal_batch(steps, &found)
    }

    fn add_sources(&self, steps: &[Step], lambdas: &mut [D::State]) {
        if self.sources.is_empty() {
            return;
        }
        for (step, lambda) in steps.iter().zip(lambdas) {
            if let Some(source) = self.sources.get(&(step.level, step.layer)) {
                lambda.axpy(1.0, source);
            }
        }
    }
}

/// Whose linearisation a step uses.
enum Tape<'a, D: Differentiable> {
    /// Its own.
    OfStep(&'a D::Linearization),
    /// That of a layer.
    OfLayer(usize),
}

impl<D: Differentiable> Tape<'_, D> {
    fn must_recompute(&self, tapes: &Tapes<'_, D>) -> bool {
        matches!(self, Self::OfLayer(layer) if tapes.must_recompute(*layer))
    }
}

impl<D: Differentiable> Propagator for Pullback<'_, D> {
    type State = D::State;

    fn step(&self, steps: &[Step], states: &mut [D::State]) -> Result<(), StepError> {
        self.pull_back(steps, states)?;
        self.add_sources(steps, states);
        Ok(())
    }

    fn step_with_diagonal(&self, steps: &[Step], states: &mut [D::State]) -> Result<Vec<D::State>, StepError> {
        let mut known = self.diagonals.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Option<Vec<_>> = steps.iter().map(|step| known.get(&step.layer).cloned()).collect();
        let found = match found {
            Some(found) => found,
            None => {
                let found = self.find_diagonals(steps)?;
                known.extend(steps.iter().map(|step| step.layer).zip(found.iter().cloned()));
                found
            }
        };
        self.step(steps, states)?;
        Ok(found)
    }

    fn batch(&self) -> usize {
        self.network.batch()
    }

    fn context(&self) -> <D::State as Transfer>::Context {
        self.network.context()
    }

    fn restrict(&self, level: usize, state: &D::State) -> D::State {
        self.network.restrict_adjoint(level, state)
    }

    fn prolong(&self, level: usize, correction: D::State, fine: &D::State) -> D::State {
        self.network.prolong_adjoint(level, correction, fine)
    }
}

type LayerPending<G> = (usize, PendingGradients<G>);

/// The last sweep: pullbacks, and gradients once no other rank waits for lambda.
pub(crate) struct Gradients<'a, D: Differentiable, F> {
    pullback: &'a Pullback<'a, D>,
    at_c: AtC,
    pending: Vec<LayerPending<<D::Linearization as Linearization>::Gradients>>,
    sink: F,
}

impl<'a, D, F> Gradients<'a, D, F>
where
    D: Differentiable,
    F: FnMut(LayerGradients<<D::Linearization as Linearization>::Gradients>),
{
    pub fn new(pullback: &'a Pullback<'a, D>, at_c: AtC, sink: F) -> Self {
        Self { pullback, at_c, pending: Vec::new(), sink }
    }

    fn pull_back(&mut self, steps: &[Step], states: &mut [D::State], output: Output) -> Result<(), StepError> {
        let layers = || steps.iter().map(|step| step.layer);
        let mut tapes = self.pullback.tapes();
        if steps.len() > 1 && !layers().any(|layer| tapes.must_recompute(layer)) {
            let taken = layers().map(|layer| tapes.take(layer)).collect::<Result<_, _>>()?;
            let pending = self.pullback.network.pullback_batch_with_gradients(steps, taken, states, output)?;
            self.pending.extend(layers().zip(pending));
            return Ok(());
        }
        drop(tapes);
        for (step, lambda) in steps.iter().zip(states) {
            if self.pullback.tapes().must_recompute(step.layer) {
                // Memory was asked for: what the interval before needs goes first, even if another rank waits.
                self.form_pending().map_err(|(_, source)| source)?;
            }
            let linearization = self.pullback.tapes().take(step.layer)?;
            self.pending.push((step.layer, linearization.pullback_with_gradients(step, lambda, output)?));
        }
        Ok(())
    }

    fn form_pending(&mut self) -> Result<(), (usize, StepError)> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let _span = trace_span!(target: TIMELINE, "gradients", layers = self.pending.len()).entered();
        for (layer, pending) in self.pending.drain(..) {
            place::enter_layer("gradients", layer);
            let gradients = pending().map_err(|source| (layer, source))?;
            (self.sink)(LayerGradients { layer, gradients });
        }
        Ok(())
    }
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
        self.pull_back(steps, states, output)?;
        if output == Output::Used {
            self.pullback.add_sources(steps, states);
        }
        Ok(())
    }

    fn own_residual(&mut self, step: &Step, u_next: &D::State, u: &mut D::State) -> Result<(), StepError> {
        self.pullback.residual(step, u_next, u)
    }

    fn residuals(&mut self, _: impl Iterator<Item = usize>, _: &[D::State]) {}

    fn off_critical_path(&mut self) -> Result<(), (usize, StepError)> {
        self.form_pending()
    }
}
