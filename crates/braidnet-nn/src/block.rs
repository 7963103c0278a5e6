//! A block of ODE layers as the solver sees it.

use std::ops::Range;

use braidnet_grid::{Step, StepKind};
use braidnet_mgrit::{Differentiable, Linearization, Output, PendingGradients, Propagator, StepError};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::coarse::mean_module;
use crate::{CoarseOperator, Gradients, NetworkError, RhsTape, RightHandSide, TensorState};

/// Layers `first .. first + n` of a network, each `u + dt F(u; theta_n)`.
#[derive(Module, Debug)]
pub struct OdeBlock<const D: usize, R: Module> {
    layers: Vec<R>,
    #[module(skip)]
    first: usize,
    #[module(skip)]
    coarse: CoarseOperator,
    #[module(skip)]
    device: Device,
}

impl<const D: usize, R: Module> OdeBlock<D, R> {
    /// A block of `layers`, the first of which is layer `first` of the network.
    pub fn new(first: usize, layers: Vec<R>, coarse: CoarseOperator, device: &Device) -> Self {
        Self { layers, first, coarse, device: device.clone() }
    }

    /// Global indices of the layers.
    pub fn range(&self) -> Range<usize> {
        self.first..self.first + self.layers.len()
    }

    /// The layers with their global indices.
    pub fn layers(&self) -> impl Iterator<Item = (usize, &R)> {
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

    /// The layers that `step` stands for.
    fn run(&self, step: &Step) -> Result<&[R], NetworkError> {
        let local = step.fine.start.checked_sub(self.first).zip(step.fine.end.checked_sub(self.first));
        let (operator, run) = (self.coarse, step.fine.clone());
        let layers = local.and_then(|(start, end)| self.layers.get(start..end));
        layers.ok_or(NetworkError::RunIsSplit { operator, run })
    }

    fn layer(&self, step: &Step) -> Result<&R, StepError> {
        let local = step.layer.checked_sub(self.first).and_then(|n| self.layers.get(n));
        local.ok_or_else(|| {
            format!("layer {} is not among the layers {:?} of this block", step.layer, self.range()).into()
        })
    }

    /// The single module whose `F` the step applies, `None` for a sum.
    fn operator(&self, step: &Step) -> Result<Option<std::borrow::Cow<'_, R>>, StepError> {
        use std::borrow::Cow;
        Ok(match self.coarse {
            _ if step.fine.len() == 1 => Some(Cow::Borrowed(self.layer(step)?)),
            CoarseOperator::FirstLayer | CoarseOperator::Midpoint => Some(Cow::Borrowed(self.layer(step)?)),
            CoarseOperator::Mean => mean_module(self.run(step)?).map(Cow::Owned),
            CoarseOperator::Sum => None,
        })
    }
}

/// `dt` of each layer of a coarse step. Layers of one block have equal steps.
fn dt_of_layer(step: &Step) -> f64 {
    step.dt / step.fine.len() as f64
}

impl<const D: usize, R: RightHandSide<D>> Propagator for OdeBlock<D, R> {
    type State = TensorState<D>;

    fn step(&self, steps: &[Step], states: &mut [TensorState<D>]) -> Result<(), StepError> {
        for (step, TensorState(u)) in steps.iter().zip(states) {
            let before = u.clone();
            let increment = match self.operator(step)? {
                Some(rhs) => rhs.evaluate(self.stage(step, &*rhs, before)) * step.dt,
                None => self.sum_over_run(step, |rhs| rhs.evaluate(before.clone()))?,
            };
            u.inplace(|u| increment + u);
        }
        Ok(())
    }

    fn supports(&self, step: &Step) -> Result<(), StepError> {
        match self.coarse {
            CoarseOperator::FirstLayer | CoarseOperator::Midpoint => self.layer(step).map(|_| ()),
            CoarseOperator::Mean | CoarseOperator::Sum => Ok(self.run(step).map(|_| ())?),
        }
    }

    fn context(&self) -> Device {
        self.device.clone()
    }
}

impl<const D: usize, R: RightHandSide<D>> OdeBlock<D, R> {
    /// Where a step evaluates its right-hand side: at the state before it, or, for a coarse midpoint step, halfway along
    /// the states from which its fine steps start.
    fn stage(&self, step: &Step, rhs: &R, u: Tensor<D>) -> Tensor<D> {
        let m = step.fine.len();
        if m == 1 || self.coarse != CoarseOperator::Midpoint {
            return u;
        }
        let to_the_middle = 0.5 * (step.dt - dt_of_layer(step));
        rhs.evaluate(u.clone()) * to_the_middle + u
    }

    /// `sum_j dt_j F_j` over the layers of a coarse step.
    fn sum_over_run(&self, step: &Step, mut f: impl FnMut(&R) -> Tensor<D>) -> Result<Tensor<D>, StepError> {
        let dt = dt_of_layer(step);
        let terms = self.run(step)?.iter().map(|rhs| f(rhs) * dt);
        Ok(terms.reduce(|sum, term| sum + term).ok_or("a coarse step without layers")?)
    }
}

/// The linearisation of one step: those of its right-hand sides, each with its share of the step.
pub struct OdeLinearization<const D: usize, T> {
    /// Fraction of the step's `dt`, and tape.
    parts: Vec<(f64, T)>,
}

#[derive(Debug, thiserror::Error)]
#[error("layer {layer} has {parts} right-hand sides at once: gradients are formed on the finest level only")]
struct NotFinest {
    layer: usize,
    parts: usize,
}

impl<const D: usize, T: RhsTape<D>> Linearization for OdeLinearization<D, T> {
    type State = TensorState<D>;
    type Gradients = Gradients;

    fn pullback(&self, step: &Step, lambda: &mut TensorState<D>) -> Result<(), StepError> {
        let TensorState(lambda) = lambda;
        let before = lambda.clone();
        for (fraction, tape) in &self.parts {
            let term = tape.pullback(before.clone() * (step.dt * fraction))?;
            lambda.inplace(|lambda| term + lambda);
        }
        Ok(())
    }

    fn pullback_with_gradients(
        mut self,
        step: &Step,
        lambda: &mut TensorState<D>,
        output: Output,
    ) -> Result<PendingGradients<Gradients>, StepError> {
        let parts = self.parts.len();
        let (Some((_, tape)), 1) = (self.parts.pop(), parts) else {
            return Err(NotFinest { layer: step.layer, parts }.into());
        };
        let TensorState(lambda) = lambda;
        let (term, pending) = tape.pullback_with_gradients(lambda.clone() * step.dt, output)?;
        if let Some(term) = term {
            lambda.inplace(|lambda| term + lambda);
        }
        Ok(pending)
    }
}

impl<const D: usize, R: RightHandSide<D>> Differentiable for OdeBlock<D, R> {
    type Linearization = OdeLinearization<D, R::Tape>;

    fn linearize(
        &self,
        step: &Step,
        state: &mut TensorState<D>,
        output: Output,
    ) -> Result<Self::Linearization, StepError> {
        let TensorState(u) = state;
        let before = u.clone();
        let mut parts = Vec::with_capacity(1);
        let increment = match self.operator(step)? {
            Some(rhs) => {
                let (f, tape) = rhs.linearize(before.clone(), output);
                parts.push((1.0, tape));
                let is_midpoint = self.coarse == CoarseOperator::Midpoint && step.fine.len() > 1;
                let f = if is_midpoint { rhs.evaluate(self.stage(step, &*rhs, before)) } else { f };
                f * step.dt
            }
            None => self.sum_over_run(step, |rhs| {
                let (f, tape) = rhs.linearize(before.clone(), output);
                parts.push((1.0 / step.fine.len() as f64, tape));
                f
            })?,
        };
        if output == Output::Used {
            u.inplace(|u| increment + u);
        }
        Ok(OdeLinearization { parts })
    }

    /// `F` does not depend on `dt`, so with the parameters of the first layer (a midpoint step is pulled back like the Euler
    /// step beside it) `J_c^T lambda = lambda + dt_c J_F^T lambda`
    /// needs nothing but the fine linearisation of that layer.
    fn shares_linearization(&self, step: &Step) -> bool {
        let borrows = matches!(self.coarse, CoarseOperator::FirstLayer | CoarseOperator::Midpoint);
        step.kind == StepKind::Ode && (borrows || step.fine.len() == 1)
    }
}
