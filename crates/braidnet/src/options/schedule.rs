//! How the solves are done.

use braidnet_mgrit::{Method, Relaxation};
use braidnet_train::{Activations, InitialGuess, Schedule, ScheduleKind, SolveConfig};
use clap::{Args, ValueEnum};

/// Schedules by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScheduleName {
    /// Layer by layer both ways; exact.
    Sequential,
    /// MGRIT both ways.
    LayerParallel,
    /// Layer by layer forward, MGRIT backward.
    Mixed,
    /// Layer by layer both ways, several micro-batches at once; exact.
    Pipeline,
}

/// Relaxations by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RelaxationName {
    /// F-relaxation.
    F,
    /// FCF-relaxation.
    Fcf,
    /// FCFCF-relaxation.
    Fcfcf,
}

impl From<RelaxationName> for Relaxation {
    fn from(name: RelaxationName) -> Self {
        match name {
            RelaxationName::F => Self::F,
            RelaxationName::Fcf => Self::Fcf(1),
            RelaxationName::Fcfcf => Self::Fcf(2),
        }
    }
}

/// What is kept between the solves, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ActivationsName {
    /// What the adjoint needs of every layer.
    Store,
    /// C-point states alone; each interval is evaluated again in the adjoint.
    Recompute,
}

/// Solvers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SolverName {
    /// MGRIT.
    Multigrid,
    /// Newton's method with a parallel prefix, for networks that offer the diagonals of their Jacobians.
    Newton,
}

/// What a solve begins with, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GuessName {
    /// Zeros.
    Zero,
    /// The first state at all points, through the transitions between them.
    Carried,
    /// Of every sample the mean state of its class so far; forward only, and without effect if the first down-cycle is skipped on grids of one size.
    ClassMeans,
}

impl From<GuessName> for InitialGuess {
    fn from(name: GuessName) -> Self {
        match name {
            GuessName::Zero => Self::Zero,
            GuessName::Carried => Self::Carried,
            GuessName::ClassMeans => Self::ClassMeans,
        }
    }
}

/// How the two solves of a training step are done.
#[derive(Debug, Clone, Args)]
pub struct ScheduleArgs {
    /// Schedule of a training step.
    #[arg(long, value_enum, default_value_t = ScheduleName::LayerParallel)]
    pub schedule: ScheduleName,
    /// Solver of what is not done layer by layer. Of the options of a solve, Newton's method takes the iterations.
    #[arg(long, value_enum, default_value_t = SolverName::Multigrid)]
    pub solver: SolverName,
    /// What is kept between the forward and the backward solve.
    #[arg(long, value_enum, default_value_t = ActivationsName::Store)]
    pub activations: ActivationsName,
    /// Levels of the forward solve at most.
    #[arg(long, default_value_t = 2)]
    pub fwd_levels: usize,
    /// Levels of the backward solve at most.
    #[arg(long, default_value_t = 2)]
    pub bwd_levels: usize,
    /// Coarsening factor of the forward solve.
    #[arg(long, default_value_t = 4)]
    pub fwd_cfactor: usize,
    /// Coarsening factor of the backward solve.
    #[arg(long, default_value_t = 4)]
    pub bwd_cfactor: usize,
    /// Iterations of the forward solve.
    #[arg(long, default_value_t = 1)]
    pub fwd_max_iters: usize,
    /// Iterations of the backward solve.
    #[arg(long, default_value_t = 1)]
    pub bwd_max_iters: usize,
    /// Relaxation of the finest level in the forward solve.
    #[arg(long, value_enum, default_value_t = RelaxationName::F)]
    pub fwd_relax: RelaxationName,
    /// Relaxation of the finest level in the backward solve.
    #[arg(long, value_enum, default_value_t = RelaxationName::F)]
    pub bwd_relax: RelaxationName,
    /// Start the forward solve on the coarsest level.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub fwd_skip_downcycle: bool,
    /// Start the backward solve on the coarsest level.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub bwd_skip_downcycle: bool,
    /// What the forward solve begins with.
    #[arg(long, value_enum, default_value_t = GuessName::Zero)]
    pub fwd_guess: GuessName,
    /// What the backward solve begins with.
    #[arg(long, value_enum, default_value_t = GuessName::Zero)]
    pub bwd_guess: GuessName,
    /// Walk through a rank's C-points in the last sweep of multigrid, both ways: faster and more exact, but what a step yields then
    /// depends on the number of layer ranks.
    #[arg(long)]
    pub join_intervals: bool,
    /// Relaxation of the coarse levels, both ways.
    #[arg(long, value_enum, default_value_t = RelaxationName::Fcf)]
    pub coarse_relax: RelaxationName,
    /// A level with fewer steps is not made.
    #[arg(long, default_value_t = 2)]
    pub min_coarse: usize,
    /// Form residual norms in every solve, to watch rho; costs a collective call per solve.
    #[arg(long)]
    pub norms: bool,
}

impl ScheduleArgs {
    /// The schedule.
    pub fn schedule(&self) -> Schedule {
        let method = match self.solver {
            SolverName::Multigrid => Method::Multigrid,
            SolverName::Newton => Method::Newton,
        };
        let common = |cfactor| SolveConfig {
            method,
            coarse_relaxation: self.coarse_relax.into(),
            min_coarse: self.min_coarse,
            norms: self.norms,
            join_intervals: self.join_intervals,
            ..SolveConfig::new(cfactor)
        };
        let forward = SolveConfig {
            max_levels: self.fwd_levels,
            max_iters: self.fwd_max_iters,
            relaxation: self.fwd_relax.into(),
            skip_downcycle: self.fwd_skip_downcycle,
            guess: self.fwd_guess.into(),
            ..common(self.fwd_cfactor)
        };
        let backward = SolveConfig {
            max_levels: self.bwd_levels,
            max_iters: self.bwd_max_iters,
            relaxation: self.bwd_relax.into(),
            skip_downcycle: self.bwd_skip_downcycle,
            guess: self.bwd_guess.into(),
            ..common(self.bwd_cfactor)
        };
        let kind = match self.schedule {
            ScheduleName::Sequential => ScheduleKind::Sequential,
            ScheduleName::LayerParallel => ScheduleKind::LayerParallel,
            ScheduleName::Mixed => ScheduleKind::Mixed,
            ScheduleName::Pipeline => ScheduleKind::Pipeline,
        };
        let activations = match self.activations {
            ActivationsName::Store => Activations::Store,
            ActivationsName::Recompute => Activations::Recompute,
        };
        Schedule { activations, ..Schedule::new(kind, forward, backward) }
    }
}
