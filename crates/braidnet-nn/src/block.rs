//! A block of ODE layers as the solver sees it.

use std::borrow::Cow;
use std::ops::Range;

use braidnet_grid::{Step, StepKind};
use braidnet_mgrit::{Differentiable, Output, Propagator, State, StepError};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::Device;

use crate::coarse::mean_module;
use crate::linearization::OdeLinearization;
use crate::rhs::{At, BatchOf, StateOf};
use crate::{CoarseOperator, NetworkError, RightHandSide, StateSpace};

/// Layers `first .. first + n` of a network, each `u + dt F(u; theta_n)`, or, where it is a transition, `F(u; theta_n)`.
#[derive(Module, Debug)]
pub struct OdeBlock<R: Module + ModuleDisplay> {
    layers: Vec<R>,
    /// Global index of the first layer.
    #[module(skip)]
    first: usize,
    /// Layers of the network before those that the solver counts.
    #[module(skip)]
    before: usize,
    #[module(skip)]
    coarse: CoarseOperator,
    #[module(skip)]
    device: Device,
}

impl<R: Module + ModuleDisplay> OdeBlock<R> {
    /// A block of `layers`, the first of which is layer `first` of the network.
    pub fn new(first: usize, layers: Vec<R>, coarse: CoarseOperator, device: &Device) -> Self {
        Self { layers, first, before: 0, coarse, device: device.clone() }
    }

    /// Lets the solver count layers from layer `before` of the network on.
    pub(crate) fn counted_from(self, before: usize) -> Self {
        Self { before, ..self }
    }

    /// Global indices of the layers.
    pub fn range(&self) -> Range<usize> {
        self.first..self.first + self.layers.len()
    }

    /// The layers with their global indices.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = (usize, &R)> {
        self.range().zip(&self.layers)
    }

    /// Replaces every layer by what `f` makes of it and its global index.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map_layers<E>(mut self, mut f: impl FnMut(usize, R) -> Result<R, E>) -> Result<Self, E> {
        let first = self.first;
        let layers = self.layers.into_iter().enumerate().map(|(n, layer)| f(first + n, layer));
        self.layers = layers.collect::<Result<_, E>>()?;
        Ok(self)
    }

    /// The operator of coarse steps.
    pub fn coarse_operator(&self) -> CoarseOperator {
        self.coarse
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether `step` can be done with these layers.
    ///
    /// # Errors
    /// Why not, and what to change.
    pub fn supports(&self, step: &Step) -> Result<(), StepError> {
        match self.coarse {
            CoarseOperator::FirstLayer | CoarseOperator::Midpoint => self.layer(step.layer).map(|_| ()),
            CoarseOperator::Centred | CoarseOperator::Mean | CoarseOperator::Sum => Ok(self.run(step).map(|_| ())?),
        }
    }

    /// Place in `layers` of a layer as the solver counts.
    fn place(&self, layer: usize) -> Option<usize> {
        (layer + self.before).checked_sub(self.first)
    }

    /// The layers that `step` stands for.
    fn run(&self, step: &Step) -> Result<&[R], NetworkError> {
        let ends = self.place(step.fine.start).zip(self.place(step.fine.end));
        let (operator, run) = (self.coarse, step.fine.clone());
        let layers = ends.and_then(|(start, end)| self.layers.get(start..end));
        layers.ok_or(NetworkError::RunIsSplit { operator, run })
    }

    /// A layer as the solver counts.
    fn layer(&self, layer: usize) -> Result<&R, StepError> {
        self.place(layer).and_then(|n| self.layers.get(n)).ok_or_else(|| {
            format!("layer {} is not among the layers {:?} of this block", layer + self.before, self.range()).into()
        })
    }

    /// The single module whose `F` the step applies, `None` for a sum.
    fn operator(&self, step: &Step) -> Result<Option<Cow<'_, R>>, StepError> {
        Ok(match self.coarse {
            _ if step.fine.len() == 1 => Some(Cow::Borrowed(self.layer(step.layer)?)),
            CoarseOperator::FirstLayer | CoarseOperator::Midpoint => Some(Cow::Borrowed(self.layer(step.layer)?)),
            CoarseOperator::Centred => Some(Cow::Borrowed(self.layer(middle(step))?)),
            CoarseOperator::Mean => mean_module(self.run(step)?).map(Cow::Owned),
            CoarseOperator::Sum => None,
        })
    }
}

impl<R: RightHandSide> OdeBlock<R> {
    /// The layers applied to the states, of such a space, of one batch.
    pub fn on<'a>(&'a self, space: &'a R::Space, batch: &'a BatchOf<R>) -> BlockOn<'a, R> {
        BlockOn { block: self, space, batch }
    }
}

/// A block of ODE layers and the batch that it is applied to.
pub struct BlockOn<'a, R: RightHandSide> {
    block: &'a OdeBlock<R>,
    space: &'a R::Space,
    batch: &'a BatchOf<R>,
}

/// The layer in the middle of those that a step stands for; a fine step's own.
fn middle(step: &Step) -> usize {
    step.fine.start + step.fine.len() / 2
}

/// `dt` of each layer of a coarse step. Layers of one block have equal steps.
fn dt_of_layer(step: &Step) -> f64 {
    step.dt / step.fine.len() as f64
}

impl<R: RightHandSide> BlockOn<'_, R> {
    /// A step of the layer `layer`, as the solver counts.
    fn at(&self, layer: usize, dt: f64) -> At<'_, BatchOf<R>> {
        At { layer: layer + self.block.before, dt, batch: self.batch }
    }

    /// Where a step evaluates its right-hand side: at the state before it, or, for a coarse midpoint step, halfway along
    /// the states from which its fine steps start, as the first layer predicts it.
    fn stage(&self, step: &Step, u: StateOf<R>) -> Result<StateOf<R>, StepError> {
        if !self.has_stage(step) {
            return Ok(u);
        }
        let to_the_middle = 0.5 * (step.dt - dt_of_layer(step));
        let slope = self.block.layer(step.layer)?.evaluate(u.clone(), self.at(step.layer, to_the_middle));
        let mut stage = u;
        stage.axpy(to_the_middle, &slope);
        Ok(stage)
    }

    fn has_stage(&self, step: &Step) -> bool {
        step.fine.len() > 1 && matches!(self.block.coarse, CoarseOperator::Midpoint | CoarseOperator::Centred)
    }

    /// The layer whose right-hand side a step applies.
    fn layer_of(&self, step: &Step) -> usize {
        if self.block.coarse == CoarseOperator::Centred { middle(step) } else { step.layer }
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
}

impl<R: RightHandSide> Propagator for BlockOn<'_, R> {
    type State = StateOf<R>;

    fn step(&self, steps: &[Step], states: &mut [StateOf<R>]) -> Result<(), StepError> {
        for (step, u) in steps.iter().zip(states) {
            let before = u.clone();
            match self.block.operator(step)? {
                Some(rhs) if step.kind == StepKind::Transition => {
                    *u = rhs.evaluate(before, self.at(step.layer, step.dt))
                }
                Some(rhs) => {
                    let f = rhs.evaluate(self.stage(step, before)?, self.at(self.layer_of(step), step.dt));
                    u.axpy(step.dt, &f);
                }
                None => self.add_run(step, u, |rhs, at| rhs.evaluate(before.clone(), at))?,
            }
        }
        Ok(())
    }

    fn supports(&self, step: &Step) -> Result<(), StepError> {
        self.space.supports(step.level, step.layer + self.block.before)?;
        self.block.supports(step)
    }

    fn context(&self) -> Device {
        self.block.device.clone()
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
        Ok(OdeLinearization::new(parts, self.block.coarse == CoarseOperator::Centred))
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
            self.block.coarse,
            CoarseOperator::FirstLayer | CoarseOperator::Midpoint | CoarseOperator::Centred
        );
        let is_here = !self.space.is_coarsened(step.level) && (borrows || step.fine.len() == 1);
        is_here.then(|| self.layer_of(step))
    }
}
