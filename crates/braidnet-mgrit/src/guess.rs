//! Where a solve starts from.

use std::sync::Arc;

use braidnet_grid::StepKind;

use crate::relax::border_tag;
use crate::setting::Setting;
use crate::{Mgrit, MgritError, Propagator, State};

/// Where the iteration starts from.
pub enum Guess<'a, S> {
    /// The state at each point of the finest level, in its shape (only C-points matter; for Newton's method all of them do).
    /// Points count in the direction of the solve: of `n` layers, the adjoint's point 0 is the network's point `n`.
    From(&'a dyn Fn(usize) -> S),
    /// The initial state, carried along unchanged from point to point but through transitions, which change its shape. One message
    /// per border between ranks, one evaluation per transition. Where levels coarsen inside layers, what the coarse grids cannot
    /// show of a state is then there from the start.
    Carried,
    /// What the last solve of this solver ended with. Without effect where the first down-cycle is skipped.
    Warm,
}

impl<S: State> Mgrit<S> {
    /// Sets the points of the finest level.
    pub(crate) fn begin<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
        initial: Option<S>,
        guess: Guess<'_, S>,
    ) -> Result<(), MgritError> {
        let share = self.layout.share(0);
        let u = &mut self.levels[0].u;
        match guess {
            Guess::Carried => return self.carry(setting, propagator, initial),
            Guess::Warm if u.is_empty() => return Err(MgritError::NothingToWarmStart),
            Guess::Warm => {}
            Guess::From(guess) => {
                u.clear();
                u.extend(share.points().map(guess));
            }
        }
        if share.holds(0) {
            u[0] = initial.ok_or(MgritError::NoInitialState { rank: self.comm.rank() })?;
        }
        Ok(())
    }

    /// [`Guess::Carried`].
    fn carry<P: Propagator<State = S>>(
        &mut self,
        setting: &Setting<S>,
        propagator: &P,
        initial: Option<S>,
    ) -> Result<(), MgritError> {
        let (layout, hierarchy) = (Arc::clone(&self.layout), Arc::clone(&self.hierarchy));
        let (share, rank) = (layout.share(0), self.comm.rank());
        let mut state = match share.from {
            Some(from) => setting.wait(self.comm.receive(from, border_tag(0))?, &mut self.counters)?,
            None => initial.ok_or(MgritError::NoInitialState { rank })?,
        };
        self.levels[0].u.clear();
        self.levels[0].u.push(state.clone());
        for step in share.steps.clone().map(|j| hierarchy.finest().step(j)) {
            if step.kind == StepKind::Transition {
                self.counters.evaluations[0] += 1;
                let stepped = propagator.step(std::slice::from_ref(&step), std::slice::from_mut(&mut state));
                stepped.map_err(|source| MgritError::Step { level: 0, layer: step.layer, rank, source })?;
            }
            self.levels[0].u.push(state.clone());
        }
        share.to.map_or(Ok(()), |to| setting.send(to, border_tag(0), state, &mut self.counters))
    }
}
