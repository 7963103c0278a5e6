//! A block of ODE layers as the solver sees it.

use std::borrow::Cow;
use std::ops::Range;

use braidnet_grid::Step;
use braidnet_mgrit::StepError;
use burn::module::{Module, ModuleDisplay};
use burn::tensor::Device;

use crate::block_on::{BlockOn, middle};
use crate::coarse::mean_module;
use crate::gpu::is_gpu;
use crate::rhs::BatchOf;
use crate::{CoarseOperator, NetworkError, RightHandSide};

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
    /// Whether layers of several intervals are computed side by side.
    #[module(skip)]
    stacked: bool,
}

impl<R: Module + ModuleDisplay> OdeBlock<R> {
    /// A block of `layers`, the first of which is layer `first` of the network.
    pub fn new(first: usize, layers: Vec<R>, coarse: CoarseOperator, device: &Device) -> Self {
        Self { layers, first, before: 0, coarse, device: device.clone(), stacked: is_gpu(device) }
    }

    /// Whether layers of several intervals are computed side by side, in one call, where their right-hand sides can
    /// ([`RightHandSide::STACKS`]): by default on GPUs, where many small calls leave the device idle, and not on processors, where
    /// they cost nothing. Results differ by round-off.
    pub fn stacked(self, stacked: bool) -> Self {
        Self { stacked, ..self }
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
    pub(crate) fn place(&self, layer: usize) -> Option<usize> {
        (layer + self.before).checked_sub(self.first)
    }

    /// The layers that `step` stands for.
    pub(crate) fn run(&self, step: &Step) -> Result<&[R], NetworkError> {
        let ends = self.place(step.fine.start).zip(self.place(step.fine.end));
        let (operator, run) = (self.coarse, step.fine.clone());
        let layers = ends.and_then(|(start, end)| self.layers.get(start..end));
        layers.ok_or(NetworkError::RunIsSplit { operator, run })
    }

    /// Global index of a layer as the solver counts.
    pub(crate) fn global(&self, layer: usize) -> usize {
        layer + self.before
    }

    /// Whether coarse steps are pulled back as midpoint steps.
    pub(crate) fn is_pulled_back_from_the_middle(&self) -> bool {
        self.coarse == CoarseOperator::Centred
    }

    /// A layer as the solver counts.
    pub(crate) fn layer(&self, layer: usize) -> Result<&R, StepError> {
        self.place(layer).and_then(|n| self.layers.get(n)).ok_or_else(|| {
            format!("layer {} is not among the layers {:?} of this block", layer + self.before, self.range()).into()
        })
    }

    /// The single module whose `F` the step applies, `None` for a sum.
    pub(crate) fn operator(&self, step: &Step) -> Result<Option<Cow<'_, R>>, StepError> {
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
        BlockOn::new(self, space, batch)
    }

    /// Whether its layers are computed side by side.
    pub(crate) fn stacks(&self) -> bool {
        R::STACKS && self.stacked
    }
}
