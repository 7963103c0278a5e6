//! Schedules and splits of the ranks, tried and sorted by time.

use std::fmt;

use braidnet_mgrit::Relaxation;

use super::{Costs, Machine, PredictError, Prediction, Setup, predict};
use crate::{OptimizerConfig, Schedule, ScheduleKind, SolveConfig};

/// The kinds of ways to use ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Layer by layer, on one rank or across ranks.
    Sequential,
    /// A copy of the network on every rank.
    DataParallel,
    /// Micro-batches through ranks that share the layers.
    Pipeline,
    /// MGRIT both ways.
    LayerParallel,
    /// Layer by layer forward, MGRIT backward.
    Mixed,
    /// Several copies, each on several ranks, as a pipeline or with MGRIT.
    Hybrid,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Sequential, Self::DataParallel, Self::Pipeline, Self::LayerParallel, Self::Mixed, Self::Hybrid];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sequential => "sequential",
            Self::DataParallel => "data-parallel",
            Self::Pipeline => "pipeline",
            Self::LayerParallel => "layer-parallel",
            Self::Mixed => "mixed",
            Self::Hybrid => "hybrid",
        })
    }
}

/// What is tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Samples of the global batch.
    pub samples: usize,
    /// For the memory of its moments.
    pub optimizer: OptimizerConfig,
    /// Levels.
    pub levels: Vec<usize>,
    /// Coarsening factors.
    pub cfactors: Vec<usize>,
    /// Iterations forward and backward.
    pub iterations: Vec<[usize; 2]>,
    /// Relaxations of the finest level, where an iteration relaxes at all.
    pub relaxations: Vec<Relaxation>,
    /// Whether the intervals of a rank are joined in the last sweep.
    pub joins: Vec<bool>,
    /// Micro-batches of a pipeline.
    pub micro_batches: Vec<usize>,
}

impl Search {
    /// 2 or 3 levels, cfactor 2 to 16, 1 or 2 iterations forward and 1 back, F- and FCF-relaxation, intervals of a rank joined or not, 2 to 32
    /// micro-batches.
    pub fn new(samples: usize, optimizer: OptimizerConfig) -> Self {
        Self {
            samples,
            optimizer,
            levels: vec![2, 3],
            cfactors: vec![2, 4, 8, 16],
            iterations: vec![[1, 1], [2, 1]],
            relaxations: vec![Relaxation::F, Relaxation::Fcf(1)],
            joins: vec![false, true],
            micro_batches: vec![2, 4, 8, 16, 32],
        }
    }

    /// The MGRIT solves that a network of so many layers has room for, forward and backward.
    fn solves(&self, n_layers: usize) -> Vec<[SolveConfig; 2]> {
        let mut all = Vec::new();
        for (levels, cfactor) in self.levels.iter().flat_map(|l| self.cfactors.iter().map(move |c| (*l, *c))) {
            let base = SolveConfig { max_levels: levels, ..SolveConfig::new(cfactor) };
            let coarsest = cfactor.checked_pow(levels as u32 - 1).map_or(0, |run| n_layers / run);
            if coarsest < base.min_coarse {
                continue;
            }
            let pairs = self.iterations.iter().flat_map(|i| self.relaxations.iter().map(move |r| (*i, *r)));
            for (iterations, relaxation) in pairs {
                // The first iteration starts on the coarsest level and relaxes nothing.
                let relaxes = iterations.iter().any(|n| *n > 1);
                if !relaxes && relaxation != Relaxation::F {
                    continue;
                }
                for join_intervals in self.joins.iter().copied() {
                    let base = SolveConfig { relaxation, join_intervals, ..base.clone() };
                    all.push(iterations.map(|max_iters| SolveConfig { max_iters, ..base.clone() }));
                }
            }
        }
        all
    }

    /// Pipelines, MGRIT both ways, and mixed with the same backward solves.
    fn ways(&self, n_layers: usize) -> Vec<Way> {
        let sequential = SolveConfig::sequential();
        let pipeline = Schedule::new(ScheduleKind::Pipeline, sequential.clone(), sequential);
        let micro_batches = self.micro_batches.iter();
        let mut all: Vec<Way> = micro_batches.map(|micro| (Kind::Pipeline, pipeline.clone(), *micro)).collect();
        for [forward, backward] in self.solves(n_layers) {
            let of = |kind| Schedule::new(kind, forward.clone(), backward.clone());
            all.push((Kind::LayerParallel, of(ScheduleKind::LayerParallel), 1));
            let mixed = (Kind::Mixed, of(ScheduleKind::Mixed), 1);
            // One iteration relaxes nothing.
            if !all.contains(&mixed) && (backward.max_iters > 1 || backward.relaxation == Relaxation::F) {
                all.push(mixed);
            }
        }
        all
    }
}

/// Kind, schedule and micro-batches.
type Way = (Kind, Schedule, usize);

/// A way to use ranks, and what it will take.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// What it is.
    pub kind: Kind,
    /// How it is done.
    pub setup: Setup,
    /// What it takes.
    pub prediction: Prediction,
}

/// Predicts what `search` says for `n_ranks` ranks, the fastest first; without what is not possible on them. Of hybrids, the two that are
/// fastest without the data axis are predicted for every split. How exact the gradients of a schedule are is not known here.
///
/// # Errors
/// As [`predict`], but for [`PredictError::NotPossible`].
///
/// # Cost
/// Dozens of simulations of as many ranks.
pub fn propose(
    costs: &Costs,
    machine: &Machine,
    n_ranks: usize,
    search: &Search,
) -> Result<Vec<Proposal>, PredictError> {
    costs.check()?;
    let mut found = Vec::new();
    let mut attempt = |kind, setup: Setup| -> Result<(), PredictError> {
        if let Some(prediction) = possible(predict(costs, machine, &setup))? {
            found.push(Proposal { kind, setup, prediction });
        }
        Ok(())
    };
    let on = |schedule, layer_ranks| Setup {
        optimizer: search.optimizer,
        ..Setup::new(schedule, layer_ranks, search.samples)
    };
    attempt(Kind::Sequential, on(Schedule::sequential(), n_ranks))?;
    if n_ranks > 1 {
        attempt(Kind::DataParallel, Setup { data_ranks: n_ranks, ..on(Schedule::sequential(), 1) })?;
    }
    let ways = search.ways(costs.n_layers());
    // On one rank all intervals joined are the sequential step, and a pipeline is a slower one.
    let is_other = |(kind, schedule, _): &&Way| *kind != Kind::Pipeline && !schedule.backward.join_intervals;
    for (kind, schedule, micro_batches) in ways.iter().filter(|way| n_ranks > 1 || is_other(way)) {
        attempt(*kind, Setup { micro_batches: *micro_batches, ..on(schedule.clone(), n_ranks) })?;
    }
    for layer_ranks in (2..n_ranks).filter(|layers| n_ranks.is_multiple_of(*layers)) {
        let like = Setup { data_ranks: n_ranks / layer_ranks, ..on(Schedule::sequential(), layer_ranks) };
        for setup in hybrids(costs, machine, &like, &ways)? {
            attempt(Kind::Hybrid, setup)?;
        }
    }
    found.sort_by(|a, b| a.prediction.seconds.total_cmp(&b.prediction.seconds));
    Ok(found)
}

/// The fastest ways of one copy on its part of the batch, for as many copies as `data_ranks` of `like`.
fn hybrids(costs: &Costs, machine: &Machine, like: &Setup, ways: &[Way]) -> Result<Vec<Setup>, PredictError> {
    const KEPT: usize = 2;
    if like.samples < like.data_ranks {
        return Ok(Vec::new());
    }
    let samples = like.samples.div_ceil(like.data_ranks);
    let mut all = Vec::new();
    for (_, schedule, micro_batches) in ways {
        let whole = Setup { schedule: schedule.clone(), micro_batches: *micro_batches, ..like.clone() };
        let alone = Setup { data_ranks: 1, samples, ..whole.clone() };
        if let Some(prediction) = possible(predict(costs, machine, &alone))? {
            all.push((prediction.seconds, whole));
        }
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(all.into_iter().take(KEPT).map(|(_, whole)| whole).collect())
}

fn possible(outcome: Result<Prediction, PredictError>) -> Result<Option<Prediction>, PredictError> {
    match outcome {
        Ok(prediction) => Ok(Some(prediction)),
        Err(PredictError::NotPossible { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
