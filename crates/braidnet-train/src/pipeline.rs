//! The pipeline schedule: exact gradients, with each rank at another micro-batch.
//!
//! One forward, one backward (1F1B): rank `r` of `P` first sends `P - 1 - r` micro-batches forward, then takes turns, so
//! that it never holds more than `P - r` of them. With `M` micro-batches of equal cost it stands still for the part
//! `(P - 1) / (M + P - 1)` of a step, the bubble.
//!
//! Reference: Narayanan et al., Efficient large-scale language model training on GPU clusters, SC 2021.

use std::collections::VecDeque;
use std::time::Instant;

use braidnet_comm::Tag;
use braidnet_grid::Step;
use braidnet_mgrit::{
    Activations, Differentiable, Linearization, MgritError, NotFinite, Output, Propagator, State, StepError, place,
};
use braidnet_nn::{Closed, Gradients, Network, OpeningPullback, Pass};
use tracing::trace_span;

use crate::data::Micro;
use crate::forward::close;
use crate::model::Opened;
use crate::step::{n_correct, weighted};
use crate::{Forwarded, GradientReducer, LayerParallel, Shard, StepReport, Task, TrainError};

/// Tags apart from the solver's, of which there are four a level and at most 200 levels.
const FORWARD: Tag = 1000;
const BACKWARD: Tag = 1001;
const BATCH: Tag = 1002;

/// A micro-batch that has gone forward through this rank and not yet back.
struct InFlight<N: Network> {
    opening: Option<OpeningPullback<N::State>>,
    batch: N::Batch,
    kept: Kept<N>,
    /// On the last rank, where the adjoint starts.
    closed: Option<Closed<N::State>>,
}

/// What is kept for the way back.
enum Kept<N: Network> {
    Tapes(Vec<N::Tape>),
    /// The state before this rank's first layer.
    State(N::State),
}

/// All micro-batches of a shard.
pub(crate) fn run<N: Network, T>(
    model: &LayerParallel<N>,
    shard: &Shard<'_, N::Input, T>,
    task: &Task<T>,
    reducer: &mut GradientReducer,
    forwarded: &mut dyn FnMut(&Forwarded) -> Result<(), TrainError>,
) -> Result<StepReport, TrainError> {
    let mut pipeline =
        Pipeline { model, steps: model.own_steps(), report: StepReport::default(), in_flight: VecDeque::new() };
    let n = shard.micro.len();
    for turn in turns(model.comm.rank(), model.comm.size(), n) {
        match turn {
            Turn::Forward(at) => {
                pipeline.forward(shard, at, task)?;
                if at + 1 == n {
                    forwarded(&pipeline.report.forwarded)?;
                }
            }
            Turn::Backward(at) => {
                reducer.next_micro_batch(at + 1 == n, shard.micro[at].size as f64 / shard.global as f64);
                pipeline.backward(reducer)?;
            }
        }
    }
    Ok(pipeline.report)
}

/// What a rank does next, and with which micro-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Forward(usize),
    Backward(usize),
}

/// One forward, one backward, for `n` micro-batches.
pub(crate) fn turns(rank: usize, n_ranks: usize, n: usize) -> impl Iterator<Item = Turn> {
    let ahead = (n_ranks - 1 - rank).min(n);
    (0..n + ahead).flat_map(move |at| {
        let forward = (at < n).then_some(Turn::Forward(at));
        let backward = (at >= ahead).then(|| Turn::Backward(at - ahead));
        forward.into_iter().chain(backward)
    })
}

struct Pipeline<'a, N: Network> {
    model: &'a LayerParallel<N>,
    /// This rank's layers.
    steps: Vec<Step>,
    report: StepReport,
    in_flight: VecDeque<InFlight<N>>,
}

impl<N: Network> Pipeline<'_, N> {
    fn forward<T>(&mut self, shard: &Shard<'_, N::Input, T>, at: usize, task: &Task<T>) -> Result<(), TrainError> {
        let micro = &shard.micro[at];
        let (batch, opened) = self.open(micro)?;
        let (mut state, opening) = match opened {
            Some((state, opening)) => (state, Some(opening)),
            None => (self.receive(self.model.comm.rank() - 1, FORWARD)?, None),
        };
        let span = trace_span!(target: braidnet_monitor::timeline::TARGET, "forward", micro = at).entered();
        let kept = self.through(&mut state, &batch)?;
        if !state.norm_squared().is_finite() {
            let layer = self.steps.last().map_or(0, |step| step.layer);
            self.report.forwarded.note(Some(NotFinite { what: "output", layer }));
        }
        drop(span);
        let mut closed = None;
        if self.model.is_last() {
            let target = micro.target.as_ref();
            let items = task.n_items(micro.size, target);
            let weight = items as f64 / shard.global as f64;
            let loss = |output| weighted(task, output, target, weight);
            let end = close(self.model.working(), state, &batch, loss)?;
            if let Some(end) = &end {
                self.report.forwarded.add_loss(end.loss, items);
                self.report.forwarded.correct += n_correct(task, &end.output, target);
            }
            closed = end;
        } else {
            self.model.comm.send(self.model.comm.rank() + 1, FORWARD, state)?;
        }
        self.in_flight.push_back(InFlight { opening, batch, kept, closed });
        Ok(())
    }

    /// What the layers need of a micro-batch, and on the first rank its first state. Unless the number of samples says it all,
    /// it travels ahead of the state: ranks are at different micro-batches, so that a broadcast would stop them.
    fn open<T>(&self, micro: &Micro<N::Input, T>) -> Result<(N::Batch, Opened<N>), TrainError> {
        let (model, rank) = (self.model, self.model.comm.rank());
        let known = model.network.batch_of_size(micro.size, Pass::Training(None));
        let must_tell = known.is_none() && !model.is_last();
        let (batch, opened) = match known {
            _ if model.is_first() => model.open_alone(micro)?,
            Some(batch) => (batch, None),
            None => (model.comm.receive(rank - 1, BATCH)?.wait(&model.network.device())?, None),
        };
        if must_tell {
            model.comm.send(rank + 1, BATCH, batch.clone())?;
        }
        // The first rank has prepared its own.
        Ok((if model.is_first() { batch } else { model.working().layers.prepare(batch) }, opened))
    }

    /// Takes a state through this rank's layers.
    fn through(&self, state: &mut N::State, batch: &N::Batch) -> Result<Kept<N>, TrainError> {
        let block = self.model.working().layers.block(batch);
        match self.model.activations {
            Activations::Store => Ok(Kept::Tapes(self.linearize(state, batch)?)),
            Activations::Recompute => {
                let before = state.clone();
                for step in &self.steps {
                    place::enter_layer("forward pass", step.layer);
                    let stepped = block.step(std::slice::from_ref(step), std::slice::from_mut(state));
                    place::computed([&*state]);
                    stepped.map_err(|source| self.failed(step, source))?;
                }
                Ok(Kept::State(before))
            }
        }
    }

    fn linearize(&self, state: &mut N::State, batch: &N::Batch) -> Result<Vec<N::Tape>, TrainError> {
        let block = self.model.working().layers.block(batch);
        let tapes = self.steps.iter().map(|step| {
            place::enter_layer("linearisation", step.layer);
            let tape = block.linearize(step, state, Output::Used).map_err(|source| self.failed(step, source))?;
            place::computed([&*state]);
            Ok(tape)
        });
        tapes.collect()
    }

    /// Takes the oldest micro-batch back: lambda first, which the rank before waits for, then the gradients.
    fn backward(&mut self, reducer: &mut GradientReducer) -> Result<(), TrainError> {
        let Some(InFlight { opening, batch, kept, closed }) = self.in_flight.pop_front() else { return Ok(()) };
        let mut lambda = match closed {
            Some(closed) => {
                reducer.push(closed.gradients)?;
                closed.lambda
            }
            None => self.receive(self.model.comm.rank() + 1, BACKWARD)?,
        };
        let span = trace_span!(target: braidnet_monitor::timeline::TARGET, "backward").entered();
        let tapes = match kept {
            Kept::Tapes(tapes) => tapes,
            Kept::State(mut state) => self.linearize(&mut state, &batch)?,
        };
        let mut pending = Vec::with_capacity(tapes.len());
        for (step, tape) in self.steps.iter().zip(tapes).rev() {
            place::enter_layer("adjoint", step.layer);
            let formed = tape.pullback_with_gradients(step, &mut lambda, Output::Used);
            place::computed([&lambda]);
            pending.push((step, formed.map_err(|source| self.failed(step, source))?));
        }
        drop(span);
        if !lambda.norm_squared().is_finite() {
            self.report.bad_adjoint = self.report.bad_adjoint.or(self.steps.first().map(|step| step.layer));
        }
        let opening = match opening {
            Some(opening) => Some((opening, lambda)),
            None => {
                self.model.comm.send(self.model.comm.rank() - 1, BACKWARD, lambda)?;
                None
            }
        };
        let _span = trace_span!(target: braidnet_monitor::timeline::TARGET, "gradients").entered();
        let network = self.model.working();
        let mut overflow = network.overflow();
        for (step, pending) in pending {
            place::enter_layer("gradients", step.layer);
            let gradients: Gradients = pending().map_err(|source| self.failed(step, source))?;
            overflow.note(step.layer, &gradients);
            reducer.push(network.gradients(gradients))?;
        }
        let shared = network.layers.complete(&batch);
        overflow.note(self.steps.first().map_or(0, |step| step.layer), &shared);
        reducer.push(network.gradients(shared))?;
        self.report.bad_adjoint = self.report.bad_adjoint.or(overflow.first());
        opening.map_or(Ok(()), |(pullback, lambda)| reducer.push(pullback(lambda).map_err(TrainError::Opening)?))
    }

    fn receive(&mut self, from: usize, tag: Tag) -> Result<N::State, TrainError> {
        let start = Instant::now();
        let state = self.model.comm.receive(from, tag)?.wait(&self.model.network.device())?;
        self.report.seconds_waiting += start.elapsed().as_secs_f64();
        Ok(state)
    }

    fn failed(&self, step: &Step, source: StepError) -> TrainError {
        MgritError::Step { level: 0, layer: step.layer, rank: self.model.comm.rank(), source }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rank_runs_ahead() {
        use Turn::{Backward as B, Forward as F};
        let of = |rank| turns(rank, 3, 4).collect::<Vec<_>>();
        assert_eq!(of(0), [F(0), F(1), F(2), B(0), F(3), B(1), B(2), B(3)]);
        assert_eq!(of(2), [F(0), B(0), F(1), B(1), F(2), B(2), F(3), B(3)]);
        assert_eq!(turns(0, 4, 1).collect::<Vec<_>>(), [F(0), B(0)]);
    }
}
