//! The plain loop.

use braidnet_grid::Hierarchy;

use crate::{MgritError, Propagator};

/// Applies all layers one after the other on one rank: the oracle of every other solve.
///
/// Returns the states of all points, the initial one first.
///
/// # Errors
/// [`MgritError::Step`] of the layer that failed.
///
/// # Cost
/// One evaluation of Phi per layer; keeps all states.
pub fn sequential<P: Propagator>(
    propagator: &P,
    hierarchy: &Hierarchy,
    initial: P::State,
) -> Result<Vec<P::State>, MgritError> {
    let level = hierarchy.finest();
    let mut states = vec![initial];
    for j in 0..level.n_steps() {
        let step = level.step(j);
        let mut state = [states[j].clone()];
        propagator.step(std::slice::from_ref(&step), &mut state).map_err(|source| MgritError::Step {
            level: 0,
            layer: step.layer,
            rank: 0,
            source,
        })?;
        states.extend(state);
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use braidnet_grid::{Coarsening, TimeGrid};

    use super::*;
    use crate::model::Logistic;

    #[test]
    fn three_steps_by_hand() {
        let grid = TimeGrid::from_times(vec![0.0, 1.0, 1.5, 3.5]).unwrap();
        let hierarchy = Hierarchy::new(&grid, &Coarsening::none()).unwrap();
        let states = sequential(&Logistic, &hierarchy, 0.5).unwrap();
        assert_eq!(states, [0.5, 0.75, 0.84375, 1.107421875]);
    }
}
