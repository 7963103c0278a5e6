//! Finding the layer where a solve left the finite numbers.

use braidnet_grid::{Level, Share};

use crate::storage::LevelStorage;
use crate::{MgritError, State};

/// Checks the states that a rank holds on the finest level.
///
/// A NaN spreads along the layers of an ODE network, so the last state is looked at first and the others only
/// if it is bad.
///
/// # Errors
/// [`MgritError::NonFinite`] with the first layer whose output is not finite.
pub(crate) fn check_finite<S: State>(
    level: &Level,
    share: &Share,
    storage: &LevelStorage<S>,
    rank: usize,
) -> Result<(), MgritError> {
    let finite = |u: &S| u.norm_squared().is_finite();
    if storage.u.last().is_none_or(finite) {
        return Ok(());
    }
    let local = storage.u.iter().position(|u| !finite(u)).unwrap_or(0);
    let point = share.steps.start + local;
    let (what, layer) = match point.checked_sub(1) {
        Some(step) => ("output", level.layer(step)),
        None => ("input", level.layer(0)),
    };
    Err(MgritError::NonFinite { what, layer, level: level.index(), rank })
}
