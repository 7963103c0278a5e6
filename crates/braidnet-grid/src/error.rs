//! What can be wrong with a grid, its coarsening or its partition.

/// An invalid grid, coarsening or partition; every variant names the value and the remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GridError {
    /// A grid without steps.
    #[error("a grid needs at least one step, got 0 layers: give the network at least one layer")]
    NoSteps,
    /// Times that do not increase along ODE steps, or are not finite.
    #[error("time {next} at point {point} does not follow {time}: times must be finite and increase along ODE steps")]
    TimesNotIncreasing {
        /// Index of the later of the two points.
        point: usize,
        /// Time of the point before.
        time: f64,
        /// Time at `point`.
        next: f64,
    },
    /// No levels were asked for.
    #[error("max_levels is 0: use 1 for a sequential solve, 2 or more for multigrid")]
    NoLevels,
    /// No coarsening factor was given although there may be a second level.
    #[error("no coarsening factor given, but max_levels is {max_levels}: give at least one")]
    NoFactor {
        /// Levels asked for.
        max_levels: usize,
    },
    /// A coarsening factor of zero.
    #[error("the coarsening factor of level {level} is 0: it must be at least 1, and 2 or more to shrink the grid")]
    ZeroFactor {
        /// Level with the factor.
        level: usize,
    },
    /// No ranks.
    #[error("cannot share {n_layers} layers out to 0 ranks: use at least one")]
    NoRanks {
        /// Number of layers.
        n_layers: usize,
    },
    /// More ranks than layers.
    #[error(
        "{n_ranks} layer ranks for {n_layers} layers: every rank must own a layer, use at most {n_layers} ranks or more layers"
    )]
    MoreRanksThanLayers {
        /// Ranks asked for.
        n_ranks: usize,
        /// Number of layers.
        n_layers: usize,
    },
    /// A cost that cannot be balanced.
    #[error("the cost of layer {layer} is {cost}: costs must be finite and not negative")]
    BadCost {
        /// The layer.
        layer: usize,
        /// Its cost.
        cost: f64,
    },
    /// Borders of blocks that do not ascend from 0.
    #[error("blocks with the borders {borders:?}: borders must ascend from 0 to the number of layers")]
    BadBorders {
        /// The borders.
        borders: Vec<usize>,
    },
    /// A partition made for another grid.
    #[error("the partition covers {partition} layers, the grid has {grid}: build both for the same network")]
    WrongPartition {
        /// Layers covered by the partition.
        partition: usize,
        /// Steps of the grid.
        grid: usize,
    },
}
