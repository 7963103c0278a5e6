//! Coarser grids on coarse levels.

use braidnet_nn::{Restriction, SpaceCoarsening};
use clap::{Args, ValueEnum};

/// Restrictions by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RestrictionName {
    /// A weighted mean of a point and its neighbours.
    FullWeighting,
    /// Every other point.
    Injection,
}

/// Coarsening inside layers: coarse levels of the solves work on images or voxels of half the extents.
#[derive(Debug, Clone, Args)]
pub struct SpaceArgs {
    /// Levels from which states are halved along every axis on the way to the next coarser one: 0 from the first to the second level,
    /// 1 from the second to the third, 0,1 for both. [default: none]
    #[arg(long, value_name = "LEVELS", value_delimiter = ',')]
    pub coarsen_space: Vec<usize>,
    /// How states are restricted; corrections are interpolated.
    #[arg(long, value_enum, default_value_t = RestrictionName::FullWeighting)]
    pub restriction: RestrictionName,
}

impl SpaceArgs {
    /// The coarsening, if there is one.
    pub fn coarsening(&self) -> Option<SpaceCoarsening> {
        let restriction = match self.restriction {
            RestrictionName::FullWeighting => Restriction::FullWeighting,
            RestrictionName::Injection => Restriction::Injection,
        };
        let levels = self.coarsen_space.clone();
        (!levels.is_empty()).then_some(SpaceCoarsening { restriction, levels })
    }
}
