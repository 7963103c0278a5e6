//! Prolongation: the coarse correction is added to the C-points of the finer level.
//!
//! For every coarse point `j > 0`, `e = u_j - v_j` and the C-point above `+= P(e)`.

use std::ops::Range;

use braidnet_comm::Tag;
use braidnet_grid::{Layout, Level, Share, Transfer};

use crate::setting::{Counters, Setting};
use crate::storage::LevelStorage;
use crate::{MgritError, Propagator, State};

/// Corrects `fine` (the storage of `level`) from `coarse`.
///
/// Both ranks that hold a C-point add the same numbers to it, so their copies stay equal without a message.
///
/// # Communication
/// One message per entry of [`braidnet_grid::Transfers::up`]; none where coarse steps end with the ranks' blocks.
pub(crate) fn correct<P: Propagator>(
    setting: &Setting<P::State>,
    propagator: &P,
    level: &Level,
    layout: &Layout,
    [fine, coarse]: [&mut LevelStorage<P::State>; 2],
    counters: &mut Counters,
) -> Result<(), MgritError> {
    let l = level.index();
    let shares = [layout.share(l), layout.share(l + 1)];
    let mut way = Way { propagator, level, shares, corrections: Vec::new(), prolonged: Vec::new() };
    let rank = setting.comm.rank();
    let tag = up_tag(l);
    let (sent, awaited): (Vec<Transfer>, Vec<Transfer>) = layout.transfers(l).up.iter().partition(|t| t.from == rank);
    for Transfer { to, coarse_point: j, .. } in sent {
        way.measure(j..j + 1, coarse);
        way.corrections.drain(..).try_for_each(|e| setting.send(to, tag, e, counters))?;
    }
    let is_held = |j: &usize| shares[0].holds(level.c_points()[*j]);
    let mut own = shares[1].points().filter(|j| *j > 0 && is_held(j)).peekable();
    while let Some(first) = own.next() {
        let mut end = first + 1;
        while end - first < setting.batch && own.next_if_eq(&end).is_some() {
            end += 1;
        }
        way.measure(first..end, coarse);
        way.add(first..end, &mut fine.u);
    }
    for Transfer { from, coarse_point: j, .. } in awaited {
        let message = setting.comm.receive(from, tag)?;
        let e = setting.wait(message, counters)?;
        if is_held(&j) {
            way.corrections.push(e);
            way.add(j..j + 1, &mut fine.u);
        }
    }
    Ok(())
}

/// The way up of coarse points that follow each other, with buffers for one group of them after the other.
struct Way<'a, P: Propagator> {
    propagator: &'a P,
    level: &'a Level,
    /// Of the level and of the coarse one.
    shares: [&'a Share; 2],
    /// `e` of the points that are on their way.
    corrections: Vec<P::State>,
    /// `P(e)`.
    prolonged: Vec<P::State>,
}

impl<P: Propagator> Way<'_, P> {
    fn measure(&mut self, points: Range<usize>, coarse: &LevelStorage<P::State>) {
        let first = self.shares[1].steps.start;
        let (u, v) = (&coarse.u[points.start - first..points.end - first], &coarse.v[points.start - first..]);
        self.corrections.extend_from_slice(u);
        P::State::axpy_each(-1.0, self.corrections.iter_mut().zip(v));
    }

    /// Adds the corrections to the states `u` of the level.
    fn add(&mut self, points: Range<usize>, u: &mut [P::State]) {
        let c_points = &self.level.c_points()[points];
        let (Some(first), Some(last)) = (c_points.first(), c_points.last()) else { return };
        let start = self.shares[0].steps.start;
        let u = &mut u[first - start..=last - start];
        self.prolonged.clear();
        let (propagator, l) = (self.propagator, self.level.index());
        let pairs = c_points.iter().zip(self.corrections.drain(..));
        self.prolonged.extend(pairs.map(|(point, e)| propagator.prolong(l, e, &u[point - first])));
        let at_c = u.iter_mut().enumerate().filter(|(n, _)| c_points.binary_search(&(first + n)).is_ok());
        P::State::axpy_each(1.0, at_c.map(|(_, u)| u).zip(&self.prolonged));
    }
}

fn up_tag(level: usize) -> Tag {
    4 * level as Tag + 2
}
