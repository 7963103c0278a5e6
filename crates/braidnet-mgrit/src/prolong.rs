//! Prolongation: the coarse correction is added to the C-points of the finer level.
//!
//! For every coarse point `j > 0`, `e = u_j - v_j` and the C-point above `+= P(e)`.

use braidnet_comm::Tag;
use braidnet_grid::{Layout, Level, Transfer};

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
    let (fine_share, coarse_share) = (layout.share(l), layout.share(l + 1));
    let rank = setting.comm.rank();
    let tag = up_tag(l);
    let correction = |j: usize| {
        let local = j - coarse_share.steps.start;
        let mut e = coarse.u[local].clone();
        e.axpy(-1.0, &coarse.v[local]);
        e
    };
    let (sent, awaited): (Vec<Transfer>, Vec<Transfer>) = layout.transfers(l).up.iter().partition(|t| t.from == rank);
    for transfer in sent {
        setting.send(transfer.to, tag, correction(transfer.coarse_point), counters)?;
    }
    let mut add = |j: usize, e: P::State| {
        let point = level.c_points()[j];
        if fine_share.holds(point) {
            let u = &mut fine.u[point - fine_share.steps.start];
            u.axpy(1.0, &propagator.prolong(l, e, u));
        }
    };
    for j in coarse_share.points().filter(|j| *j > 0) {
        if fine_share.holds(level.c_points()[j]) {
            add(j, correction(j));
        }
    }
    for transfer in awaited {
        let message = setting.comm.receive(transfer.from, tag)?;
        add(transfer.coarse_point, setting.wait(message, counters)?);
    }
    Ok(())
}

fn up_tag(level: usize) -> Tag {
    4 * level as Tag + 2
}
