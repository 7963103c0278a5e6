//! How a grid is coarsened.

use serde::{Deserialize, Serialize};

use crate::GridError;

/// What becomes of the steps after the last full interval of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastInterval {
    /// They form a tail of F-points without a coarse parent; XBraid's rule, used by the model problems.
    Tail,
    /// They form a shorter last interval, so that the last point, a network's answer, is a C-point.
    Short,
}

/// Levels of a hierarchy: a factor per level, how many levels at most, how small the coarsest may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coarsening {
    /// At most this many levels; 1 is the sequential solve.
    pub max_levels: usize,
    /// Coarsening factor of each level; the last one holds for all further levels.
    pub cfactors: Vec<usize>,
    /// A level with fewer steps than this is not made.
    pub min_coarse: usize,
    /// Rule for the steps that do not fill an interval.
    pub last_interval: LastInterval,
}

impl Coarsening {
    /// The same factor on every level, `min_coarse` 2 and a short last interval.
    pub fn network(max_levels: usize, cfactor: usize) -> Self {
        Self { max_levels, cfactors: vec![cfactor], min_coarse: 2, last_interval: LastInterval::Short }
    }

    /// The sequential solve: one level.
    pub fn none() -> Self {
        Self::network(1, 2)
    }

    /// Factor from `level` to the next coarser one.
    ///
    /// Factors end with the last one given; an empty list, which [`Coarsening::validate`] refuses for more
    /// than one level, counts as "do not coarsen".
    pub fn cfactor(&self, level: usize) -> usize {
        let last = self.cfactors.last().copied().unwrap_or(1);
        self.cfactors.get(level).copied().unwrap_or(last)
    }

    /// Checks the numbers alone, before a grid is known.
    ///
    /// # Errors
    /// [`GridError::NoLevels`], [`GridError::NoFactor`], [`GridError::ZeroFactor`].
    pub fn validate(&self) -> Result<(), GridError> {
        if self.max_levels == 0 {
            return Err(GridError::NoLevels);
        }
        if self.max_levels > 1 && self.cfactors.is_empty() {
            return Err(GridError::NoFactor { max_levels: self.max_levels });
        }
        match self.cfactors.iter().position(|m| *m == 0) {
            Some(level) => Err(GridError::ZeroFactor { level }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_factor_is_repeated() {
        let c = Coarsening { cfactors: vec![4, 2], ..Coarsening::network(5, 1) };
        assert_eq!((c.cfactor(0), c.cfactor(1), c.cfactor(4)), (4, 2, 2));
    }

    #[test]
    fn impossible_numbers_are_refused() {
        assert_eq!(Coarsening::network(0, 2).validate(), Err(GridError::NoLevels));
        let c = Coarsening { cfactors: vec![2, 0], ..Coarsening::network(3, 2) };
        assert_eq!(c.validate(), Err(GridError::ZeroFactor { level: 1 }));
        let c = Coarsening { cfactors: vec![], ..Coarsening::network(2, 2) };
        assert_eq!(c.validate(), Err(GridError::NoFactor { max_levels: 2 }));
    }
}
