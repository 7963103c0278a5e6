//! Finding the layer where a solve left the finite numbers.

use braidnet_grid::{Level, Share};

use crate::State;
use crate::storage::LevelStorage;

/// A layer whose output, or whose input, is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite {
    /// `output`, or `input` for the state that the solve started from.
    pub what: &'static str,
    /// The layer.
    pub layer: usize,
}

/// Looks at the states that a rank holds on the finest level for the first layer whose output is not finite.
///
/// A NaN spreads along the layers of an ODE network, but not past a C-point whose value came from the coarse grid: so
/// the last state of every interval is looked at first, and the others only if one of those is bad.
pub(crate) fn find_not_finite<S: State>(level: &Level, share: &Share, storage: &LevelStorage<S>) -> Option<NotFinite> {
    let finite = |u: &S| u.norm_squared().is_finite();
    let c_points = level.c_points();
    let held =
        c_points.partition_point(|c| *c <= share.steps.start)..c_points.partition_point(|c| *c <= share.steps.end);
    let before_c_points = c_points[held].iter().filter_map(|c| storage.state(share, c - 1));
    let mut all_finite = true;
    S::norms_squared(before_c_points.chain(storage.u.last()), |square| all_finite &= square.is_finite());
    if all_finite {
        return None;
    }
    let local = storage.u.iter().position(|u| !finite(u)).unwrap_or(0);
    let point = share.steps.start + local;
    let (what, layer) = match point.checked_sub(1) {
        Some(step) => ("output", level.layer(step)),
        None => ("input", level.layer(0)),
    };
    Some(NotFinite { what, layer })
}

#[cfg(test)]
mod tests {
    use braidnet_grid::{Coarsening, Hierarchy, TimeGrid};

    use super::*;

    /// What is found for the states of points 2 to 5 on rank 1.
    fn found(u: [f64; 4]) -> Option<(&'static str, usize)> {
        let grid = TimeGrid::uniform(5, 0.0, 1.0).unwrap();
        let hierarchy = Hierarchy::new(&grid, &Coarsening::none()).unwrap();
        let share = Share { steps: 2..5, from: Some(0), to: None };
        let storage = LevelStorage { u: u.to_vec(), ..LevelStorage::empty() };
        find_not_finite(hierarchy.finest(), &share, &storage).map(|found| (found.what, found.layer))
    }

    #[test]
    fn the_first_bad_layer_is_named() {
        assert_eq!(found([1.0, 1.0, 1.0, 1.0]), None);
        assert_eq!(found([1.0, 1.0, 1.0, f64::NAN]), Some(("output", 4)));
        assert_eq!(found([1.0, f64::INFINITY, 1.0, f64::NAN]), Some(("output", 2)));
        assert_eq!(found([f64::NAN; 4]), Some(("output", 1)));
    }

    /// Points 4 and 5 are C-points, whose values may have come from the coarse grid.
    #[test]
    fn a_nan_that_ends_before_a_c_point_is_found() {
        assert_eq!(found([1.0, f64::NAN, 1.0, 1.0]), Some(("output", 2)));
        assert_eq!(found([1.0, 1.0, f64::NAN, 1.0]), Some(("output", 3)));
    }
}
