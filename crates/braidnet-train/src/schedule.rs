//! How the forward and the backward solve of a training step are done.

use braidnet_grid::{Coarsening, GridError, Hierarchy, LastInterval, Partition, TimeGrid};
use braidnet_mgrit::{Activations, FinalSweep, Method, MgritOptions, Relaxation, TemporalNorm, Tolerance};
use braidnet_nn::CoarseOperator;
use serde::{Deserialize, Serialize};

use crate::{InitialGuess, TrainError};

/// The ways of a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Layer by layer across the ranks, both ways; exact.
    Sequential,
    /// MGRIT both ways.
    LayerParallel,
    /// Layer by layer forward, MGRIT backward: exact states, inexact gradients.
    Mixed,
    /// Layer by layer both ways, with several micro-batches on their way at once; exact.
    Pipeline,
}

/// How the micro-batches of a training step go through the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MicroBatching {
    /// One after the other, each solved by all ranks together.
    #[default]
    InTurn,
    /// Each rank at another one: one forward, one backward (1F1B).
    Pipelined,
}

/// One solve of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SolveConfig {
    /// Multigrid, or Newton's method, for which only iterations and tolerance count, and norms are always formed.
    #[serde(default)]
    pub method: Method,
    /// Levels at most; 1 is sequential.
    pub max_levels: usize,
    /// Coarsening factor, at least 2.
    pub cfactor: usize,
    /// Iterations.
    pub max_iters: usize,
    /// Relaxation of the finest level.
    pub relaxation: Relaxation,
    /// Relaxation of the coarse levels.
    pub coarse_relaxation: Relaxation,
    /// Start on the coarsest level.
    pub skip_downcycle: bool,
    /// A level with fewer steps is not made.
    pub min_coarse: usize,
    /// When to stop before `max_iters`, by the 2-norm over time of the residual.
    pub tolerance: Option<Tolerance>,
    /// Form residual norms even without a tolerance, to watch rho.
    pub norms: bool,
    /// What it begins with.
    #[serde(default)]
    pub guess: InitialGuess,
    /// Walk through a rank's C-points in the last sweep of multigrid ([`FinalSweep::Joined`]): faster and more exact, but what it yields depends on
    /// how many ranks there are.
    #[serde(default)]
    pub join_intervals: bool,
}

impl SolveConfig {
    /// Two levels, one iteration, F-relaxation, first down-cycle skipped: the least work that still is MGRIT.
    pub fn new(cfactor: usize) -> Self {
        Self {
            method: Method::Multigrid,
            max_levels: 2,
            cfactor,
            max_iters: 1,
            relaxation: Relaxation::F,
            coarse_relaxation: Relaxation::Fcf(1),
            skip_downcycle: true,
            min_coarse: 2,
            tolerance: None,
            norms: false,
            guess: InitialGuess::Zero,
            join_intervals: false,
        }
    }

    /// One level.
    pub fn sequential() -> Self {
        Self { max_levels: 1, ..Self::new(2) }
    }

    /// Newton's method with the diagonals of the layers' Jacobians, for networks that offer them.
    pub fn newton(max_iters: usize) -> Self {
        Self { method: Method::Newton, max_iters, ..Self::new(2) }
    }

    /// Whether it is the plain loop.
    pub fn is_sequential(&self) -> bool {
        self.method == Method::Multigrid && self.max_levels == 1
    }

    /// The solver's options.
    ///
    /// # Errors
    /// [`ScheduleError`] naming `direction` and all problems.
    pub fn options(&self, direction: &'static str) -> Result<MgritOptions, ScheduleError> {
        let mut problems = Vec::new();
        if self.max_levels == 0 {
            problems.push("levels is 0: use 1 for a sequential solve, 2 or more for multigrid".to_owned());
        }
        if self.cfactor < 2 && self.max_levels != 1 {
            let cfactor = self.cfactor;
            problems.push(format!("the coarsening factor is {cfactor}: use at least 2, or 1 level to not coarsen"));
        }
        if self.max_iters == 0 {
            problems.push("iterations is 0: use at least 1".to_owned());
        }
        if self.guess == InitialGuess::ClassMeans && direction == "backward" {
            problems.push("the mean states of classes say nothing of the adjoint: guess zero or carried".to_owned());
        }
        if !problems.is_empty() {
            return Err(ScheduleError { direction, problems });
        }
        if self.method == Method::Newton {
            return Ok(MgritOptions::newton(self.max_iters, self.tolerance));
        }
        let norm = (self.norms || self.tolerance.is_some()).then_some(TemporalNorm::Two);
        Ok(MgritOptions {
            relaxation: vec![self.relaxation, self.coarse_relaxation],
            skip_downcycle: self.skip_downcycle,
            tolerance: self.tolerance,
            norm,
            final_sweep: if self.join_intervals { FinalSweep::Joined } else { FinalSweep::F },
            ..MgritOptions::network(self.coarsening(), self.max_iters)
        })
    }

    fn coarsening(&self) -> Coarsening {
        Coarsening {
            max_levels: self.max_levels,
            cfactors: vec![self.cfactor],
            min_coarse: self.min_coarse,
            last_interval: LastInterval::Short,
        }
    }
}

impl std::fmt::Display for SolveConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_sequential() {
            return write!(f, "sequential");
        }
        if self.method == Method::Newton {
            return write!(f, "Newton, {} iterations", self.max_iters);
        }
        let Self { max_levels, cfactor, max_iters, relaxation, coarse_relaxation, skip_downcycle, .. } = self;
        let name = |r: &Relaxation| match r.fc_sweeps() {
            0 => "F".to_owned(),
            1 => "FCF".to_owned(),
            n => format!("{n}xFC+F"),
        };
        write!(f, "{max_levels} levels, cfactor {cfactor}, {max_iters} iterations, {}", name(relaxation))?;
        if *max_levels > 2 {
            write!(f, " (coarse {})", name(coarse_relaxation))?;
        }
        write!(f, "{}", if *skip_downcycle { ", first down-cycle skipped" } else { "" })?;
        write!(f, "{}", if self.join_intervals { ", intervals of a rank joined" } else { "" })?;
        match self.guess {
            InitialGuess::Zero => Ok(()),
            guess => write!(f, ", {guess} as guess"),
        }
    }
}

/// Both solves of a training step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Solve for the states.
    pub forward: SolveConfig,
    /// Solve for the adjoint.
    pub backward: SolveConfig,
    /// What is kept between the two.
    #[serde(default)]
    pub activations: Activations,
    /// The way of micro-batches.
    #[serde(default)]
    pub micro_batching: MicroBatching,
}

impl Schedule {
    /// The schedule of a kind, with the given solves where it is not sequential.
    pub fn new(kind: ScheduleKind, forward: SolveConfig, backward: SolveConfig) -> Self {
        match kind {
            ScheduleKind::Sequential => Self::sequential(),
            ScheduleKind::LayerParallel => Self { forward, backward, ..Self::sequential() },
            ScheduleKind::Mixed => Self { backward, ..Self::sequential() },
            ScheduleKind::Pipeline => Self { micro_batching: MicroBatching::Pipelined, ..Self::sequential() },
        }
    }

    /// Layer by layer, both ways.
    pub fn sequential() -> Self {
        let [forward, backward] = [SolveConfig::sequential(), SolveConfig::sequential()];
        Self { forward, backward, activations: Activations::Store, micro_batching: MicroBatching::InTurn }
    }

    /// Length in layers of the longest coarse step of either solve: the natural period of
    /// [`DepthInit::Piecewise`](braidnet_nn::DepthInit::Piecewise).
    ///
    /// # Errors
    /// An invalid solve.
    pub fn longest_run(&self, grid: &TimeGrid) -> Result<usize, TrainError> {
        self.longest(grid, Hierarchy::longest_run)
    }

    /// As [`Schedule::longest_run`], of the coarsest level: what must be on one rank where coarse steps need whole runs.
    ///
    /// # Errors
    /// An invalid solve.
    pub fn coarsest_run(&self, grid: &TimeGrid) -> Result<usize, TrainError> {
        self.longest(grid, Hierarchy::coarsest_run)
    }

    /// The longest run of either solve, of those that `run` says.
    fn longest(&self, grid: &TimeGrid, run: fn(&Hierarchy) -> usize) -> Result<usize, TrainError> {
        let mut longest = 1;
        for options in [self.forward.options("forward")?, self.backward.options("backward")?] {
            if options.method == Method::Multigrid {
                longest = longest.max(run(&Hierarchy::new(grid, &options.coarsening)?));
            }
        }
        Ok(longest)
    }

    /// Which rank owns which layers: equal counts, or, where coarse steps by `operator` need whole runs, equal counts of
    /// those, as far as there is one for every rank.
    ///
    /// # Errors
    /// An invalid solve, or more ranks than layers.
    pub fn partition(
        &self,
        grid: &TimeGrid,
        n_ranks: usize,
        operator: CoarseOperator,
    ) -> Result<Partition, TrainError> {
        let borders = self.borders(grid, n_ranks, operator)?;
        Ok(Self::between(&borders, &Partition::even(borders.len() - 1, n_ranks)?)?)
    }

    /// As [`Schedule::partition`], with layers (or whole runs) so that no rank's cost more than they must; `costs` has one of every
    /// layer.
    ///
    /// # Errors
    /// As [`Schedule::partition`], and a cost that is no number of at least 0.
    pub fn partition_by_cost(
        &self,
        grid: &TimeGrid,
        n_ranks: usize,
        operator: CoarseOperator,
        costs: &[f64],
    ) -> Result<Partition, TrainError> {
        let borders = self.borders(grid, n_ranks, operator)?;
        let of_run = |run: &[usize]| costs.iter().take(run[1]).skip(run[0]).sum();
        let runs: Vec<f64> = borders.windows(2).map(of_run).collect();
        Ok(Self::between(&borders, &Partition::by_cost(&runs, n_ranks)?)?)
    }

    /// Where ranks' layers may begin and end: between any two, or between coarse steps.
    fn borders(&self, grid: &TimeGrid, n_ranks: usize, operator: CoarseOperator) -> Result<Vec<usize>, TrainError> {
        let n = grid.n_steps();
        let mut borders: Vec<usize> = (0..=n).collect();
        if operator.needs_whole_runs() {
            for options in [self.forward.options("forward")?, self.backward.options("backward")?] {
                if options.method == Method::Multigrid {
                    let hierarchy = Hierarchy::new(grid, &options.coarsening)?;
                    let starts = hierarchy.coarsest_starts();
                    borders.retain(|border| *border == n || starts.contains(border));
                }
            }
        }
        Ok(if n_ranks < borders.len() { borders } else { (0..=n).collect() })
    }

    /// Blocks of what lies between `borders`, as `of_runs` counts it.
    fn between(borders: &[usize], of_runs: &Partition) -> Result<Partition, GridError> {
        let starts = (0..of_runs.n_ranks()).map(|rank| borders[of_runs.layers(rank).start]);
        Partition::from_borders(starts.chain(borders.last().copied()))
    }

    /// Whether states and gradients are those of the plain loop.
    pub fn is_exact(&self) -> bool {
        let is_sequential = self.forward.is_sequential() && self.backward.is_sequential();
        is_sequential || self.micro_batching == MicroBatching::Pipelined
    }

    /// The same MGRIT solve both ways.
    pub fn layer_parallel(solve: SolveConfig) -> Self {
        Self { forward: solve.clone(), backward: solve, ..Self::sequential() }
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.micro_batching, self.forward == self.backward) {
            (MicroBatching::Pipelined, _) => write!(f, "pipeline, one forward one backward")?,
            (MicroBatching::InTurn, true) => write!(f, "{}", self.forward)?,
            (MicroBatching::InTurn, false) => write!(f, "forward: {}; backward: {}", self.forward, self.backward)?,
        }
        match self.activations {
            Activations::Store => Ok(()),
            Activations::Recompute => write!(f, "; activations recomputed"),
        }
    }
}

/// A solve that cannot be done; all problems at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {direction} solve: {}", .problems.join("; "))]
pub struct ScheduleError {
    /// `forward` or `backward`.
    pub direction: &'static str,
    /// One sentence per problem.
    pub problems: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_of_a_solve_are_listed() {
        let bad = SolveConfig { max_levels: 0, max_iters: 0, ..SolveConfig::new(1) };
        let message = bad.options("backward").unwrap_err().to_string();
        for part in ["backward", "levels is 0", "coarsening factor is 1", "iterations is 0"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn ranks_own_whole_runs_where_the_operator_needs_them() {
        let schedule = Schedule::layer_parallel(SolveConfig::new(4));
        let grid = TimeGrid::uniform(18, 0.0, 1.0).unwrap();
        let layers = |ranks, operator| {
            let partition = schedule.partition(&grid, ranks, operator).unwrap();
            (0..ranks).map(|rank| partition.layers(rank)).collect::<Vec<_>>()
        };
        assert_eq!(layers(2, CoarseOperator::Midpoint), [0..9, 9..18]);
        assert_eq!(layers(2, CoarseOperator::Centred), [0..12, 12..18]);
        assert_eq!(layers(5, CoarseOperator::Centred), [0..4, 4..8, 8..12, 12..16, 16..18]);
        assert_eq!(layers(6, CoarseOperator::Centred)[0], 0..3);
    }

    #[test]
    fn whole_runs_are_those_of_the_coarsest_level() {
        let solve = SolveConfig { max_levels: 3, ..SolveConfig::new(4) };
        let grid = TimeGrid::uniform(100, 0.0, 1.0).unwrap();
        let partition = Schedule::layer_parallel(solve).partition(&grid, 3, CoarseOperator::Mean).unwrap();
        assert_eq!([0, 1, 2].map(|rank| partition.layers(rank)), [0..48, 48..80, 80..100]);
    }

    #[test]
    fn mixed_is_sequential_forward_only() {
        let schedule = Schedule::new(ScheduleKind::Mixed, SolveConfig::new(4), SolveConfig::new(8));
        assert_eq!((schedule.forward.max_levels, schedule.backward.cfactor), (1, 8));
    }
}
