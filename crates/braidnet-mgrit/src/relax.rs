//! Relaxation: sweeps over the intervals of one level.
//!
//! Every sweep is the same walk: from each C-point step through the interval's F-points and, if the `Visitor`
//! wants it, on to the next C-point. F-relaxation stops before the C-point; C-relaxation replaces it (Jacobi
//! across intervals: every interval starts from the old C-value); restriction forms the residual there. A
//! sequential solve is the same walk with the whole level as one interval, a joined sweep that with a rank's part as one. Which
//! pieces a walk has is told in `walk.rs`.
//!
//! # Communication
//! At most one message in and one out per sweep. The receive is posted before the first step, the right-most
//! interval is relaxed and sent first, the interval that waits for the message comes last. Nothing is sent or
//! received inside the walk.

use braidnet_comm::Tag;
use braidnet_grid::{Level, Share, Step};

use crate::setting::{Counters, Setting};
use crate::storage::Rhs;
use crate::walk::{Piece, Reach, Split, Walk, c_points};
use crate::{MgritError, Output, ResidualForm, State, StepError, place};

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

    /// Takes `f - A` at C-points, in their order right to left; called right to left.
    fn residuals(&mut self, points: impl Iterator<Item = usize>, residuals: &[S]);

    /// Called as soon as no other rank waits for this one: after the piece that was sent on, and after every step of the
    /// other pieces. An error comes with its layer.
    fn off_critical_path(&mut self) -> Result<(), (usize, StepError)> {
        Ok(())
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
        place::enter_steps(self.setting.way.work(), &steps);
        let outcome = visitor.evaluate(&steps, states, output);
        place::computed(&*states);
        self.scratch.steps = steps;
        outcome.map_err(|source| self.failed(pieces[0].start + s, source))?;
        if !before {
            self.add_rhs(pieces, s, states);
        }
        Ok(())
    }

    fn add_rhs(&self, pieces: &[Piece], s: usize, states: &mut [S]) {
        if let Rhs::Fas(f) = self.rhs {
            let f_of = |piece: &Piece| &f[piece.start + s - self.share.steps.start];
            S::axpy_each(1.0, states.iter_mut().zip(pieces.iter().map(f_of)));
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
                visitor.residuals(pieces.iter().map(|piece| piece.stop), states);
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
                let at_c = pieces.iter().map(|piece| &self.u[piece.stop - a]);
                S::axpy_each(-1.0, states.iter_mut().zip(at_c));
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
