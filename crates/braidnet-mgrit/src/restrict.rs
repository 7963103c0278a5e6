//! Restriction: residuals and states of the C-points become the right-hand side and the states of the next level.
//!
//! F-relax; at each C-point `k > 0`, `A = u_k - Phi(u_(k-1))` and `r_k = f_k - A` (no `f` on the finest level);
//! on the coarse level `v_j = R(u_k)`, `f_j = R(r_k)`, then `f_j` becomes the FAS right-hand side by [tau](mod@crate::tau)
//! and `u := v`.

use braidnet_comm::Tag;
use braidnet_grid::{Layout, Level, Share, Step, Transfer};

use crate::norm::NormSum;
use crate::relax::{AtC, Visitor};
use crate::setting::{Counters, Setting};
use crate::storage::{LevelStorage, Rhs};
use crate::{MgritError, Output, Propagator, State, StepError};

/// Collects the residuals of a level as the next level's right-hand side.
pub(crate) struct Residuals<'a, P: Propagator> {
    pub propagator: &'a P,
    pub level: &'a Level,
    pub coarse_share: &'a Share,
    /// Restricted residuals of the coarse points that this rank produces, by local coarse step.
    pub f: Vec<P::State>,
    /// Restricted residuals of coarse points that another rank produces, with their coarse index.
    pub elsewhere: Vec<(usize, P::State)>,
    pub norm: Option<NormSum>,
}

impl<P: Propagator> Visitor<P::State> for Residuals<'_, P> {
    fn at_c(&self) -> AtC {
        AtC::Residual
    }

    fn evaluate(&mut self, steps: &[Step], states: &mut [P::State], _: Output) -> Result<(), StepError> {
        self.propagator.step(steps, states)
    }

    fn own_residual(&mut self, step: &Step, u_next: &P::State, u: &mut P::State) -> Result<(), StepError> {
        self.propagator.residual(step, u_next, u)
    }

    fn residuals(&mut self, points: impl Iterator<Item = usize>, residuals: &[P::State]) {
        if let Some(norm) = &mut self.norm {
            P::State::norms_squared(residuals.iter(), |square| norm.add(square));
        }
        for (point, residual) in points.zip(residuals) {
            // The walk visits C-points only, so the search finds the point.
            let coarse_point = self.level.c_points().partition_point(|c| *c < point);
            let r = self.propagator.restrict(self.level.index(), residual);
            if self.coarse_share.produces(coarse_point) {
                self.f[coarse_point - 1 - self.coarse_share.steps.start] = r;
            } else {
                self.elsewhere.push((coarse_point, r));
            }
        }
    }
}

/// States of all C-points that a rank holds on the coarse level, restricted; also those of other ranks.
///
/// # Communication
/// One message per entry of [`braidnet_grid::Transfers::down`], two where the residual travels along; none where
/// coarse steps end with the ranks' blocks.
pub(crate) fn restrict_states<P: Propagator>(
    setting: &Setting<P::State>,
    propagator: &P,
    level: &Level,
    layout: &Layout,
    [fine, coarse]: [&mut LevelStorage<P::State>; 2],
    residuals: Option<&[(usize, P::State)]>,
    counters: &mut Counters,
) -> Result<(), MgritError> {
    let l = level.index();
    let (fine_share, coarse_share) = (layout.share(l), layout.share(l + 1));
    let restricted = |j: usize| fine.state(fine_share, level.c_points()[j]).map(|u| propagator.restrict(l, u));
    let tag = down_tag(l);
    let rank = setting.comm.rank();
    let (sent, awaited): (Vec<Transfer>, Vec<Transfer>) = layout.transfers(l).down.iter().partition(|t| t.from == rank);
    for transfer in sent {
        let Some(v) = restricted(transfer.coarse_point) else { continue };
        setting.send(transfer.to, tag, v, counters)?;
        let with_residual = residuals.filter(|_| transfer.with_residual);
        for (_, r) in with_residual.into_iter().flatten().filter(|(j, _)| *j == transfer.coarse_point) {
            setting.send(transfer.to, tag, r.clone(), counters)?;
        }
    }
    for (local, j) in coarse_share.points().enumerate() {
        if let Some(v) = restricted(j) {
            coarse.v[local] = v;
        }
    }
    for transfer in awaited {
        let local = transfer.coarse_point - coarse_share.steps.start;
        let message = setting.comm.receive(transfer.from, tag)?;
        coarse.v[local] = setting.wait(message, counters)?;
        if transfer.with_residual && residuals.is_some() {
            let message = setting.comm.receive(transfer.from, tag)?;
            let r = setting.wait(message, counters)?;
            if let Rhs::Fas(f) = &mut coarse.rhs {
                f[local - 1] = r;
            }
        }
    }
    coarse.u.clone_from(&coarse.v);
    Ok(())
}

fn down_tag(level: usize) -> Tag {
    4 * level as Tag + 1
}
