//! Layers shared out by what they cost, where they differ: those of a network of blocks do.

use std::fmt;

use braidnet_grid::{Partition, TimeGrid};
use braidnet_nn::{CoarseOperator, Network};

use crate::predict::{Measured, Op};
use crate::{LayerParallel, Schedule, TrainError};

/// Times that every layer is measured.
const REPEATS: usize = 5;

impl<N: Network> LayerParallel<N> {
    /// Seconds that every layer of the whole network takes in a training step on a batch of `samples` samples: once forward, linearised,
    /// and once back, with gradients. Medians over all layers of equal sizes, on states that begin as zeros; the same on every rank.
    ///
    /// # Errors
    /// A layer that fails, or a failed message.
    ///
    /// # Communication
    /// Collective: one all-gather. All ranks measure their own layers at the same time, as they will work.
    ///
    /// # Cost
    /// A few sequential training steps of this rank's layers.
    pub fn layer_costs(&self, samples: usize) -> Result<Vec<f64>, TrainError> {
        let batch = self.network.largest_batch(samples);
        let mut own = Vec::new();
        for _ in 0..REPEATS {
            own.extend(self.time_layers(&batch)?);
        }
        let measured = Measured::gather(self, samples, own)?;
        let cost = |layer: usize| {
            let once = [Op::Linearize, Op::Back, Op::Gradients].map(|op| measured.seconds(layer, op).unwrap_or(0.0));
            once.iter().sum()
        };
        Ok((0..self.n_layers()).map(cost).collect())
    }
}

/// Which rank gets which layers, by what these cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// Cost of every layer, in seconds.
    pub costs: Vec<f64>,
    /// The layers by cost.
    pub partition: Partition,
    /// The layers by count.
    pub by_count: Partition,
}

impl Balance {
    /// Shares `costs` out over so many ranks, as [`Schedule::partition`] shares out counts.
    ///
    /// # Errors
    /// As [`Schedule::partition`], and a cost that is no number of at least 0.
    pub fn new(
        costs: Vec<f64>,
        schedule: &Schedule,
        grid: &TimeGrid,
        n_ranks: usize,
        operator: CoarseOperator,
    ) -> Result<Self, TrainError> {
        let partition = schedule.partition_by_cost(grid, n_ranks, operator, &costs)?;
        let by_count = schedule.partition(grid, n_ranks, operator)?;
        Ok(Self { costs, partition, by_count })
    }

    /// Cost of each rank's layers.
    fn loads(&self, partition: &Partition) -> Vec<f64> {
        (0..partition.n_ranks()).map(|rank| self.costs[partition.layers(rank)].iter().sum()).collect()
    }

    /// The largest cost of a rank over the mean of all: 1 where all have the same.
    pub fn imbalance(&self, partition: &Partition) -> f64 {
        let loads = self.loads(partition);
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        loads.into_iter().fold(0.0, f64::max) / mean
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layers by measured cost:")?;
        for (rank, load) in self.loads(&self.partition).into_iter().enumerate() {
            let layers = self.partition.layers(rank);
            write!(f, " rank {rank} {}..{} {:.1} ms,", layers.start, layers.end, 1e3 * load)?;
        }
        let [now, by_count] = [&self.partition, &self.by_count].map(|partition| self.imbalance(partition));
        write!(f, " largest over mean {now:.2}; by count it would be {by_count:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SolveConfig;

    #[test]
    fn dear_layers_are_shared_by_fewer() {
        let costs = vec![2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0];
        let grid = TimeGrid::uniform(8, 0.0, 1.0).unwrap();
        let schedule = Schedule::layer_parallel(SolveConfig::new(2));
        let balance = Balance::new(costs, &schedule, &grid, 2, CoarseOperator::Midpoint).unwrap();
        assert_eq!(balance.partition.layers(0), 0..3);
        assert_eq!(balance.imbalance(&balance.partition), 1.0);
        assert_eq!(balance.imbalance(&balance.by_count), 8.0 / 6.0);
        let text = balance.to_string();
        assert!(text.ends_with("largest over mean 1.00; by count it would be 1.33"), "{text}");
    }

    #[test]
    fn runs_stay_whole_where_the_operator_needs_them() {
        let costs = vec![2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0];
        let grid = TimeGrid::uniform(8, 0.0, 1.0).unwrap();
        let schedule = Schedule::layer_parallel(SolveConfig::new(4));
        let balance = Balance::new(costs, &schedule, &grid, 2, CoarseOperator::Mean).unwrap();
        assert_eq!(balance.partition.layers(0), 0..4);
    }
}
