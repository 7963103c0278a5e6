//! Relaxation: sweeps over the intervals of one level.
//!
//! Every sweep is the same walk: from each C-point step through the interval's F-points and, if the `Visitor`
//! wants it, on to the next C-point. F-relaxation stops before the C-point; C-relaxation replaces it (Jacobi
//! across intervals: every interval starts from the old C-value); restriction forms the residual there. A
//! sequential solve is the same walk with the whole level as one interval.
//!
//! # Communication
//! At most one message in and one out per sweep. The receive is posted before the first step, the right-most
//! interval is relaxed and sent first, the interval that waits for the message comes last. Nothing is sent or
//! received inside the walk.

use std::time::{Duration, Instant};

use braidnet_comm::{Communicator, Tag, Transfer};
use braidnet_grid::{Level, Share, Step};
use tracing::trace_span;

use crate::storage::Rhs;
use crate::{MgritError, Output, ResidualForm, State, StepError};

/// What a sweep does where an interval ends in a C-point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum AtC {
    /// Stop before it.
    Stop,
    /// Evaluate the step to it for the by-product; keep the old value.
    Evaluate,
    /// Replace it by `(1 - w) old + w new`.
    Relax {
        /// The weight `w`.
        weight: f64,
    },
    /// Hand its residual to [`Visitor::residual`].
    Residual,
}

/// What a sweep calls.
pub(crate) trait Visitor<S> {
    /// What to do at C-points.
    fn at_c(&self) -> AtC;

    /// Applies the steps in place.
    fn evaluate(&mut self, steps: &[Step], states: &mut [S], output: Output) -> Result<(), StepError>;

    /// Own residual `A(u_next, u)`, written into `u`; only called for [`ResidualForm::Own`].
    fn own_residual(&mut self, step: &Step, u_next: &S, u: &mut S) -> Result<(), StepError>;

    /// Takes `f - A` at a C-point; called right to left.
    fn residual(&mut self, point: usize, residual: &S);

    /// Called as soon as no other rank waits for this one: after the piece that was sent on, and after every step of the
    /// other pieces. An error comes with its layer.
    fn off_critical_path(&mut self) -> Result<(), (usize, StepError)> {
        Ok(())
    }
}

/// Which points count as C-points in a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// Those of the level.
    Intervals,
    /// Only point 0: a sequential solve.
    Whole,
    /// Those of the level where ranks meet; in between a rank walks on through them.
    Joined,
}

/// How far a sweep goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the end of the level, with a tail of F-points behind the last C-point: its values are asked for.
    End,
    /// To the last C-point: nothing depends on a tail.
    LastC,
    /// To this point; a rank without steps before it only takes what the one before sends.
    Point(usize),
}

/// One uninterrupted part of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// Point that it starts from.
    start: usize,
    /// Last point that it reaches.
    stop: usize,
    /// Whether `stop` is a C-point.
    closes: bool,
}

impl Piece {
    /// Whether both can be walked in lockstep.
    fn is_like(&self, other: &Self) -> bool {
        self.stop - self.start == other.stop - other.start && self.closes == other.closes
    }

    /// What of it lies before the end of a sweep.
    fn within(self, reach: Reach) -> Option<Self> {
        match reach {
            Reach::Point(end) if self.stop > end => {
                (self.start < end).then_some(Self { stop: end, closes: false, ..self })
            }
            _ => Some(self),
        }
    }

    fn n_f_steps(&self) -> usize {
        self.stop - self.start - usize::from(self.closes)
    }
}

/// The points of a level as a sweep sees them.
struct Walk<'a> {
    c_points: &'a [usize],
    share: &'a Share,
    reach: Reach,
    /// Whether a rank's intervals are walked as one.
    is_joined: bool,
}

impl<'a> Walk<'a> {
    fn is_c_point(&self, point: usize) -> bool {
        self.c_points.binary_search(&point).is_ok()
    }

    /// Whether `point`, an F-point, lies in a tail that is left out.
    fn skips(&self, point: usize) -> bool {
        self.reach == Reach::LastC && self.c_points.last().is_some_and(|last| point > *last)
    }

    /// Whether the value of a border `point` changes in the sweep, so that the rank behind it must be told.
    fn travels(&self, point: usize, replaces_c: bool) -> bool {
        if self.is_c_point(point) { replaces_c } else { !self.skips(point) }
    }

    /// The rank's pieces of intervals, right to left; an interval may continue on other ranks at both ends.
    fn pieces(&self) -> impl Iterator<Item = Piece> + use<'a> {
        let (a, b) = (self.share.steps.start, self.share.steps.end);
        let low = self.c_points.partition_point(|c| *c < a);
        let high = self.c_points.partition_point(|c| *c <= b);
        let local = &self.c_points[low..high];
        let last = local.last().copied().unwrap_or(a);
        let open = (last < b && !self.skips(b)).then_some(Piece { start: last, stop: b, closes: false });
        let ends_all = |c: usize| self.is_joined && c == b && self.share.to.is_none();
        let entering = local.first().filter(|c| **c > a);
        let entering = entering.map(|c| Piece { start: a, stop: *c, closes: !ends_all(*c) });
        let joined = self.joined(local);
        // What the joined piece has is no piece of its own.
        let open = open.filter(|open| joined.is_none_or(|joined| joined.stop == open.start));
        let local = if joined.is_some() { &[] } else { local };
        let inner = local.windows(2).rev().map(|pair| Piece { start: pair[0], stop: pair[1], closes: true });
        open.into_iter().chain(joined).chain(inner).chain(entering)
    }

    /// All intervals of the rank as one piece: to its last C-point, behind which another rank may wait for the open piece, or to the
    /// very end.
    fn joined(&self, local: &[usize]) -> Option<Piece> {
        let (&start, &last) = local.first().zip(local.last()).filter(|_| self.is_joined)?;
        let closes = self.share.to.is_some();
        let stop = if closes { last } else { self.share.steps.end };
        (start < stop).then_some(Piece { start, stop, closes })
    }
}

fn c_points(level: &Level, split: Split) -> &[usize] {
    match split {
        Split::Intervals | Split::Joined => level.c_points(),
        Split::Whole => &[0],
    }
}

/// Buffers that sweeps share, so that a sweep allocates nothing once they have grown.
pub(crate) struct Scratch<S> {
    states: Vec<S>,
    steps: Vec<Step>,
    pieces: Vec<Piece>,
}

impl<S> Default for Scratch<S> {
    fn default() -> Self {
        Self { states: Vec::new(), steps: Vec::new(), pieces: Vec::new() }
    }
}

/// What one rank counts during a solve.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub evaluations: Vec<u64>,
    pub messages: u64,
    pub bytes: u64,
    pub waiting: Duration,
}

/// The surroundings of a sweep that stay the same throughout a solve.
pub(crate) struct Setting<S: State> {
    pub comm: Communicator,
    pub context: <S as Transfer>::Context,
    pub batch: usize,
    pub form: ResidualForm,
    pub way: Way,
}

/// What a solver solves for; names its sweeps in a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// States.
    Forward,
    /// The adjoint.
    Adjoint,
}

impl Way {
    /// The span of a sweep over `level`.
    pub fn span(self, level: usize) -> tracing::Span {
        match (self, level) {
            (Self::Forward, 0) => trace_span!(target: TIMELINE, "relax"),
            (Self::Forward, _) => trace_span!(target: TIMELINE, "coarse solve", level),
            (Self::Adjoint, 0) => trace_span!(target: TIMELINE, "pullback"),
            (Self::Adjoint, _) => trace_span!(target: TIMELINE, "coarse pullback", level),
        }
    }
}

/// Spans of this target make up a timeline.
pub(crate) const TIMELINE: &str = "braidnet::timeline";

impl<S: State> Setting<S> {
    pub fn send(&self, to: usize, tag: Tag, state: S, counters: &mut Counters) -> Result<(), MgritError> {
        counters.messages += 1;
        counters.bytes += state.n_bytes() as u64;
        Ok(self.comm.send(to, tag, state)?)
    }

    pub fn wait(&self, message: braidnet_comm::Receive<S>, counters: &mut Counters) -> Result<S, MgritError> {
        let start = Instant::now();
        let state = message.wait(&self.context)?;
        counters.waiting += start.elapsed();
        Ok(state)
    }
}

/// One sweep over a rank's part of one level.
pub(crate) struct Sweep<'a, S: State> {
    pub setting: &'a Setting<S>,
    pub level: &'a Level,
    pub share: &'a Share,
    pub split: Split,
    pub reach: Reach,
    pub u: &'a mut [S],
    /// The F-points whose states are kept, ascending; `None` for all of them.
    pub kept: Option<&'a [usize]>,
    pub rhs: &'a Rhs<S>,
    pub scratch: &'a mut Scratch<S>,
    pub counters: &'a mut Counters,
}

impl<S: State> Sweep<'_, S> {
    /// Walks all intervals, right to left.
    pub fn run(&mut self, visitor: &mut impl Visitor<S>) -> Result<(), MgritError> {
        if self.share.steps.is_empty() {
            return Ok(());
        }
        let is_joined = self.split == Split::Joined;
        let walk = Walk { c_points: c_points(self.level, self.split), share: self.share, reach: self.reach, is_joined };
        let replaces_c = matches!(visitor.at_c(), AtC::Relax { .. });
        let (a, b) = (self.share.steps.start, self.share.steps.end);
        let tag = border_tag(self.level.index());
        let mut to_send = self.share.to.filter(|_| walk.travels(b, replaces_c));
        let receives = self.share.from.filter(|_| walk.travels(a, replaces_c));
        let mut message = receives.map(|from| self.setting.comm.receive::<S>(from, tag)).transpose()?;
        let waits = |p: &Piece| receives.is_some() && p.start == a && !walk.is_c_point(a);

        let mut chunk = std::mem::take(&mut self.scratch.pieces);
        let reach = self.reach;
        let mut pieces = walk.pieces().filter_map(|piece| piece.within(reach)).peekable();
        while let Some(first) = pieces.next() {
            chunk.clear();
            chunk.push(first);
            let room = if to_send.is_some() || waits(&first) { 1 } else { self.setting.batch };
            while chunk.len() < room
                && let Some(next) = pieces.next_if(|p| p.is_like(&first) && !waits(p))
            {
                chunk.push(next);
            }
            if waits(&first)
                && let Some(message) = message.take()
            {
                self.u[0] = self.setting.wait(message, self.counters)?;
            }
            let awaited = to_send.is_some();
            self.walk(&chunk, visitor, awaited)?;
            if let Some(to) = to_send.take() {
                self.setting.send(to, tag, self.u[b - a].clone(), self.counters)?;
            }
            if awaited {
                self.linger(visitor)?;
            }
        }
        self.scratch.pieces = chunk;
        if let Some(message) = message {
            self.u[0] = self.setting.wait(message, self.counters)?;
        }
        Ok(())
    }

    /// Walks pieces of equal length in lockstep.
    fn walk(&mut self, pieces: &[Piece], visitor: &mut impl Visitor<S>, awaited: bool) -> Result<(), MgritError> {
        let a = self.share.steps.start;
        let mut states = std::mem::take(&mut self.scratch.states);
        states.clear();
        states.extend(pieces.iter().map(|p| self.u[p.start - a].clone()));
        let Some(n_f_steps) = pieces.first().map(Piece::n_f_steps) else { return Ok(()) };
        for s in 0..n_f_steps {
            self.evaluate(pieces, s, &mut states, visitor, Output::Used)?;
            // The last state of a piece is kept in any case: it may travel, and a NaN would show there.
            for (piece, state) in pieces.iter().zip(&states) {
                let point = piece.start + s + 1;
                if s + 1 == n_f_steps || self.keeps(point) {
                    self.u[point - a].clone_from(state);
                }
            }
            if !awaited {
                self.linger(visitor)?;
            }
        }
        if pieces.first().is_some_and(|p| p.closes) {
            self.close(pieces, n_f_steps, &mut states, visitor)?;
        }
        if !awaited {
            self.linger(visitor)?;
        }
        self.scratch.states = states;
        Ok(())
    }

    fn keeps(&self, point: usize) -> bool {
        let is_passed = || self.split == Split::Joined && self.level.is_c_point(point);
        self.kept.is_none_or(|kept| kept.binary_search(&point).is_ok() || is_passed())
    }

    /// Lets the visitor do what nobody waits for.
    fn linger(&self, visitor: &mut impl Visitor<S>) -> Result<(), MgritError> {
        visitor.off_critical_path().map_err(|(layer, source)| self.failed_in(layer, source))
    }

    /// Applies step `s` of all pieces, with the right-hand side.
    fn evaluate(
        &mut self,
        pieces: &[Piece],
        s: usize,
        states: &mut [S],
        visitor: &mut impl Visitor<S>,
        output: Output,
    ) -> Result<(), MgritError> {
        let before = self.setting.form == ResidualForm::Own;
        if before {
            self.add_rhs(pieces, s, states);
        }
        let mut steps = std::mem::take(&mut self.scratch.steps);
        steps.clear();
        steps.extend(pieces.iter().map(|p| self.level.step(p.start + s)));
        self.counters.evaluations[self.level.index()] += pieces.len() as u64;
        let outcome = visitor.evaluate(&steps, states, output);
        self.scratch.steps = steps;
        outcome.map_err(|source| self.failed(pieces[0].start + s, source))?;
        if !before {
            self.add_rhs(pieces, s, states);
        }
        Ok(())
    }

    fn add_rhs(&self, pieces: &[Piece], s: usize, states: &mut [S]) {
        if let Rhs::Fas(f) = self.rhs {
            for (piece, state) in pieces.iter().zip(states) {
                state.axpy(1.0, &f[piece.start + s - self.share.steps.start]);
            }
        }
    }

    /// The step from the last F-point of each piece to its C-point.
    fn close(
        &mut self,
        pieces: &[Piece],
        s: usize,
        states: &mut [S],
        visitor: &mut impl Visitor<S>,
    ) -> Result<(), MgritError> {
        let a = self.share.steps.start;
        match visitor.at_c() {
            AtC::Stop => {}
            AtC::Evaluate => self.evaluate(pieces, s, states, visitor, Output::Discarded)?,
            AtC::Relax { weight } => {
                self.evaluate(pieces, s, states, visitor, Output::Used)?;
                for (piece, new) in pieces.iter().zip(states) {
                    let u = &mut self.u[piece.stop - a];
                    if weight == 1.0 {
                        u.clone_from(new);
                    } else {
                        u.scale(1.0 - weight);
                        u.axpy(weight, new);
                    }
                }
            }
            AtC::Residual => {
                self.residuals(pieces, s, states, visitor)?;
                for (piece, residual) in pieces.iter().zip(states) {
                    visitor.residual(piece.stop, residual);
                }
            }
        }
        Ok(())
    }

    /// Turns the states before the C-points into the residuals `f - A` at them.
    fn residuals(
        &mut self,
        pieces: &[Piece],
        s: usize,
        states: &mut [S],
        visitor: &mut impl Visitor<S>,
    ) -> Result<(), MgritError> {
        let a = self.share.steps.start;
        match self.setting.form {
            ResidualForm::OneStep => {
                self.evaluate(pieces, s, states, visitor, Output::Used)?;
                for (piece, state) in pieces.iter().zip(states) {
                    state.axpy(-1.0, &self.u[piece.stop - a]);
                }
            }
            ResidualForm::Own => {
                for (piece, state) in pieces.iter().zip(states.iter_mut()) {
                    let step = self.level.step(piece.start + s);
                    visitor
                        .own_residual(&step, &self.u[piece.stop - a], state)
                        .map_err(|source| self.failed(piece.start + s, source))?;
                    state.scale(-1.0);
                }
                self.add_rhs(pieces, s, states);
            }
        }
        Ok(())
    }

    fn failed(&self, step: usize, source: StepError) -> MgritError {
        self.failed_in(self.level.layer(step), source)
    }

    fn failed_in(&self, layer: usize, source: StepError) -> MgritError {
        MgritError::Step { level: self.level.index(), layer, rank: self.setting.comm.rank(), source }
    }
}

/// Tags: four per level.
pub(crate) fn border_tag(level: usize) -> Tag {
    4 * level as Tag
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of a rank that has `steps`, as (start, stop, closes).
    fn pieces(c_points: &[usize], steps: std::ops::Range<usize>, reach: Reach) -> Vec<(usize, usize, bool)> {
        let share = Share { steps, from: None, to: None };
        Walk { c_points, share: &share, reach, is_joined: false }
            .pieces()
            .map(|p| (p.start, p.stop, p.closes))
            .collect()
    }

    #[test]
    fn intervals_come_right_to_left_and_continue_on_other_ranks() {
        let c = [0, 4, 8, 10];
        assert_eq!(pieces(&c, 0..10, Reach::LastC), [(8, 10, true), (4, 8, true), (0, 4, true)]);
        assert_eq!(pieces(&c, 0..3, Reach::LastC), [(0, 3, false)]);
        assert_eq!(pieces(&c, 3..6, Reach::LastC), [(4, 6, false), (3, 4, true)]);
        assert_eq!(pieces(&c, 5..7, Reach::LastC), [(5, 7, false)]);
        assert_eq!(pieces(&c, 4..8, Reach::LastC), [(4, 8, true)]);
        assert_eq!(pieces(&[0], 3..6, Reach::End), [(3, 6, false)]);
    }

    #[test]
    fn a_tail_is_walked_only_if_it_is_asked_for() {
        let c = [0, 4, 8];
        assert_eq!(pieces(&c, 4..11, Reach::LastC), [(4, 8, true)]);
        assert_eq!(pieces(&c, 4..11, Reach::End), [(8, 11, false), (4, 8, true)]);
        assert_eq!(pieces(&c, 9..11, Reach::LastC), []);
        assert_eq!(pieces(&c, 9..11, Reach::End), [(9, 11, false)]);
    }

    #[test]
    fn a_border_point_travels_if_the_sweep_changes_it() {
        let share = Share { steps: 0..11, from: None, to: None };
        let walk = |reach| Walk { c_points: &[0, 4, 8], share: &share, reach, is_joined: false };
        let travels = |point, reach| [false, true].map(|replaces_c| walk(reach).travels(point, replaces_c));
        assert_eq!(travels(4, Reach::LastC), [false, true]);
        assert_eq!(travels(5, Reach::LastC), [true, true]);
        assert_eq!(travels(9, Reach::LastC), [false, false]);
        assert_eq!(travels(9, Reach::End), [true, true]);
    }
}
