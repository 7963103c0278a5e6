//! Times of layers and of coarse steps.

use std::time::Instant;

use braidnet_grid::{Coarsening, Hierarchy, Step};
use braidnet_mgrit::{Differentiable, Linearization, MgritError, Output, Propagator, State, StepError};
use braidnet_nn::Network;

use super::median;
use crate::{LayerParallel, SolveConfig, TrainError};

/// What is timed of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Forward,
    Linearize,
    Pullback,
    Back,
    BackUnused,
    Gradients,
    CoarseForward,
    CoarsePullback,
    CoarseLinearize,
}

/// A layer, an operation, and its seconds once.
pub(crate) type Time = (usize, Op, f64);

const OPS: [Op; 9] = [
    Op::Forward,
    Op::Linearize,
    Op::Pullback,
    Op::Back,
    Op::BackUnused,
    Op::Gradients,
    Op::CoarseForward,
    Op::CoarsePullback,
    Op::CoarseLinearize,
];

/// The times of all ranks.
pub(crate) struct Measured {
    times: Vec<Time>,
    /// Bytes of the states before and behind every layer: layers of equal ones count as equal.
    sizes: Vec<[usize; 2]>,
}

impl Measured {
    /// # Errors
    /// A failed message.
    ///
    /// # Communication
    /// One all-gather over the layer axis.
    pub fn gather<N: Network>(model: &LayerParallel<N>, samples: usize, own: Vec<Time>) -> Result<Self, TrainError> {
        let (network, batch) = (&model.network, model.network.largest_batch(samples));
        let bytes = |point| network.state_bytes(point, &batch);
        let sizes = (0..model.n_layers()).map(|layer| [bytes(layer), bytes(layer + 1)]).collect();
        let flat = own.into_iter().flat_map(|(layer, op, seconds)| [layer as f64, op as usize as f64, seconds]);
        let all = model.comm.all_gather(flat.collect::<Vec<f64>>(), &())?.concat();
        let of = |entry: &[f64]| Some((entry[0] as usize, *OPS.get(entry[1] as usize)?, entry[2]));
        Ok(Self { times: all.chunks_exact(3).filter_map(of).collect(), sizes })
    }

    /// The median over all layers of the sizes of `layer`, if one was timed.
    pub fn seconds(&self, layer: usize, op: Op) -> Option<f64> {
        let is_alike = |time: &&Time| time.1 == op && self.sizes[time.0] == self.sizes[layer];
        let alike: Vec<f64> = self.times.iter().filter(is_alike).map(|(.., seconds)| *seconds).collect();
        (!alike.is_empty()).then(|| median(alike))
    }
}

impl<N: Network> LayerParallel<N> {
    /// Times this rank's layers once, forward and back, in the order of a sequential step, on states that begin as zeros.
    /// All linearisations are there at once.
    pub(crate) fn time_layers(&self, batch: &N::Batch) -> Result<Vec<Time>, TrainError> {
        let batch = self.network.prepare(batch.clone());
        let block = self.network.block(&batch);
        let first = self.network.zero_states(&batch).at(self.layers().start).clone();
        let mut clock = Clock { rank: self.comm.rank(), times: Vec::new() };
        let steps = self.own_steps();
        let (states, tapes) = linearize(&mut clock, &block, &steps, &first, Output::Used)?;
        let Some(last) = states.last().cloned() else { return Ok(clock.times) };
        let mut lambda = last.clone();
        for (step, tape) in steps.iter().zip(&tapes).rev() {
            clock.time(step, Op::Pullback, || tape.pullback(step, &mut lambda))?;
        }
        self.time_coarse_steps(&mut clock, &block, &states, &tapes)?;
        back(&mut clock, &steps, tapes, last.clone(), Output::Used)?;
        let (_, tapes) = linearize(&mut clock, &block, &steps, &first, Output::Discarded)?;
        back(&mut clock, &steps, tapes, last, Output::Discarded)?;
        let (mut state, mut kept) = (first, Vec::new());
        for step in &steps {
            kept.push(state.clone());
            clock
                .time(step, Op::Forward, || block.step(std::slice::from_ref(step), std::slice::from_mut(&mut state)))?;
        }
        Ok(clock.times)
    }

    /// Coarse steps of the first coarse level whose layers are all on this rank; `states` and `tapes` are those of its layers.
    fn time_coarse_steps<'a>(
        &'a self,
        clock: &mut Clock,
        block: &N::Block<'a>,
        states: &[N::State],
        tapes: &[N::Tape],
    ) -> Result<(), TrainError> {
        let own = self.layers();
        let hierarchy = self.hierarchy_measured()?;
        let Some(level) = hierarchy.levels().get(1) else { return Ok(()) };
        let steps = (0..level.n_steps()).map(|j| level.step(j));
        let here = |step: &Step| step.fine.len() > 1 && own.start <= step.fine.start && step.fine.end <= own.end;
        for step in steps.filter(here) {
            let before = block.restrict(0, &states[step.layer - own.start]);
            let mut state = before.clone();
            clock.time(&step, Op::CoarseForward, || {
                block.step(std::slice::from_ref(&step), std::slice::from_mut(&mut state))
            })?;
            if block.shared_linearization(&step).is_none() {
                let mut behind = before.clone();
                let tape = clock
                    .time(&step, Op::CoarseLinearize, || block.linearize(&step, &mut behind, Output::Discarded))?;
                clock.time(&step, Op::CoarsePullback, || tape.pullback(&step, &mut state))?;
                continue;
            }
            let parts = block.parts(&step);
            clock.time(&step, Op::CoarsePullback, || {
                parts.iter().rev().try_for_each(|part| {
                    let layer = block.shared_linearization(part).unwrap_or(part.layer);
                    tapes[layer - own.start].pullback(part, &mut state)
                })
            })?;
        }
        Ok(())
    }

    /// Of the backward solve, or by 4.
    fn hierarchy_measured(&self) -> Result<Hierarchy, TrainError> {
        let coarsening = |solve: SolveConfig| Ok::<Coarsening, TrainError>(solve.options("backward")?.coarsening);
        let own = &self.solvers.adjoint.options().coarsening;
        let coarsening = if own.max_levels > 1 { own.clone() } else { coarsening(SolveConfig::new(4))? };
        Ok(Hierarchy::new(&self.grid, &coarsening)?)
    }
}

/// The states before all steps, and behind the last, and the linearisations.
type Swept<S, L> = (Vec<S>, Vec<L>);

fn linearize<D: Differentiable>(
    clock: &mut Clock,
    block: &D,
    steps: &[Step],
    first: &D::State,
    output: Output,
) -> Result<Swept<D::State, D::Linearization>, TrainError> {
    let (mut state, mut states, mut tapes) = (first.clone(), Vec::new(), Vec::new());
    for step in steps {
        states.push(state.clone());
        // What a discarded output leaves is not the state that the next layer expects.
        let mut behind = state.clone();
        match output {
            Output::Used => {
                tapes.push(clock.time(step, Op::Linearize, || block.linearize(step, &mut behind, output))?);
                state = behind;
            }
            Output::Discarded => tapes.push(clock.untimed(step, block.linearize(step, &mut state, Output::Used))?),
        }
    }
    states.push(state);
    Ok((states, tapes))
}

fn back<L: Linearization>(
    clock: &mut Clock,
    steps: &[Step],
    tapes: Vec<L>,
    last: L::State,
    output: Output,
) -> Result<(), TrainError>
where
    L::State: State,
{
    let mut lambda = last;
    for (step, tape) in steps.iter().zip(tapes).rev() {
        match output {
            Output::Used => {
                let pending =
                    clock.time(step, Op::Back, || tape.pullback_with_gradients(step, &mut lambda, Output::Used))?;
                clock.time(step, Op::Gradients, pending)?;
            }
            Output::Discarded => {
                let mut unused = lambda.clone();
                tape.pullback(step, &mut lambda).map_err(|source| clock.failed(step, source))?;
                drop(clock.time(step, Op::BackUnused, || tape.pullback_with_gradients(step, &mut unused, output))?);
            }
        }
    }
    Ok(())
}

/// Times what is done with steps.
struct Clock {
    rank: usize,
    times: Vec<Time>,
}

impl Clock {
    fn time<T>(&mut self, step: &Step, op: Op, act: impl FnOnce() -> Result<T, StepError>) -> Result<T, TrainError> {
        let start = Instant::now();
        let done = act();
        self.times.push((step.layer, op, start.elapsed().as_secs_f64()));
        self.untimed(step, done)
    }

    fn untimed<T>(&self, step: &Step, done: Result<T, StepError>) -> Result<T, TrainError> {
        done.map_err(|source| self.failed(step, source))
    }

    fn failed(&self, step: &Step, source: StepError) -> TrainError {
        MgritError::Step { level: step.level, layer: step.layer, rank: self.rank, source }.into()
    }
}
