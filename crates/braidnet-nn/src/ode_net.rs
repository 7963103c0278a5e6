//! Networks made of an opening layer, ODE layers and a closing layer.

use std::ops::Range;

use braidnet_grid::{Step, StepKind};
use braidnet_mgrit::{Output, State, StepError};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};

use crate::rhs::At;
use crate::{
    BlockOn, ByPoint, Closed, CoarseOperator, Depth, Gradients, Network, NetworkError, OdeBlock, OdeLinearization,
    OpeningPullback, Parameter, Pass, RhsTape, RightHandSide, StateSpace, load_parameters, visit_parameters,
};

/// From a batch of inputs to the first state.
pub trait OpeningLayer<S: StateSpace>: Module + ModuleDisplay + Sync + 'static {
    /// The first state.
    fn open(&self, input: &S::Input, batch: &S::Batch) -> S::State;

    /// As [`OpeningLayer::open`], and how to form the gradients.
    fn open_recorded(&self, input: &S::Input, batch: &S::Batch) -> (S::State, OpeningPullback<S::State>);
}

/// From the last state to the output.
pub trait ClosingLayer<S: StateSpace>: Module + ModuleDisplay + Sync + 'static {
    /// The output, shape `[rows, classes]`.
    fn close(&self, state: &S::State, batch: &S::Batch) -> Tensor<2>;

    /// As [`ClosingLayer::close`], with the loss that `loss` makes of the output, and its derivatives.
    fn close_recorded(
        &self,
        state: &S::State,
        batch: &S::Batch,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Closed<S::State>;
}

/// The part of a network that consists of consecutive layers: opening layer `O`, ODE layers `R` and closing layer `C` on
/// states of the space `S`.
#[derive(Module, Debug)]
pub struct OdeNet<S: StateSpace, O: Module + ModuleDisplay, R: Module + ModuleDisplay, C: Module + ModuleDisplay> {
    /// Opening layer, if the part starts with layer 0.
    pub opening: Option<O>,
    /// First layers, outside the solver.
    pub before: OdeBlock<R>,
    /// ODE layers.
    pub block: OdeBlock<R>,
    /// Last layers, outside the solver.
    pub after: OdeBlock<R>,
    /// Closing layer, if the part ends with the last layer.
    pub closing: Option<C>,
    #[module(skip)]
    space: S,
    #[module(skip)]
    depth: Depth,
    #[module(skip)]
    tied: Vec<[String; 2]>,
}

/// `layers.00017`: sorts by depth, whatever the part.
fn layer_prefix(n: usize) -> String {
    format!("layers.{n:05}")
}

impl<S: StateSpace, O: Module + ModuleDisplay, R: Module + ModuleDisplay, C: Module + ModuleDisplay>
    OdeNet<S, O, R, C>
{
    /// The part of a network that has the layers `range` of those that the solver counts.
    ///
    /// # Errors
    /// The first error of `opening`, `layer` (called with a global index) or `closing`.
    pub fn build(
        (space, depth, coarse, device): (S, Depth, CoarseOperator, &Device),
        range: Range<usize>,
        opening: impl FnOnce() -> Result<O, NetworkError>,
        mut layer: impl FnMut(usize) -> Result<R, NetworkError>,
        closing: impl FnOnce() -> Result<C, NetworkError>,
    ) -> Result<Self, NetworkError> {
        let (is_first, is_last) = (range.start == 0, range.end == depth.solved());
        let mut block = |layers: Range<usize>| {
            let first = layers.start;
            let layers = layers.map(&mut layer).collect::<Result<_, _>>()?;
            Ok::<_, NetworkError>(OdeBlock::new(first, layers, coarse, device).counted_from(depth.buffer))
        };
        let [before, own, after] = depth.ranges(&range);
        let (before, block, after) = (block(before)?, block(own)?, block(after)?);
        let opening = is_first.then(opening).transpose()?;
        let closing = is_last.then(closing).transpose()?;
        Ok(Self { opening, before, block, after, closing, space, depth, tied: Vec::new() })
    }

    /// Says that two parameters, by global name, are one: of the opening layer the first, of the closing layer the second.
    pub(crate) fn tie(mut self, opening: &str, closing: &str) -> Self {
        self.tied.push([opening.to_owned(), closing.to_owned()]);
        self
    }

    /// What states are.
    pub fn space(&self) -> &S {
        &self.space
    }

    /// Layers and time steps of the whole network.
    pub fn depth(&self) -> &Depth {
        &self.depth
    }

    /// Calls `f` with every parameter, named by global layer (`layers.00017.conv1.weight`).
    pub fn visit_parameters(&self, mut f: impl FnMut(Parameter)) {
        if let Some(opening) = &self.opening {
            visit_parameters(opening, "open", &mut f);
        }
        for (n, layer) in self.before.layers().chain(self.block.layers()).chain(self.after.layers()) {
            visit_parameters(layer, &layer_prefix(n), &mut f);
        }
        if let Some(closing) = &self.closing {
            visit_parameters(closing, "close", &mut f);
        }
    }

    /// Loads every parameter by global name from `source`, which returns shape and values in PyTorch's layout.
    ///
    /// # Errors
    /// [`NetworkError::MissingParameter`], [`NetworkError::WrongShape`].
    pub fn load(self, mut source: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>) -> Result<Self, NetworkError> {
        let opening = self.opening.map(|o| load_parameters(o, "open", &mut source)).transpose()?;
        let mut load =
            |block: OdeBlock<R>| block.try_map_layers(|n, layer| load_parameters(layer, &layer_prefix(n), &mut source));
        let (before, block, after) = (load(self.before)?, load(self.block)?, load(self.after)?);
        let closing = self.closing.map(|c| load_parameters(c, "close", &mut source)).transpose()?;
        Ok(Self { opening, before, block, after, closing, ..self })
    }
}

impl<S, O, R, C> OdeNet<S, O, R, C>
where
    S: StateSpace,
    O: OpeningLayer<S>,
    R: RightHandSide<Space = S>,
    C: ClosingLayer<S>,
{
    /// Where a layer outside the solver is evaluated.
    fn at<'a>(&self, layer: usize, batch: &'a S::Batch) -> At<'a, S::Batch> {
        At { layers: layer.into(), dt: self.depth.dt(), batch }
    }

    /// Takes `u` through layers outside the solver.
    fn through(&self, block: &OdeBlock<R>, u: &mut S::State, batch: &S::Batch) {
        for (n, layer) in block.layers() {
            let f = layer.evaluate(u.clone(), self.at(n, batch));
            self.advance(n, u, f);
        }
    }

    /// As `through`, and linearises every layer.
    fn linearize(&self, block: &OdeBlock<R>, u: &mut S::State, batch: &S::Batch) -> Vec<Outside<R::Tape>> {
        let each = block.layers().map(|(n, layer)| {
            let (f, tape) = layer.linearize(u.clone(), self.at(n, batch), Output::Used);
            self.advance(n, u, f);
            (self.depth.kind(n), tape)
        });
        each.collect()
    }

    /// Puts `f`, which a layer outside the solver makes of `u`, where it belongs.
    fn advance(&self, layer: usize, u: &mut S::State, f: S::State) {
        match self.depth.kind(layer) {
            StepKind::Ode => u.axpy(self.depth.dt(), &f),
            StepKind::Transition => *u = f,
        }
    }
}

/// The linearisation of a layer outside the solver, and what the layer is.
type Outside<T> = (StepKind, T);

/// Takes `lambda` back through layers outside the solver, whose steps have the length `dt`.
fn pull_back<S: State, T: RhsTape<State = S>>(
    tapes: Vec<Outside<T>>,
    dt: f64,
    lambda: &mut S,
) -> Result<Gradients, StepError> {
    let mut gradients = Gradients::new();
    for (kind, tape) in tapes.into_iter().rev() {
        let mut delta = lambda.clone();
        if kind == StepKind::Ode {
            delta.scale(dt);
        }
        let (term, pending) = tape.pullback_with_gradients(delta, Output::Used)?;
        match (term, kind) {
            (Some(term), StepKind::Ode) => lambda.axpy(1.0, &term),
            (Some(term), StepKind::Transition) => *lambda = term,
            (None, _) => {}
        }
        gradients.extend(pending()?);
    }
    Ok(gradients)
}

impl<S, O, R, C> Network for OdeNet<S, O, R, C>
where
    S: StateSpace,
    O: OpeningLayer<S>,
    R: RightHandSide<Space = S>,
    C: ClosingLayer<S>,
{
    type State = S::State;
    type Batch = S::Batch;
    type Tape = OdeLinearization<R::Tape>;
    type Block<'a> = BlockOn<'a, R>;
    type Input = S::Input;

    fn device(&self) -> Device {
        self.block.device().clone()
    }

    fn stacked(self, stacked: bool) -> Self {
        Self { block: self.block.stacked(stacked), ..self }
    }

    fn block<'a>(&'a self, batch: &'a S::Batch) -> BlockOn<'a, R> {
        self.block.on(&self.space, batch)
    }

    fn supports(&self, step: &Step) -> Result<(), StepError> {
        self.space.supports(step.level, step.layer + self.depth.buffer)?;
        self.block.supports(step)
    }

    fn buffer_layers(&self) -> usize {
        self.depth.buffer
    }

    fn step_length(&self) -> f64 {
        self.depth.dt()
    }

    fn batch_of_size(&self, samples: usize, pass: Pass) -> Option<S::Batch> {
        S::SIZE_SAYS_ALL.then(|| self.space.largest_batch(samples, pass))
    }

    fn check(&self, input: &S::Input) -> Result<(), NetworkError> {
        self.space.check(input)
    }

    fn batch(&self, input: &S::Input, pass: Pass) -> S::Batch {
        self.space.batch(input, pass)
    }

    fn largest_batch(&self, samples: usize) -> S::Batch {
        self.space.largest_batch(samples, Pass::Training(None))
    }

    fn zero_states(&self, batch: &S::Batch) -> ByPoint<S::State> {
        self.space.zeros(batch, self.block.device()).counted_from(self.depth.buffer)
    }

    fn has_samples(&self) -> bool {
        S::HAS_SAMPLES
    }

    fn sample(&self, state: &S::State, sample: usize) -> Option<S::State> {
        self.space.sample(state, sample)
    }

    fn of_samples(&self, samples: Vec<S::State>) -> Option<S::State> {
        self.space.of_samples(samples)
    }

    fn state_bytes(&self, point: usize, batch: &S::Batch) -> usize {
        self.space.state_bytes(point + self.depth.buffer, batch)
    }

    fn tape_bytes(&self, layer: usize, batch: &S::Batch) -> usize {
        let state_bytes = self.state_bytes(layer, batch);
        let (_, layer) = self.block.layers().find(|(n, _)| *n == layer + self.depth.buffer).unzip();
        layer.map_or(0, |layer| layer.tape_bytes(batch, state_bytes))
    }

    fn open(&self, input: &S::Input, batch: &S::Batch) -> Option<S::State> {
        let mut u = self.opening.as_ref()?.open(input, batch);
        self.through(&self.before, &mut u, batch);
        Some(u)
    }

    fn open_recorded(&self, input: &S::Input, batch: &S::Batch) -> Option<(S::State, OpeningPullback<S::State>)> {
        let (mut u, opening) = self.opening.as_ref()?.open_recorded(input, batch);
        let tapes = self.linearize(&self.before, &mut u, batch);
        let dt = self.depth.dt();
        let pullback = move |mut lambda: S::State| {
            let mut gradients = pull_back(tapes, dt, &mut lambda)?;
            gradients.extend(opening(lambda)?);
            Ok(gradients)
        };
        Some((u, Box::new(pullback)))
    }

    fn close(&self, state: &S::State, batch: &S::Batch) -> Option<Tensor<2>> {
        let closing = self.closing.as_ref()?;
        let mut u = state.clone();
        self.through(&self.after, &mut u, batch);
        Some(closing.close(&u, batch))
    }

    fn close_recorded(
        &self,
        state: &S::State,
        batch: &S::Batch,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Result<Option<Closed<S::State>>, StepError> {
        let Some(closing) = &self.closing else { return Ok(None) };
        let mut u = state.clone();
        let tapes = self.linearize(&self.after, &mut u, batch);
        let mut closed = closing.close_recorded(&u, batch, loss);
        let gradients = pull_back(tapes, self.depth.dt(), &mut closed.lambda)?;
        closed.gradients.extend(gradients);
        Ok(Some(closed))
    }

    fn tied(&self) -> Vec<[String; 2]> {
        self.tied.clone()
    }

    fn visit_parameters(&self, f: impl FnMut(Parameter)) {
        OdeNet::visit_parameters(self, f);
    }

    fn load(self, source: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>) -> Result<Self, NetworkError> {
        OdeNet::load(self, source)
    }
}
