//! The prediction of one step.

use std::ops::Range;

use braidnet_comm::simulate::{Simulated, simulate};
use braidnet_grid::{Hierarchy, Partition, TimeGrid};
use braidnet_mgrit::Method;

use super::step::{Done, Job, step};
use super::{Costs, Machine, PredictError};
use crate::{MicroBatching, OptimizerConfig, Schedule, TrainError};

/// A way to do a training step.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// How the two solves are done. Tolerances are left out: every solve takes all its iterations.
    pub schedule: Schedule,
    /// Ranks that share the layers of one copy of the network.
    pub layer_ranks: usize,
    /// Copies of the network.
    pub data_ranks: usize,
    /// Micro-batches of a copy.
    pub micro_batches: usize,
    /// Samples of the global batch.
    pub samples: usize,
    /// For the memory of its moments.
    pub optimizer: OptimizerConfig,
}

impl Setup {
    /// The whole batch at once on one rank, or on the ranks of one copy.
    pub fn new(schedule: Schedule, layer_ranks: usize, samples: usize) -> Self {
        let optimizer = OptimizerConfig::Sgd { momentum: 0.9 };
        Self { schedule, layer_ranks, data_ranks: 1, micro_batches: 1, samples, optimizer }
    }

    /// Ranks in all.
    pub fn n_ranks(&self) -> usize {
        self.layer_ranks * self.data_ranks
    }

    /// Whether at most one rank works at any time.
    fn works_alone(&self) -> bool {
        let schedule = &self.schedule;
        let in_turn = schedule.micro_batching == MicroBatching::InTurn;
        let is_plain = in_turn && schedule.forward.is_sequential() && schedule.backward.is_sequential();
        self.n_ranks() == 1 || (self.data_ranks == 1 && is_plain)
    }

    fn check(&self, n_layers: usize) -> Result<(), PredictError> {
        let Self { layer_ranks, data_ranks, micro_batches, samples, .. } = self;
        let problem = if *layer_ranks == 0 || *data_ranks == 0 || *micro_batches == 0 {
            format!(
                "{layer_ranks} layer ranks, {data_ranks} data ranks, {micro_batches} micro-batches: use at least 1 of each"
            )
        } else if *layer_ranks > n_layers {
            format!("{layer_ranks} layer ranks for {n_layers} layers: use at most as many")
        } else if samples / data_ranks < *micro_batches {
            format!(
                "{samples} samples for {data_ranks} copies with {micro_batches} micro-batches each: use at most as many"
            )
        } else {
            return Ok(());
        };
        Err(PredictError::NotPossible { problem })
    }
}

/// What a step will take.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Seconds of the step, from the common start to the end of the last rank.
    pub seconds: f64,
    /// By rank: layer ranks of the first copy, then those of the second, and so on.
    pub ranks: Vec<RankPrediction>,
}

/// One rank's part of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct RankPrediction {
    /// Its layers.
    pub layers: Range<usize>,
    /// Seconds to its end.
    pub seconds: f64,
    /// Of them, waiting for messages.
    pub waiting: f64,
    /// Estimate of its memory in bytes, without the working memory of the layers.
    pub memory: u64,
    /// Messages it sends.
    pub messages: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Prediction {
    /// Part of ranks times step in which a rank waits, or has ended before the last one.
    pub fn bubble(&self) -> f64 {
        let busy: f64 = self.ranks.iter().map(|rank| rank.seconds - rank.waiting).sum();
        1.0 - busy / (self.seconds * self.ranks.len() as f64)
    }

    /// The largest memory of a rank.
    pub fn memory(&self) -> u64 {
        self.ranks.iter().map(|rank| rank.memory).max().unwrap_or(0)
    }
}

/// Predicts the step that `setup` says of the network with such `costs` on `machine`.
///
/// Layers go to ranks by count, or by cost where they differ; the same result however many processors there are.
///
/// # Errors
/// [`PredictError::NotPossible`] where a rank would have no layer, no sample, or not the layers of its coarse steps; bad costs, and an
/// invalid schedule.
///
/// # Cost
/// A thread per rank; a message is one of theirs.
pub fn predict(costs: &Costs, machine: &Machine, setup: &Setup) -> Result<Prediction, PredictError> {
    costs.check()?;
    setup.check(costs.n_layers())?;
    let (grid, runs) = (costs.grid()?, costs.runs());
    let setup = &without_tolerances(setup);
    let partition = partition(costs, setup, &grid)?;
    check_runs(costs, setup, &grid, &partition)?;
    let slowdown = if setup.works_alone() { 1.0 } else { machine.crowding };
    let job = Job { costs, runs: &runs, setup, grid: &grid, partition: &partition, slowdown, combine: machine.combine };
    let ranks = simulate(setup.n_ranks(), &machine.links(), |world| step(&job, &world))?;
    let started = ranks.iter().map(|rank| rank.value.started).fold(f64::INFINITY, f64::min);
    let of = |Simulated { value, .. }: Simulated<Done>| {
        let Done { layers, ended, waiting, memory, messages, bytes, .. } = value;
        RankPrediction { layers, seconds: ended - started, waiting, memory, messages, bytes }
    };
    let ranks: Vec<RankPrediction> = ranks.into_iter().map(of).collect();
    let seconds = ranks.iter().map(|rank| rank.seconds).fold(0.0, f64::max);
    Ok(Prediction { seconds, ranks })
}

fn without_tolerances(setup: &Setup) -> Setup {
    let mut setup = setup.clone();
    (setup.schedule.forward.tolerance, setup.schedule.backward.tolerance) = (None, None);
    setup
}

fn partition(costs: &Costs, setup: &Setup, grid: &TimeGrid) -> Result<Partition, PredictError> {
    let Setup { schedule, layer_ranks, .. } = setup;
    Ok(match costs.layers.len() {
        1 => schedule.partition(grid, *layer_ranks, costs.operator)?,
        _ => {
            let samples = setup.samples.div_ceil(setup.data_ranks * setup.micro_batches);
            schedule.partition_by_cost(grid, *layer_ranks, costs.operator, &costs.of_layers(samples))?
        }
    })
}

/// That every coarse step has the layers that it needs on one rank.
fn check_runs(costs: &Costs, setup: &Setup, grid: &TimeGrid, partition: &Partition) -> Result<(), PredictError> {
    let Schedule { forward, backward, .. } = &setup.schedule;
    for options in [forward.options("forward"), backward.options("backward")] {
        let options = options.map_err(TrainError::from)?;
        if !costs.operator.needs_whole_runs() || options.method != Method::Multigrid {
            continue;
        }
        for level in Hierarchy::new(grid, &options.coarsening)?.levels() {
            let mut runs = (0..level.n_steps()).map(|j| level.step(j).fine);
            if let Some(run) = runs.find(|run| partition.owner(run.start) != partition.owner(run.end - 1)) {
                let problem = format!(
                    "layers {run:?} make one coarse step by {:?} but are on several ranks: use fewer ranks, or a smaller cfactor",
                    costs.operator
                );
                return Err(PredictError::NotPossible { problem });
            }
        }
    }
    Ok(())
}
