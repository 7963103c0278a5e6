//! Which rank owns which layers.

use std::ops::Range;

use crate::GridError;

/// Contiguous blocks of layers, one per rank, none empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// `n_ranks + 1` ascending borders, from 0 to the number of layers.
    borders: Vec<usize>,
}

impl Partition {
    /// Equal counts; where they do not divide, the first ranks get one layer more.
    ///
    /// # Errors
    /// [`GridError::NoRanks`], [`GridError::MoreRanksThanLayers`], [`GridError::NoSteps`].
    pub fn even(n_layers: usize, n_ranks: usize) -> Result<Self, GridError> {
        check_counts(n_layers, n_ranks)?;
        let (each, more) = (n_layers / n_ranks, n_layers % n_ranks);
        Ok(Self { borders: (0..=n_ranks).map(|r| r * each + r.min(more)).collect() })
    }

    /// Blocks between given borders, which ascend from 0 to the number of layers.
    ///
    /// # Errors
    /// [`GridError::BadBorders`] where they do not.
    pub fn from_borders(borders: impl IntoIterator<Item = usize>) -> Result<Self, GridError> {
        let borders: Vec<usize> = borders.into_iter().collect();
        let ascend = borders.len() > 1 && borders[0] == 0 && borders.windows(2).all(|pair| pair[0] < pair[1]);
        if ascend { Ok(Self { borders }) } else { Err(GridError::BadBorders { borders }) }
    }

    /// Blocks whose largest total cost is as small as contiguous blocks allow.
    ///
    /// # Errors
    /// As [`Partition::even`], and [`GridError::BadCost`].
    pub fn by_cost(costs: &[f64], n_ranks: usize) -> Result<Self, GridError> {
        check_counts(costs.len(), n_ranks)?;
        if let Some(layer) = costs.iter().position(|c| !c.is_finite() || *c < 0.0) {
            return Err(GridError::BadCost { layer, cost: costs[layer] });
        }
        let largest = costs.iter().copied().fold(0.0, f64::max);
        let (mut low, mut high) = (largest, costs.iter().sum::<f64>());
        for _ in 0..64 {
            let middle = 0.5 * (low + high);
            if blocks_within(costs, middle, n_ranks).is_some() {
                high = middle;
            } else {
                low = middle;
            }
        }
        // Rounding may leave `high` a hair below the sum; one block per rank always exists for twice that.
        let borders = blocks_within(costs, high, n_ranks).or_else(|| blocks_within(costs, 2.0 * high, n_ranks));
        borders.map_or_else(|| Self::even(costs.len(), n_ranks), |borders| Ok(Self { borders }))
    }

    /// Number of ranks.
    pub fn n_ranks(&self) -> usize {
        self.borders.len() - 1
    }

    /// Number of layers.
    pub fn n_layers(&self) -> usize {
        self.borders[self.n_ranks()]
    }

    /// Layers of `rank`, never empty.
    pub fn layers(&self, rank: usize) -> Range<usize> {
        self.borders[rank]..self.borders[rank + 1]
    }

    /// The rank that owns `layer`.
    pub fn owner(&self, layer: usize) -> usize {
        self.borders.partition_point(|b| *b <= layer) - 1
    }
}

fn check_counts(n_layers: usize, n_ranks: usize) -> Result<(), GridError> {
    match (n_layers, n_ranks) {
        (0, _) => Err(GridError::NoSteps),
        (_, 0) => Err(GridError::NoRanks { n_layers }),
        _ if n_ranks > n_layers => Err(GridError::MoreRanksThanLayers { n_ranks, n_layers }),
        _ => Ok(()),
    }
}

/// Borders of `n_ranks` blocks that each cost at most `limit`, filled from the left; `None` if there are none.
fn blocks_within(costs: &[f64], limit: f64, n_ranks: usize) -> Option<Vec<usize>> {
    let mut borders = vec![0];
    let mut load = 0.0;
    for (n, cost) in costs.iter().enumerate() {
        let block_is_empty = borders.last() == Some(&n);
        // The layers left must suffice for one per rank left.
        let must_close = costs.len() - n <= n_ranks - borders.len();
        if !block_is_empty && (must_close || load + cost > limit) {
            borders.push(n);
            load = 0.0;
        }
        load += cost;
        if load > limit || borders.len() > n_ranks {
            return None;
        }
    }
    borders.push(costs.len());
    Some(borders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn even_blocks() {
        let p = Partition::even(10, 4).unwrap();
        let blocks: Vec<_> = (0..4).map(|r| p.layers(r)).collect();
        assert_eq!(blocks, [0..3, 3..6, 6..8, 8..10]);
        assert_eq!((p.owner(2), p.owner(3), p.owner(9)), (0, 1, 3));
    }

    #[test]
    fn costs_move_the_border() {
        let p = Partition::by_cost(&[8.0, 1.0, 1.0, 1.0, 1.0, 4.0], 2).unwrap();
        assert_eq!((p.layers(0), p.layers(1)), (0..1, 1..6));
    }

    #[test]
    fn borders_must_ascend() {
        assert_eq!(Partition::from_borders([0, 3, 4]).unwrap().layers(0), 0..3);
        for bad in [vec![], vec![0], vec![1, 2], vec![0, 2, 2]] {
            assert_eq!(Partition::from_borders(bad.clone()), Err(GridError::BadBorders { borders: bad }));
        }
    }

    #[test]
    fn impossible_counts_are_refused() {
        assert_eq!(Partition::even(4, 0), Err(GridError::NoRanks { n_layers: 4 }));
        assert_eq!(Partition::even(4, 5), Err(GridError::MoreRanksThanLayers { n_ranks: 5, n_layers: 4 }));
        assert_eq!(Partition::even(0, 1), Err(GridError::NoSteps));
        assert!(matches!(Partition::by_cost(&[1.0, f64::NAN], 2), Err(GridError::BadCost { layer: 1, .. })));
    }

    /// The smallest possible largest load, by trying every first block.
    fn best(costs: &[f64], n_ranks: usize) -> f64 {
        if n_ranks == 1 {
            return costs.iter().sum();
        }
        let firsts = 1..=costs.len() + 1 - n_ranks;
        let loads = firsts.map(|n| costs[..n].iter().sum::<f64>().max(best(&costs[n..], n_ranks - 1)));
        loads.fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #[test]
        fn every_layer_is_owned_once(n_layers in 1usize..60, n_ranks in 1usize..60) {
            prop_assume!(n_ranks <= n_layers);
            let p = Partition::even(n_layers, n_ranks).unwrap();
            prop_assert_eq!(p.n_layers(), n_layers);
            for rank in 0..n_ranks {
                prop_assert!(!p.layers(rank).is_empty());
                for layer in p.layers(rank) {
                    prop_assert_eq!(p.owner(layer), rank);
                }
            }
        }

        #[test]
        fn by_cost_is_optimal(costs in prop::collection::vec(0.0f64..10.0, 1..9), n_ranks in 1usize..9) {
            prop_assume!(n_ranks <= costs.len());
            let p = Partition::by_cost(&costs, n_ranks).unwrap();
            prop_assert_eq!(p.n_ranks(), n_ranks);
            let load = |r: usize| costs[p.layers(r)].iter().sum::<f64>();
            let worst = (0..n_ranks).map(load).fold(0.0, f64::max);
            prop_assert!((0..n_ranks).all(|r| !p.layers(r).is_empty()));
            prop_assert!(worst <= best(&costs, n_ranks) * (1.0 + 1e-9) + 1e-12);
        }
    }
}
