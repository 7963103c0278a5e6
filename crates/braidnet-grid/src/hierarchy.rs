//! All levels of a grid.

use crate::{Coarsening, GridError, Level, TimeGrid};

/// The levels of a grid, finest first.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    levels: Vec<Level>,
}

impl Hierarchy {
    /// Coarsens `grid` level by level.
    ///
    /// Level `l + 1` exists iff `l + 1 < max_levels`, it has at least `max(1, min_coarse)` steps, and (for a
    /// factor above 1) it is smaller than level `l`.
    ///
    /// # Errors
    /// As [`Coarsening::validate`].
    pub fn new(grid: &TimeGrid, coarsening: &Coarsening) -> Result<Self, GridError> {
        coarsening.validate()?;
        let mut levels = vec![Level::finest(grid)];
        while let Some(level) = levels.last_mut() {
            let l = level.index();
            let cfactor = coarsening.cfactor(l);
            level.split(cfactor, coarsening.last_interval);
            let n_coarse = level.c_points().len() - 1;
            let shrinks = n_coarse < level.n_steps() || cfactor == 1;
            if l + 1 >= coarsening.max_levels || n_coarse < coarsening.min_coarse.max(1) || !shrinks {
                break;
            }
            let coarser = level.coarser();
            levels.push(coarser);
        }
        Ok(Self { levels })
    }

    /// The same levels walked from the output to the input, for the adjoint: coarse steps stand for the same
    /// runs of layers as before.
    pub fn reversed(&self) -> Self {
        let n_fine = self.finest().n_steps();
        Self { levels: self.levels.iter().map(|l| l.reversed(n_fine)).collect() }
    }

    /// All levels, finest first; never empty.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Number of levels, at least 1.
    pub fn n_levels(&self) -> usize {
        self.levels.len()
    }

    /// Level 0.
    pub fn finest(&self) -> &Level {
        &self.levels[0]
    }

    /// Length in layers of the longest step of the first coarse level: 1 where there is none.
    pub fn longest_run(&self) -> usize {
        self.levels.get(1).map_or(1, longest_step)
    }

    /// As [`Hierarchy::longest_run`], of the coarsest level: the longest of all.
    pub fn coarsest_run(&self) -> usize {
        self.levels.last().map_or(1, longest_step)
    }

    /// The layers with which the steps of the coarsest level begin, ascending on a forward grid.
    pub fn coarsest_starts(&self) -> Vec<usize> {
        let coarsest = self.levels.last();
        coarsest.map_or(Vec::new(), |level| (0..level.n_steps()).map(|j| level.step(j).fine.start).collect())
    }
}

/// Length in layers of the longest step of a level.
fn longest_step(level: &Level) -> usize {
    (0..level.n_steps()).map(|j| level.step(j).fine.len()).max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LastInterval, StepKind};

    fn steps(hierarchy: &Hierarchy) -> Vec<usize> {
        hierarchy.levels().iter().map(Level::n_steps).collect()
    }

    fn tail(max_levels: usize, cfactors: &[usize], min_coarse: usize) -> Coarsening {
        Coarsening { max_levels, cfactors: cfactors.to_vec(), min_coarse, last_interval: LastInterval::Tail }
    }

    #[test]
    fn sizes_match_xbraid() {
        for (n, c, expected) in [
            (10, tail(2, &[2], 2), vec![10, 5]),
            (103, tail(3, &[4], 2), vec![103, 25, 6]),
            (64, tail(10, &[2], 8), vec![64, 32, 16, 8]),
            (10, tail(5, &[2], 10), vec![10]),
            (32, tail(3, &[1, 4], 2), vec![32, 32, 8]),
            (12, tail(2, &[6], 2), vec![12, 2]),
            (3, tail(4, &[4], 0), vec![3]),
        ] {
            let grid = TimeGrid::uniform(n, 0.0, 1.0).unwrap();
            assert_eq!(steps(&Hierarchy::new(&grid, &c).unwrap()), expected, "{n} steps, {c:?}");
        }
    }

    #[test]
    fn a_short_last_interval_ends_on_the_last_point() {
        let grid = TimeGrid::uniform(10, 0.0, 10.0).unwrap();
        let h = Hierarchy::new(&grid, &Coarsening::network(3, 4)).unwrap();
        assert_eq!(h.finest().c_points(), &[0, 4, 8, 10]);
        assert_eq!(steps(&h), [10, 3]);
        let last = h.levels()[1].step(2);
        assert_eq!((last.layer, last.t, last.dt, last.fine.clone()), (8, 8.0, 2.0, 8..10));
    }

    #[test]
    fn transitions_are_never_merged() {
        let kinds: Vec<StepKind> =
            "oooootoooot".chars().map(|c| if c == 't' { StepKind::Transition } else { StepKind::Ode }).collect();
        let grid = TimeGrid::from_kinds(&kinds, 1.0).unwrap();
        for rule in [LastInterval::Short, LastInterval::Tail] {
            let coarsening = Coarsening { last_interval: rule, min_coarse: 1, ..Coarsening::network(4, 4) };
            let h = Hierarchy::new(&grid, &coarsening).unwrap();
            assert_eq!(h.finest().c_points(), &[0, 4, 5, 6, 10, 11]);
            assert_eq!(h.levels()[1].step(2).kind, StepKind::Transition);
            assert_eq!(h.levels()[1].step(2).fine, 5..6);
            assert_eq!(h.levels()[1].c_points(), &[0, 2, 3, 4, 5]);
            assert_eq!(steps(&h), [11, 5, 4]);
        }
    }

    #[test]
    fn the_reversed_grid_keeps_the_runs() {
        let grid = TimeGrid::uniform(10, 0.0, 10.0).unwrap();
        let h = Hierarchy::new(&grid, &Coarsening::network(3, 4)).unwrap();
        let r = h.reversed();
        assert_eq!(r.finest().c_points(), &[0, 2, 6, 10]);
        let runs: Vec<_> = (0..3).map(|j| r.levels()[1].step(j).fine).collect();
        assert_eq!(runs, [8..10, 4..8, 0..4]);
        let first = r.finest().step(0);
        assert_eq!((first.layer, first.t, first.dt), (9, 9.0, 1.0));
        let back = r.reversed();
        assert_eq!(back.finest().c_points(), h.finest().c_points());
        assert_eq!(back.levels()[1].step(1), h.levels()[1].step(1));
    }

    #[test]
    fn the_longest_run_is_that_of_the_first_coarse_level() {
        let grid = TimeGrid::uniform(10, 0.0, 10.0).unwrap();
        assert_eq!(Hierarchy::new(&grid, &Coarsening::network(2, 4)).unwrap().longest_run(), 4);
        let none = Hierarchy::new(&grid, &Coarsening::none()).unwrap();
        assert_eq!((none.longest_run(), none.coarsest_run()), (1, 1));
        let grid = TimeGrid::uniform(50, 0.0, 50.0).unwrap();
        let three = Hierarchy::new(&grid, &Coarsening::network(3, 4)).unwrap();
        assert_eq!((three.longest_run(), three.coarsest_run()), (4, 16));
    }
}
