//! The solver: storage, set-up and the way through a solve.

use std::sync::Arc;
use std::time::Instant;

use braidnet_comm::Communicator;
use braidnet_grid::{Hierarchy, Layout, Level, Partition, Step, TimeGrid};

use crate::cycle::Outcome;
use crate::finite::{NotFinite, find_not_finite};
use crate::options::MAX_LEVELS;
use crate::relax::{AtC, Scratch, Sweep, Visitor};
use crate::setting::{Counters, Setting, Way};
use crate::storage::LevelStorage;
use crate::walk::{Reach, Split};
use crate::{
    Coarsest, FinalSweep, Guess, Method, MgritError, MgritOptions, OnNonFinite, Output, Propagator, SolveReport, State,
    StepError,
};

/// A solver for one grid on the ranks of one communicator.
///
/// Keeps its states from solve to solve: for a warm start, and so that nothing is allocated again.
pub struct Mgrit<S: State> {
    pub(crate) hierarchy: Arc<Hierarchy>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) comm: Communicator,
    pub(crate) options: MgritOptions,
    pub(crate) levels: Vec<LevelStorage<S>>,
    pub(crate) scratch: Scratch<S>,
    pub(crate) counters: Counters,
    way: Way,
}

impl<S: State> Mgrit<S> {
    /// A solver for `grid`, whose layers `partition` shares out over the ranks of `comm`.
    ///
    /// # Errors
    /// Invalid options, or a partition for another number of layers or ranks; before any communication.
    pub fn new(
        grid: &TimeGrid,
        partition: &Partition,
        options: MgritOptions,
        comm: &Communicator,
    ) -> Result<Self, MgritError> {
        options.validate()?;
        let hierarchy = Hierarchy::new(grid, &options.effective_coarsening())?;
        Self::on(hierarchy, partition, options, comm, Way::Forward)
    }

    /// As [`Mgrit::new`], for the adjoint: the same levels walked from the output to the input.
    ///
    /// # Errors
    /// As [`Mgrit::new`], and [`MgritError::Tail`] if a level does not end in a C-point.
    pub fn reversed(
        grid: &TimeGrid,
        partition: &Partition,
        options: MgritOptions,
        comm: &Communicator,
    ) -> Result<Self, MgritError> {
        options.validate()?;
        let forward = Hierarchy::new(grid, &options.effective_coarsening())?;
        let (_, coarsened) = forward.levels().split_last().unwrap_or((forward.finest(), &[]));
        if let Some(level) = coarsened.iter().find(|l| !l.is_c_point(l.n_steps())) {
            return Err(MgritError::Tail { level: level.index() });
        }
        Self::on(forward.reversed(), partition, options, comm, Way::Adjoint)
    }

    fn on(
        hierarchy: Hierarchy,
        partition: &Partition,
        options: MgritOptions,
        comm: &Communicator,
        way: Way,
    ) -> Result<Self, MgritError> {
        if hierarchy.n_levels() > MAX_LEVELS {
            let problem =
                format!("{} levels, at most {MAX_LEVELS} are possible: lower max_levels", hierarchy.n_levels());
            return Err(MgritError::Options { problems: vec![problem] });
        }
        if partition.n_ranks() != comm.size() {
            return Err(MgritError::WrongSize { partition: partition.n_ranks(), communicator: comm.size() });
        }
        let layout = Layout::new(&hierarchy, partition, comm.rank())?;
        let levels = (0..hierarchy.n_levels()).map(|_| LevelStorage::empty()).collect();
        let (scratch, counters) = (Scratch::default(), Counters::default());
        let (hierarchy, layout) = (Arc::new(hierarchy), Arc::new(layout));
        Ok(Self { hierarchy, layout, comm: comm.clone(), options, levels, scratch, counters, way })
    }

    /// The levels.
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// What this rank does on every level.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The options.
    pub fn options(&self) -> &MgritOptions {
        &self.options
    }

    /// Keeps, of the F-points of the finest level, the states of `points` alone (and those at the ends of intervals and
    /// at borders between ranks); the others hold the guess. C-points are always kept. Saves memory where states can
    /// be had again. Without effect with [`Method::Newton`], to which every point is a C-point.
    pub fn keep_only(&mut self, mut points: Vec<usize>) {
        points.sort_unstable();
        self.levels[0].kept = Some(points);
    }

    /// Changes what a NaN in a state does.
    pub fn set_on_non_finite(&mut self, choice: OnNonFinite) {
        self.options.on_non_finite = choice;
    }

    /// Whether [`Mgrit::keep_only`] was called.
    pub(crate) fn keeps_few(&self) -> bool {
        self.levels[0].kept.is_some()
    }

    /// Whether a solve leaves the state at `point` of the finest level, if this rank holds it ([`Mgrit::keep_only`]).
    pub fn keeps(&self, point: usize) -> bool {
        // A sequential solve walks over C-points as over others.
        let is_c_point = self.finest_split() == Split::Intervals && self.level(0).is_c_point(point);
        let is_kept = self.levels[0].kept.as_ref().is_none_or(|points| points.binary_search(&point).is_ok());
        point == self.layout.share(0).steps.start || is_c_point || is_kept
    }

    /// Asks `supports` about every step that this rank would have a propagator do, so that what cannot be done is known
    /// before any work.
    ///
    /// # Errors
    /// [`MgritError::Step`] of the first step that is not supported.
    pub fn check(&self, supports: impl Fn(&Step) -> Result<(), StepError>) -> Result<(), MgritError> {
        let rank = self.comm.rank();
        for level in self.hierarchy.levels() {
            for step in self.layout.share(level.index()).steps.clone().map(|j| level.step(j)) {
                let failed = |source| MgritError::Step { level: step.level, layer: step.layer, rank, source };
                supports(&step).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The state at a point of the finest level, if this rank holds it and a solve has been done; the guess where it is
    /// not kept ([`Mgrit::keep_only`]).
    pub fn state(&self, point: usize) -> Option<&S> {
        self.levels[0].state(self.layout.share(0), point)
    }

    /// The state at the last point of the grid, on the rank that computes it.
    pub fn last_state(&self) -> Option<&S> {
        self.state(self.hierarchy.finest().n_steps())
    }

    /// Solves `u[n+1] = Phi_n(u[n])` from `initial`, which the rank that holds point 0 must give.
    ///
    /// # Errors
    /// A failed step or message, [`MgritError::NonFinite`], [`MgritError::NoInitialState`],
    /// [`MgritError::NothingToWarmStart`].
    ///
    /// # Communication
    /// Every rank must call it. Point to point, one message per sweep, level and block border; one all-reduce per
    /// iteration if norms are on (all at the end if there is no tolerance). With [`Method::Newton`], per iteration one
    /// all-reduce, one message per border, and a prefix over the ranks: at most two messages each per doubling.
    ///
    /// # Cost
    /// See [`SolveReport::evaluations`].
    pub fn solve<P: Propagator<State = S>>(
        &mut self,
        propagator: &P,
        initial: Option<S>,
        guess: Guess<'_, S>,
    ) -> Result<SolveReport, MgritError> {
        let mut visitor = Steps { propagator, at_c: self.final_at_c(AtC::Stop) };
        self.solve_with(propagator, initial, guess, &mut visitor)
    }

    /// The solve, with `last` as the visitor of the final sweep.
    pub(crate) fn solve_with<P: Propagator<State = S>>(
        &mut self,
        propagator: &P,
        initial: Option<S>,
        guess: Guess<'_, S>,
        last: &mut impl Visitor<S>,
    ) -> Result<SolveReport, MgritError> {
        let start = Instant::now();
        self.counters = Counters { evaluations: vec![0; self.levels.len()], ..Counters::default() };
        let setting = Setting {
            comm: self.comm.clone(),
            context: propagator.context(),
            batch: propagator.batch().max(1),
            form: propagator.residual_form(),
            way: self.way,
        };
        self.begin(&setting, propagator, initial, guess)?;
        let Outcome { iterations, stop, residuals, rejected } = self.iterate(&setting, propagator)?;
        let split = match (self.finest_split(), self.options.final_sweep) {
            (Split::Intervals, FinalSweep::Joined) => Split::Joined,
            (split, _) => split,
        };
        self.sweep(&setting, split, Reach::End, 0, last)?;
        let not_finite = find_not_finite(self.hierarchy.finest(), self.layout.share(0), &self.levels[0]);
        if let (OnNonFinite::Fail, Some(NotFinite { what, layer })) = (self.options.on_non_finite, not_finite) {
            return Err(MgritError::NonFinite { what, layer, level: 0, rank: self.comm.rank() });
        }
        let Counters { evaluations, messages, bytes, waiting } = self.counters.clone();
        let (seconds, seconds_waiting) = (start.elapsed().as_secs_f64(), waiting.as_secs_f64());
        Ok(SolveReport {
            iterations,
            stop,
            residuals,
            rejected,
            evaluations,
            messages,
            bytes,
            seconds,
            seconds_waiting,
            not_finite,
        })
    }

    /// What the final sweep does at C-points: `otherwise` unless a final C-relaxation is asked for.
    pub(crate) fn final_at_c(&self, otherwise: AtC) -> AtC {
        match self.options.final_sweep {
            FinalSweep::F | FinalSweep::Joined => otherwise,
            FinalSweep::Fc => AtC::Relax { weight: self.options.c_weight(0) },
        }
    }

    /// One level is solved sequentially, unless it is to be relaxed only, or Newton's method has solved it.
    pub(crate) fn finest_split(&self) -> Split {
        let Mgrit { options, levels, .. } = self;
        match options.coarsest {
            Coarsest::Solve if levels.len() == 1 && options.method == Method::Multigrid => Split::Whole,
            _ => Split::Intervals,
        }
    }

    /// One sweep over this rank's part of `level`.
    pub(crate) fn sweep(
        &mut self,
        setting: &Setting<S>,
        split: Split,
        reach: Reach,
        level: usize,
        visitor: &mut impl Visitor<S>,
    ) -> Result<(), MgritError> {
        let LevelStorage { u, rhs, kept, .. } = &mut self.levels[level];
        let _span = setting.way.span(level).entered();
        Sweep {
            setting,
            level: &self.hierarchy.levels()[level],
            share: self.layout.share(level),
            split,
            reach,
            u,
            kept: kept.as_deref(),
            rhs,
            scratch: &mut self.scratch,
            counters: &mut self.counters,
        }
        .run(visitor)
    }

    pub(crate) fn level(&self, level: usize) -> &Level {
        &self.hierarchy.levels()[level]
    }
}

/// Plain relaxation.
pub(crate) struct Steps<'a, P> {
    pub propagator: &'a P,
    pub at_c: AtC,
}

impl<P: Propagator> Visitor<P::State> for Steps<'_, P> {
    fn at_c(&self) -> AtC {
        self.at_c
    }

    fn evaluate(&mut self, steps: &[Step], states: &mut [P::State], _: Output) -> Result<(), StepError> {
        self.propagator.step(steps, states)
    }

    fn own_residual(&mut self, step: &Step, u_next: &P::State, u: &mut P::State) -> Result<(), StepError> {
        self.propagator.residual(step, u_next, u)
    }

    fn residuals(&mut self, _: impl Iterator<Item = usize>, _: &[P::State]) {}
}
