//! One training step of one rank, on its clock: the code that runs, on states without numbers.

mod pipelined;

use std::ops::Range;

use braidnet_comm::simulate::{Blank, now, spend, waited};
use braidnet_comm::{Communicator, ReduceOp};
use braidnet_grid::{Partition, TimeGrid};
use braidnet_mgrit::{Guess, LayerGradients, OnNonFinite, Sources, solve_adjoint_into};

use super::Setup;
use super::costs::{Costs, EndCosts, LayerCosts};
use super::ghost::Ghost;
use super::memory::{Holdings, of_parameters, points};
use super::network::Ghosts;
use super::reducer::{Part, Reducer};
use crate::solvers::Solvers;
use crate::{InitialGuess, MicroBatching, TrainError};

/// What all ranks know of a step.
pub(super) struct Job<'a> {
    pub costs: &'a Costs,
    pub runs: &'a [usize],
    pub setup: &'a Setup,
    pub grid: &'a TimeGrid,
    pub partition: &'a Partition,
    /// How many times longer everything takes than measured.
    pub slowdown: f64,
    /// Seconds per byte of an all-reduce besides sending.
    pub combine: f64,
}

/// What one rank did in a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Done {
    pub layers: Range<usize>,
    pub started: f64,
    pub ended: f64,
    pub waiting: f64,
    pub memory: u64,
    pub messages: u64,
    pub bytes: u64,
}

/// One rank in a step.
struct Rank<'a> {
    job: &'a Job<'a>,
    layer: Communicator,
    own: Range<usize>,
    /// Sizes of its micro-batches.
    micro: Vec<usize>,
    reducer: Reducer,
    points: [Vec<usize>; 2],
}

/// A step of the rank that `world` is handed to.
pub(super) fn step(job: &Job<'_>, world: &Communicator) -> Result<Done, TrainError> {
    let (layer, data) = axes(world, job.setup.layer_ranks, job.setup.data_ranks)?;
    let sent = || [&layer, &data].map(|comm| comm.traffic());
    let before = sent();
    let mut rank = Rank::new(job, layer.clone(), data.clone());
    let (started, waited_before) = (now(), waited());
    match job.setup.schedule.micro_batching {
        MicroBatching::InTurn => rank.in_turn()?,
        MicroBatching::Pipelined => rank.pipelined()?,
    }
    rank.finish()?;
    let (ended, waiting) = (now(), waited() - waited_before);
    let memory = rank.memory();
    let (mut messages, mut bytes) = (0, 0);
    for (after, before) in sent().into_iter().zip(before) {
        messages += after.messages + after.collective_messages - before.messages - before.collective_messages;
        bytes += after.bytes + after.collective_bytes - before.bytes - before.collective_bytes;
    }
    Ok(Done { layers: rank.own, started, ended, waiting, memory, messages, bytes })
}

/// Layer and data axis, as [`Mesh`](braidnet_comm::Mesh) lays them, with all clocks at one time.
fn axes(world: &Communicator, layers: usize, copies: usize) -> Result<(Communicator, Communicator), TrainError> {
    if copies == 1 {
        return Ok((world.clone(), Communicator::alone()));
    }
    if layers == 1 {
        return Ok((Communicator::alone(), world.clone()));
    }
    let along = |color: usize| world.split(Some(color as u64), 0);
    let axes = (along(world.rank() / layers)?, along(world.rank() % layers)?);
    let (Some(layer), Some(data)) = axes else { return Ok((world.clone(), Communicator::alone())) };
    let mut latest = [now()];
    world.all_reduce(&mut latest, ReduceOp::Max)?;
    // The two splits took longer than this all-reduce, so no clock is there yet.
    spend((3.0 * latest[0] + 1.0 - now()).max(0.0));
    Ok((layer, data))
}

/// Part `at` of `n` samples in `parts` parts, as loaders cut them.
fn share(n: usize, parts: usize, at: usize) -> usize {
    n / parts + usize::from(at < n % parts)
}

impl<'a> Rank<'a> {
    fn new(job: &'a Job<'a>, layer: Communicator, data: Communicator) -> Self {
        let setup = job.setup;
        let samples = share(setup.samples, setup.data_ranks, data.rank());
        let sizes = (0..setup.micro_batches).map(|at| share(samples, setup.micro_batches, at));
        let (micro, own) = (sizes.filter(|n| *n > 0).collect(), job.partition.layers(layer.rank()));
        let reducer = Reducer::new(&parts(job, &layer, &own), data);
        Self { job, layer, own, micro, reducer, points: Default::default() }
    }

    fn is_first(&self) -> bool {
        self.layer.rank() == 0
    }

    fn is_last(&self) -> bool {
        self.layer.rank() + 1 == self.layer.size()
    }

    fn network(&self, samples: usize) -> Ghosts<'a> {
        let Job { costs, runs, slowdown, .. } = *self.job;
        Ghosts { costs, runs, samples, slowdown }
    }

    /// The layers at the ends that are here.
    fn ends(&self) -> impl Iterator<Item = &'a EndCosts> {
        let Costs { opening, closing, .. } = self.job.costs;
        let ends = [(self.is_last(), closing), (self.is_first(), opening)];
        ends.into_iter().filter(|(is_here, _)| *is_here).map(|(_, end)| end)
    }

    /// One micro-batch after the other, each solved by all ranks together.
    fn in_turn(&mut self) -> Result<(), TrainError> {
        let Job { setup, grid, partition, .. } = *self.job;
        let schedule = &setup.schedule;
        let options = [schedule.forward.options("forward")?, schedule.backward.options("backward")?];
        let solvers = Solvers::new(grid, partition, options, &self.layer)?.starting_as(schedule);
        let mut solvers = solvers.set_up(schedule.activations, OnNonFinite::Fail);
        for (n, samples) in self.micro.clone().into_iter().enumerate() {
            let network = self.network(samples);
            self.reducer.is_last = n + 1 == self.micro.len();
            self.solve(&network, &mut solvers)?;
        }
        self.points = [points(&solvers.forward), points(&solvers.adjoint)];
        Ok(())
    }

    /// Forward, loss and back, as [`LayerParallel::forward`](crate::LayerParallel::forward) and
    /// [`Loss::backward_into`](crate::Loss::backward_into) do it.
    fn solve(&mut self, network: &Ghosts<'_>, solvers: &mut Solvers<Ghost>) -> Result<(), TrainError> {
        let initial = self.open(network)?;
        let Solvers { forward, adjoint, guesses } = solvers;
        let at = |point| network.state(point);
        let (_, linearized) = forward.solve_linearized(network, initial, guess(guesses[0], &at))?;
        let lambda = self.close(network)?;
        let n_steps = network.runs.len();
        let at = |point| network.state(n_steps - point);
        let (reducer, mut pushed) = (&mut self.reducer, Ok(()));
        let sink = |layer: LayerGradients<()>| {
            if pushed.is_ok() {
                pushed = reducer.push(Part::Layer(layer.layer));
            }
        };
        let guess = guess(guesses[1], &at);
        solve_adjoint_into(adjoint, network, forward, linearized, lambda, Sources::none(), guess, sink)?;
        pushed?;
        self.complete(network)?;
        self.open_back(network)
    }

    /// What the ranks agree on, and on the first the opening layer.
    fn open(&self, network: &Ghosts<'_>) -> Result<Option<Ghost>, TrainError> {
        let costs = self.job.costs;
        let n_bytes = (costs.batch_bytes * network.samples as f64) as usize;
        if n_bytes > 0 {
            let batch = self.is_first().then(|| vec![Blank; n_bytes.div_ceil(4)]);
            self.layer.broadcast(0, batch, &())?;
        }
        self.prepare(network);
        if !self.is_first() {
            return Ok(None);
        }
        spend(network.seconds(&costs.opening.work, 1));
        Ok(Some(network.state(0)))
    }

    fn prepare(&self, network: &Ghosts<'_>) {
        if let Some(times) = &self.job.costs.prepare {
            spend(network.seconds(times, 1));
        }
    }

    /// The closing layer, on the last rank.
    fn close(&mut self, network: &Ghosts<'_>) -> Result<Option<Ghost>, TrainError> {
        if !self.is_last() {
            return Ok(None);
        }
        spend(network.seconds(&self.job.costs.closing.work, 1));
        self.reducer.push(Part::Closing)?;
        Ok(Some(network.state(network.runs.len())))
    }

    /// The gradients of what layers share.
    fn complete(&mut self, network: &Ghosts<'_>) -> Result<(), TrainError> {
        match &self.job.costs.shared {
            Some(shared) => {
                spend(network.seconds(&shared.complete, 1));
                self.reducer.push(Part::Shared)
            }
            None => Ok(()),
        }
    }

    /// The gradients of the opening layer, on the first rank.
    fn open_back(&mut self, network: &Ghosts<'_>) -> Result<(), TrainError> {
        if !self.is_first() {
            return Ok(());
        }
        spend(network.seconds(&self.job.costs.opening.back, 1));
        self.reducer.push(Part::Opening)
    }

    /// Gradients over both axes, then the optimizer.
    fn finish(&mut self) -> Result<(), TrainError> {
        let Job { costs, runs, slowdown, combine, .. } = *self.job;
        if costs.n_shared() > 0 && self.layer.size() > 1 {
            self.layer.all_reduce(&mut vec![Blank; costs.n_shared()], ReduceOp::Sum)?;
            spend(combine * (size_of::<f32>() * costs.n_shared()) as f64);
        }
        self.reducer.finish(combine)?;
        let layers = self.own.clone().map(|layer| costs.layers[runs[layer]].update).sum::<f64>();
        let shared = costs.shared.as_ref().map_or(0.0, |shared| shared.update);
        let ends = self.ends().map(|end| end.update).sum::<f64>();
        spend(slowdown * (layers + shared + ends));
        Ok(())
    }

    /// Estimate, in bytes.
    fn memory(&self) -> u64 {
        let Job { costs, runs, setup, .. } = *self.job;
        let samples = self.micro.first().copied().unwrap_or(0) as f64;
        let mean = |bytes: fn(&LayerCosts) -> f64| {
            let all = self.own.clone().map(|layer| bytes(&costs.layers[runs[layer]])).sum::<f64>();
            (samples * all / self.own.len() as f64).round() as u64
        };
        let (state, tape) = (mean(|layer| layer.state_bytes), mean(|layer| layer.tape_bytes));
        let holdings = Holdings { n_layers: self.own.len(), state, tape };
        let parameters = parts(self.job, &self.layer, &self.own).iter().map(|(_, n)| *n as u64).sum();
        let kept = match setup.schedule.micro_batching {
            MicroBatching::InTurn => {
                let [up, down] = &self.points;
                holdings.of_solves(&setup.schedule, [up, down])
            }
            MicroBatching::Pipelined => {
                let in_flight = (self.layer.size() - self.layer.rank()).min(self.micro.len());
                holdings.of_pipeline(setup.schedule.activations, in_flight as u64)
            }
        };
        of_parameters(parameters, setup.optimizer) + kept
    }
}

fn guess<'a>(guess: InitialGuess, at: &'a dyn Fn(usize) -> Ghost) -> Guess<'a, Ghost> {
    match guess {
        InitialGuess::Carried => Guess::Carried,
        InitialGuess::Zero | InitialGuess::ClassMeans => Guess::From(at),
    }
}

/// Parts of the network on a rank and their parameters, in the order in which the gradients come.
fn parts(job: &Job<'_>, layer: &Communicator, own: &Range<usize>) -> Vec<(Part, usize)> {
    let costs = job.costs;
    let mut layers: Vec<_> =
        own.clone().map(|layer| (Part::Layer(layer), costs.layers[job.runs[layer]].parameters)).collect();
    if job.setup.schedule.backward.is_sequential() {
        layers.reverse();
    }
    let is_last = layer.rank() + 1 == layer.size();
    let closing = is_last.then_some((Part::Closing, costs.closing.parameters));
    let shared = costs.shared.as_ref().map(|shared| (Part::Shared, shared.parameters));
    let opening = (layer.rank() == 0).then_some((Part::Opening, costs.opening.parameters));
    closing.into_iter().chain(layers).chain(shared).chain(opening).collect()
}
