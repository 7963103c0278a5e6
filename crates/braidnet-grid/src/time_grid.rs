//! The finest grid.

use crate::{GridError, StepKind};

/// Times of all points of the finest level and the layers that are transitions.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeGrid {
    times: Vec<f64>,
    transitions: Vec<usize>,
}

impl TimeGrid {
    /// `n_steps` ODE steps of equal length: `t_i = t_start + (i / N) (t_stop - t_start)`, in that order of operations.
    ///
    /// # Errors
    /// [`GridError::NoSteps`] for zero steps, [`GridError::TimesNotIncreasing`] for an empty or infinite time span.
    pub fn uniform(n_steps: usize, t_start: f64, t_stop: f64) -> Result<Self, GridError> {
        let at = |i: usize| t_start + (i as f64 / n_steps as f64) * (t_stop - t_start);
        Self::from_times(match n_steps {
            0 => Vec::new(),
            n => (0..=n).map(at).collect(),
        })
    }

    /// ODE steps between the given times (`N + 1` of them for `N` steps).
    ///
    /// # Errors
    /// As [`TimeGrid::uniform`].
    pub fn from_times(times: Vec<f64>) -> Result<Self, GridError> {
        Self { times, transitions: Vec::new() }.validated()
    }

    /// A network: one entry per layer; ODE layers advance the time by `dt`, transitions do not.
    ///
    /// # Errors
    /// As [`TimeGrid::uniform`].
    pub fn from_kinds(kinds: &[StepKind], dt: f64) -> Result<Self, GridError> {
        let is_transition = |n: &usize| kinds[*n] == StepKind::Transition;
        let transitions: Vec<usize> = (0..kinds.len()).filter(is_transition).collect();
        let mut n_ode = 0;
        let mut times = vec![0.0];
        for kind in kinds {
            n_ode += usize::from(*kind == StepKind::Ode);
            times.push(n_ode as f64 * dt);
        }
        Self { times, transitions }.validated()
    }

    fn validated(self) -> Result<Self, GridError> {
        if self.times.len() < 2 {
            return Err(GridError::NoSteps);
        }
        for (n, pair) in self.times.windows(2).enumerate() {
            let follows = match self.kind(n) {
                StepKind::Ode => pair[0] < pair[1],
                StepKind::Transition => pair[0] == pair[1],
            };
            if !(follows && pair[0].is_finite() && pair[1].is_finite()) {
                return Err(GridError::TimesNotIncreasing { point: n + 1, time: pair[0], next: pair[1] });
            }
        }
        Ok(self)
    }

    /// Number of steps `N`, which is the number of layers.
    pub fn n_steps(&self) -> usize {
        self.times.len() - 1
    }

    /// Times of the `N + 1` points.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// Layers that are transitions, ascending.
    pub fn transitions(&self) -> &[usize] {
        &self.transitions
    }

    /// What layer `n` is.
    pub fn kind(&self, n: usize) -> StepKind {
        match self.transitions.binary_search(&n) {
            Ok(_) => StepKind::Transition,
            Err(_) => StepKind::Ode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_times_follow_the_stated_order_of_operations() {
        let grid = TimeGrid::uniform(3, 1.0, 2.0).unwrap();
        assert_eq!(grid.times(), &[1.0, 1.0 + (1.0 / 3.0), 1.0 + (2.0 / 3.0), 2.0]);
    }

    #[test]
    fn transitions_take_no_time() {
        let (o, t) = (StepKind::Ode, StepKind::Transition);
        let grid = TimeGrid::from_kinds(&[o, t, o], 0.5).unwrap();
        assert_eq!(grid.times(), &[0.0, 0.5, 0.5, 1.0]);
        assert_eq!(grid.transitions(), &[1]);
    }

    #[test]
    fn bad_grids_are_refused() {
        assert_eq!(TimeGrid::uniform(0, 0.0, 1.0), Err(GridError::NoSteps));
        assert!(matches!(TimeGrid::uniform(2, 1.0, 1.0), Err(GridError::TimesNotIncreasing { point: 1, .. })));
        assert!(TimeGrid::from_times(vec![0.0, f64::NAN]).is_err());
        assert!(TimeGrid::uniform(2, 0.0, f64::INFINITY).is_err());
    }
}
