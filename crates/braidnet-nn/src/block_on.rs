//! A block of ODE layers on a batch: what the solver sees.

use braidnet_grid::{Step, StepKind};
use braidnet_mgrit::{Differentiable, Linearization, Output, PendingGradients, Propagator, State, StepError};
use burn::tensor::Device;

use crate::linearization::OdeLinearization;
use crate::rhs::{At, BatchOf, StateOf};
use crate::together::{Stacks, at_places, in_order, pull_back_together, pull_back_together_with_gradients};
use crate::{CoarseOperator, Gradients, OdeBlock, RightHandSide, StateSpace};

/// A block of ODE layers and the batch that it is applied to.
pub struct BlockOn<'a, R: RightHandSide> {
    pub(crate) block: &'a OdeBlock<R>,
    pub(crate) space: &'a R::Space,
    pub(crate) batch: &'a BatchOf<R>,
    pub(crate) stacks: Stacks<R>,
}

/// The layer in the middle of those that a step stands for; a fine step's own.
pub(crate) fn middle(step: &Step) -> usize {
    step.fine.start + step.fine.len() / 2
}

/// `dt` of each layer of a coarse step. Layers of one block have equal steps.
fn dt_of_layer(step: &Step) -> f64 {
    step.dt / step.fine.len() as f64
}

impl<'a, R: RightHandSide> BlockOn<'a, R> {
    pub(crate) fn new(block: &'a OdeBlock<R>, space: &'a R::Space, batch: &'a BatchOf<R>) -> Self {
        Self { block, space, batch, stacks: Stacks::default() }
    }

    /// A step of the layer `layer`, as the solver counts.
    fn at(&self, layer: usize, dt: f64) -> At<'_, BatchOf<R>> {
        At { layers: self.block.global(layer).into(), dt, batch: self.batch }
    }

    /// Where a step evaluates its right-hand side: at the state before it, or, for a coarse midpoint step, halfway along
    /// the states from which its fine steps start, as the first layer predicts it.
    fn stage(&self, step: &Step, u: StateOf<R>) -> Result<StateOf<R>, StepError> {
        if !self.has_stage(step) {
            return Ok(u);
        }
        let to_the_middle = self.to_the_middle(step);
        let slope = self.block.layer(step.layer)?.evaluate(u.clone(), self.at(step.layer, to_the_middle));
        let mut stage = u;
        stage.axpy(to_the_middle, &slope);
        Ok(stage)
    }

    /// From a coarse step's state to that in the middle of the states from which its fine steps start.
    pub(crate) fn to_the_middle(&self, step: &Step) -> f64 {
        0.5 * (step.dt - dt_of_layer(step))
    }

    pub(crate) fn has_stage(&self, step: &Step) -> bool {
        step.fine.len() > 1
            && matches!(self.block.coarse_operator(), CoarseOperator::Midpoint | CoarseOperator::Centred)
    }

    /// The layer whose right-hand side a step applies.
    pub(crate) fn layer_of(&self, step: &Step) -> usize {
        if self.block.coarse_operator() == CoarseOperator::Centred { middle(step) } else { step.layer }
    }

    /// `u += sum_j dt_j F_j` over the layers of a coarse step.
    fn add_run(
        &self,
        step: &Step,
        u: &mut StateOf<R>,
        mut f: impl FnMut(&R, At<'_, BatchOf<R>>) -> StateOf<R>,
    ) -> Result<(), StepError> {
        let dt = dt_of_layer(step);
        for (layer, rhs) in step.fine.clone().zip(self.block.run(step)?) {
            u.axpy(dt, &f(rhs, self.at(layer, dt)));
        }
        Ok(())
    }

    /// Applies one step.
    fn step_alone(&self, step: &Step, u: &mut StateOf<R>) -> Result<(), StepError> {
        let before = u.clone();
        match self.block.operator(step)? {
            Some(rhs) if step.kind == StepKind::Transition => *u = rhs.evaluate(before, self.at(step.layer, step.dt)),
            Some(rhs) => {
                let f = rhs.evaluate(self.stage(step, before)?, self.at(self.layer_of(step), step.dt));
                u.axpy(step.dt, &f);
            }
            None => self.add_run(step, u, |rhs, at| rhs.evaluate(before.clone(), at))?,
        }
        Ok(())
    }
}

impl<R: RightHandSide> Propagator for BlockOn<'_, R> {
    type State = StateOf<R>;

    fn step(&self, steps: &[Step], states: &mut [StateOf<R>]) -> Result<(), StepError> {
        for group in self.groups(steps) {
            match self.side_by_side(&group, states) {
                Some(mut u) => {
                    self.step_together(&at_places(&group, steps), &mut u)?;
                    self.hand_out(u, &group, states);
                }
                None => group.iter().try_for_each(|n| self.step_alone(&steps[*n], &mut states[*n]))?,
            }
        }
        Ok(())
    }

    fn supports(&self, step: &Step) -> Result<(), StepError> {
        self.space.supports(step.level, self.block.global(step.layer))?;
        self.block.supports(step)
    }

    fn batch(&self) -> usize {
        if self.block.stacks() { usize::MAX } else { 1 }
    }

    fn context(&self) -> Device {
        self.block.device().clone()
    }

    fn restrict(&self, level: usize, state: &StateOf<R>) -> StateOf<R> {
        self.space.restrict(level, state)
    }

    fn prolong(&self, level: usize, correction: StateOf<R>, fine: &StateOf<R>) -> StateOf<R> {
        self.space.prolong(level, correction, fine)
    }
}

impl<R: RightHandSide> Differentiable for BlockOn<'_, R> {
    type Linearization = OdeLinearization<R::Tape>;

    fn linearize(&self, step: &Step, state: &mut StateOf<R>, output: Output) -> Result<Self::Linearization, StepError> {
        let before = state.clone();
        let mut parts = Vec::with_capacity(1);
        match self.block.operator(step)? {
            Some(rhs) => {
                let at = self.at(self.layer_of(step), step.dt);
                let (mut f, tape) = rhs.linearize(before.clone(), at, output);
                parts.push((1.0, tape));
                if step.kind == StepKind::Transition {
                    *state = f;
                } else if output == Output::Used {
                    if self.has_stage(step) {
                        f = rhs.evaluate(self.stage(step, before)?, at);
                    }
                    state.axpy(step.dt, &f);
                }
            }
            None => {
                let share = 1.0 / step.fine.len() as f64;
                self.add_run(step, state, |rhs, at| {
                    let (f, tape) = rhs.linearize(before.clone(), at, Output::Used);
                    parts.push((share, tape));
                    f
                })?;
            }
        }
        Ok(OdeLinearization::new(parts, self.block.is_pulled_back_from_the_middle()))
    }

    fn linearize_batch(
        &self,
        steps: &[Step],
        states: &mut [StateOf<R>],
        output: Output,
    ) -> Result<Vec<Self::Linearization>, StepError> {
        let mut found = Vec::with_capacity(steps.len());
        for group in self.groups(steps) {
            match self.side_by_side(&group, states) {
                Some(mut u) => {
                    let rows = self.linearize_together(&at_places(&group, steps), &mut u, output)?;
                    if output == Output::Used {
                        self.hand_out(u, &group, states);
                    }
                    found.extend(group.into_iter().zip(rows));
                }
                None => {
                    for n in group {
                        found.push((n, self.linearize(&steps[n], &mut states[n], output)?));
                    }
                }
            }
        }
        Ok(in_order(found))
    }

    fn pullback_batch(
        &self,
        steps: &[Step],
        tapes: &[&Self::Linearization],
        lambdas: &mut [StateOf<R>],
    ) -> Result<(), StepError> {
        for group in self.groups_back(steps, |n| tapes[n]) {
            match self.side_by_side(&group, lambdas) {
                Some(mut lambda) => {
                    let rows: Vec<_> = group.iter().map(|n| tapes[*n]).collect();
                    pull_back_together::<R>(&steps[group[0]], &rows, &mut lambda)?;
                    self.hand_out(lambda, &group, lambdas);
                }
                None => group.iter().try_for_each(|n| tapes[*n].pullback(&steps[*n], &mut lambdas[*n]))?,
            }
        }
        Ok(())
    }

    fn pullback_batch_with_gradients(
        &self,
        steps: &[Step],
        tapes: Vec<Self::Linearization>,
        lambdas: &mut [StateOf<R>],
        output: Output,
    ) -> Result<Vec<PendingGradients<Gradients>>, StepError> {
        let groups = self.groups_back(steps, |n| &tapes[n]);
        let mut tapes: Vec<_> = tapes.into_iter().map(Some).collect();
        let mut found = Vec::with_capacity(steps.len());
        for group in groups {
            let rows = group.iter().filter_map(|n| tapes[*n].take());
            match self.side_by_side(&group, lambdas) {
                Some(mut lambda) => {
                    let step = &steps[group[0]];
                    let each = pull_back_together_with_gradients::<R>(step, rows.collect(), &mut lambda, output)?;
                    self.hand_out(lambda, &group, lambdas);
                    found.extend(group.into_iter().zip(each));
                }
                None => {
                    for (n, tape) in group.iter().zip(rows) {
                        found.push((*n, tape.pullback_with_gradients(&steps[*n], &mut lambdas[*n], output)?));
                    }
                }
            }
        }
        Ok(in_order(found))
    }

    fn restrict_adjoint(&self, level: usize, lambda: &StateOf<R>) -> StateOf<R> {
        self.space.restrict_adjoint(level, lambda)
    }

    fn prolong_adjoint(&self, level: usize, correction: StateOf<R>, fine: &StateOf<R>) -> StateOf<R> {
        self.space.prolong_adjoint(level, correction, fine)
    }

    /// With the parameters of the first layer (a midpoint step is pulled back like the Euler step beside it)
    /// `J_c^T lambda = lambda + dt_c J_F^T lambda` needs nothing but the fine linearisation of that layer; a centred
    /// one nothing but that of the middle layer. On a coarser grid it needs one of its own.
    fn shared_linearization(&self, step: &Step) -> Option<usize> {
        let borrows = matches!(
            self.block.coarse_operator(),
            CoarseOperator::FirstLayer | CoarseOperator::Midpoint | CoarseOperator::Centred
        );
        let is_here = !self.space.is_coarsened(step.level) && (borrows || step.fine.len() == 1);
        is_here.then(|| self.layer_of(step))
    }
}
