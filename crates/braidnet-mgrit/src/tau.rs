//! The tau correction: what the coarse operator makes of the restricted fine states.
//!
//! `f_j += v_j - Phi_(l+1)(v_(j-1))` for `j > 0`, from `v`, before any coarse relaxation. With it the restricted
//! fine solution solves the coarse equation `u_j = Phi_(l+1)(u_(j-1)) + f_j` (full approximation scheme).

use braidnet_grid::{Level, Share, Step};

use crate::setting::{Counters, Setting};
use crate::storage::{LevelStorage, Rhs};
use crate::{MgritError, Propagator, ResidualForm, State};

/// Adds tau to the right-hand side of `level`, whose `v` has just been restricted.
///
/// # Cost
/// One evaluation of Phi (or one residual) per coarse step.
pub(crate) fn add_tau<P: Propagator>(
    setting: &Setting<P::State>,
    propagator: &P,
    level: &Level,
    share: &Share,
    storage: &mut LevelStorage<P::State>,
    counters: &mut Counters,
) -> Result<(), MgritError> {
    let LevelStorage { v, rhs: Rhs::Fas(f), .. } = storage else { return Ok(()) };
    let rank = setting.comm.rank();
    let failed = |j: usize, source| MgritError::Step { level: level.index(), layer: level.layer(j), rank, source };
    let mut steps: Vec<Step> = Vec::new();
    let mut states: Vec<P::State> = Vec::new();
    for (n, chunk) in f.chunks_mut(setting.batch).enumerate() {
        let first = n * setting.batch;
        steps.clear();
        steps.extend((0..chunk.len()).map(|i| level.step(share.steps.start + first + i)));
        states.clear();
        states.extend_from_slice(&v[first..first + chunk.len()]);
        match setting.form {
            ResidualForm::OneStep => {
                counters.evaluations[level.index()] += chunk.len() as u64;
                propagator.step(&steps, &mut states).map_err(|e| failed(steps[0].index, e))?;
                P::State::axpy_each(1.0, chunk.iter_mut().zip(&v[first + 1..]));
                P::State::axpy_each(-1.0, chunk.iter_mut().zip(&states));
            }
            ResidualForm::Own => {
                for (i, (f, u)) in chunk.iter_mut().zip(&mut states).enumerate() {
                    propagator.residual(&steps[i], &v[first + i + 1], u).map_err(|e| failed(steps[i].index, e))?;
                    f.axpy(1.0, u);
                }
            }
        }
    }
    Ok(())
}
