//! What one rank does on every level, and the messages that takes.
//!
//! The rank that owns a layer evaluates every step that uses its parameters, on every level: parameters never
//! travel, states do. A rank holds the points at both ends of its steps. The point it starts from is produced by
//! another rank, which sends it ([`Share::from`], [`Share::to`]); that one message per sweep is all there is
//! where the ends of the coarse steps are also the ends of the ranks' blocks. Where a coarse step runs across
//! such an end, the C-point behind it has to travel between the rank that produces it on the fine level and the
//! rank that produces it on the coarse level: [`Transfers`].

use std::ops::Range;

use crate::level::Direction;
use crate::{GridError, Hierarchy, Level, Partition};

/// What one rank does on one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Steps that the rank evaluates; may be empty on coarse levels.
    pub steps: Range<usize>,
    /// Rank that produces the first point, `None` if that is point 0 or there are no steps.
    pub from: Option<usize>,
    /// Rank whose steps start at the last point, `None` if that is the last point of the level or there are no steps.
    pub to: Option<usize>,
}

impl Share {
    /// Points that the rank holds: the ends of its steps; empty if it has none.
    pub fn points(&self) -> Range<usize> {
        if self.steps.is_empty() { self.steps.clone() } else { self.steps.start..self.steps.end + 1 }
    }

    /// Whether the rank holds a copy of `point`.
    pub fn holds(&self, point: usize) -> bool {
        self.points().contains(&point)
    }

    /// Whether the rank computes `point` (it does not compute the first one that it holds).
    pub fn produces(&self, point: usize) -> bool {
        point > self.steps.start && point <= self.steps.end
    }
}

/// A C-point that travels between ranks when it changes level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Index on the coarse level.
    pub coarse_point: usize,
    /// Sending rank.
    pub from: usize,
    /// Receiving rank.
    pub to: usize,
    /// Whether the residual travels with the state (restriction to the producer of the coarse point).
    pub with_residual: bool,
}

/// The transfers of one rank between a level and the next coarser one, in the order of the points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfers {
    /// States (and residuals) on the way to the coarse level.
    pub down: Vec<Transfer>,
    /// Coarse states on the way back.
    pub up: Vec<Transfer>,
}

/// Shares and transfers of one rank on all levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    shares: Vec<Share>,
    transfers: Vec<Transfers>,
}

impl Layout {
    /// The part of `rank` in a solve on `hierarchy` whose layers are shared out by `partition`.
    ///
    /// # Errors
    /// [`GridError::WrongPartition`] if both were not made for the same number of layers.
    pub fn new(hierarchy: &Hierarchy, partition: &Partition, rank: usize) -> Result<Self, GridError> {
        let grid = hierarchy.finest().n_steps();
        if partition.n_layers() != grid {
            return Err(GridError::WrongPartition { partition: partition.n_layers(), grid });
        }
        let levels = hierarchy.levels();
        let shares = levels.iter().map(|level| share(level, partition, rank)).collect();
        let transfers = levels.windows(2).map(|pair| transfers(&pair[0], &pair[1], partition, rank)).collect();
        Ok(Self { shares, transfers })
    }

    /// The rank's part in `level`.
    pub fn share(&self, level: usize) -> &Share {
        &self.shares[level]
    }

    /// The rank's transfers between `level` and `level + 1`.
    pub fn transfers(&self, level: usize) -> &Transfers {
        &self.transfers[level]
    }
}

fn share(level: &Level, partition: &Partition, rank: usize) -> Share {
    let n = level.n_steps();
    let owner = |j: usize| partition.owner(level.layer(j));
    // Owners ascend along a forward level and descend along a reversed one.
    let (start, end) = match level.direction() {
        Direction::Forward => (first_step(n, |j| owner(j) >= rank), first_step(n, |j| owner(j) > rank)),
        Direction::Reversed { .. } => (first_step(n, |j| owner(j) <= rank), first_step(n, |j| owner(j) < rank)),
    };
    let busy = start < end;
    Share {
        steps: start..end,
        from: (busy && start > 0).then(|| owner(start - 1)),
        to: (busy && end < n).then(|| owner(end)),
    }
}

/// The first of `n` steps for which `reached` holds, which must hold for all steps after it as well.
fn first_step(n: usize, reached: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low.midpoint(high);
        if reached(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

fn transfers(fine: &Level, coarse: &Level, partition: &Partition, rank: usize) -> Transfers {
    let mut all = Transfers::default();
    if partition.n_ranks() == 1 {
        return all;
    }
    let owner = |level: &Level, j: usize| partition.owner(level.layer(j));
    for (coarse_point, &point) in fine.c_points().iter().enumerate() {
        let ends = Ends {
            fine_producer: (point > 0).then(|| owner(fine, point - 1)),
            fine_starter: (point < fine.n_steps()).then(|| owner(fine, point)),
            coarse_producer: (coarse_point > 0).then(|| owner(coarse, coarse_point - 1)),
            coarse_starter: (coarse_point < coarse.n_steps()).then(|| owner(coarse, coarse_point)),
        };
        all.down.extend(ends.down(coarse_point).filter(|t| t.from == rank || t.to == rank));
        all.up.extend(ends.up(coarse_point).filter(|t| t.from == rank || t.to == rank));
    }
    all
}

/// The ranks that produce a C-point and start from it, on both levels.
struct Ends {
    fine_producer: Option<usize>,
    fine_starter: Option<usize>,
    coarse_producer: Option<usize>,
    coarse_starter: Option<usize>,
}

impl Ends {
    fn down(&self, coarse_point: usize) -> impl Iterator<Item = Transfer> + use<> {
        let source = self.fine_producer.or(self.fine_starter);
        let producer = self.coarse_producer.filter(|p| Some(*p) != source);
        let informed = [source, self.fine_starter, self.coarse_producer];
        let starter = self.coarse_starter.filter(|t| !informed.contains(&Some(*t)));
        let targets = [(producer, true), (starter, false)];
        targets.into_iter().filter_map(move |(to, with_residual)| {
            Some(Transfer { coarse_point, from: source?, to: to?, with_residual })
        })
    }

    fn up(&self, coarse_point: usize) -> impl Iterator<Item = Transfer> + use<> {
        let source = self.coarse_producer;
        let informed = [self.coarse_producer, self.coarse_starter];
        let producer = self.fine_producer.filter(|q| !informed.contains(&Some(*q)));
        let starter = self.fine_starter.filter(|s| !informed.contains(&Some(*s)) && Some(*s) != producer);
        [producer, starter]
            .into_iter()
            .filter_map(move |to| Some(Transfer { coarse_point, from: source?, to: to?, with_residual: false }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Coarsening, LastInterval, TimeGrid};
    use proptest::prelude::*;

    fn layouts(n: usize, coarsening: &Coarsening, n_ranks: usize, reversed: bool) -> (Hierarchy, Vec<Layout>) {
        let grid = TimeGrid::uniform(n, 0.0, 1.0).unwrap();
        let forward = Hierarchy::new(&grid, coarsening).unwrap();
        let hierarchy = if reversed { forward.reversed() } else { forward };
        let partition = Partition::even(n, n_ranks).unwrap();
        let all = (0..n_ranks).map(|r| Layout::new(&hierarchy, &partition, r).unwrap()).collect();
        (hierarchy, all)
    }

    #[test]
    fn aligned_blocks_need_no_transfers() {
        for reversed in [false, true] {
            let (_, all) = layouts(16, &Coarsening::network(2, 4), 2, reversed);
            assert!(all.iter().all(|l| *l.transfers(0) == Transfers::default()));
        }
        let (_, all) = layouts(16, &Coarsening::network(2, 4), 2, false);
        assert_eq!(*all[0].share(1), Share { steps: 0..2, from: None, to: Some(1) });
        assert_eq!(*all[1].share(1), Share { steps: 2..4, from: Some(0), to: None });
    }

    #[test]
    fn a_run_across_a_border_sends_its_c_point_back_and_forth() {
        // Blocks 0..3, 3..6, 6..8; runs 0..4, 4..8: rank 1 produces point 4 and rank 0 coarse point 1.
        let (_, all) = layouts(8, &Coarsening::network(2, 4), 3, false);
        let down = Transfer { coarse_point: 1, from: 1, to: 0, with_residual: true };
        assert_eq!(all[0].transfers(0).down, [down]);
        // Rank 1 also starts coarse step 1, so it hears of coarse point 1 from the coarse sweep.
        assert_eq!(all[0].transfers(0).up, []);
        let end = Transfer { coarse_point: 2, from: 2, to: 1, with_residual: true };
        assert_eq!(all[2].transfers(0).down, [end]);
        assert_eq!(all[2].transfers(0).up, [Transfer { from: 1, to: 2, with_residual: false, ..end }]);
        assert_eq!(all[2].share(1).steps, 2..2);
    }

    #[test]
    fn a_reversed_run_across_a_border_sends_its_first_point() {
        let (_, all) = layouts(8, &Coarsening::network(2, 4), 3, true);
        // The input of the reversed solve is held by rank 2; rank 1 owns layer 4, the first of run 4..8.
        assert_eq!(all[2].share(0).steps, 0..2);
        let down = Transfer { coarse_point: 0, from: 2, to: 1, with_residual: false };
        assert_eq!(all[2].transfers(0).down, [down]);
        assert_eq!(all[1].share(1).steps, 0..1);
    }

    fn cases() -> impl Strategy<Value = (usize, Coarsening, usize, bool)> {
        let factors = prop::collection::vec(1usize..6, 1..4);
        (1usize..40, factors, 1usize..5, any::<bool>(), 1usize..41, any::<bool>()).prop_map(
            |(n, cfactors, max_levels, tail, ranks, reversed)| {
                let last_interval = if tail && !reversed { LastInterval::Tail } else { LastInterval::Short };
                let coarsening = Coarsening { max_levels, cfactors, min_coarse: 1, last_interval };
                (n, coarsening, ranks.min(n), reversed)
            },
        )
    }

    proptest! {
        #[test]
        fn every_step_is_evaluated_once_and_messages_match((n, coarsening, ranks, reversed) in cases()) {
            let (hierarchy, all) = layouts(n, &coarsening, ranks, reversed);
            for level in hierarchy.levels() {
                let l = level.index();
                for j in 0..level.n_steps() {
                    let owners = all.iter().filter(|a| a.share(l).steps.contains(&j)).count();
                    prop_assert_eq!(owners, 1);
                }
                for (rank, layout) in all.iter().enumerate() {
                    if let Some(to) = layout.share(l).to {
                        prop_assert_eq!(all[to].share(l).from, Some(rank));
                        prop_assert_eq!(all[to].share(l).steps.start, layout.share(l).steps.end);
                    }
                }
            }
        }

        /// Every rank that needs a C-point on the other level holds it already or is sent it, once.
        #[test]
        fn c_points_reach_all_who_need_them((n, coarsening, ranks, reversed) in cases()) {
            let (hierarchy, all) = layouts(n, &coarsening, ranks, reversed);
            for (level, coarse) in hierarchy.levels().iter().zip(hierarchy.levels().iter().skip(1)) {
                let l = level.index();
                for (j, &k) in level.c_points().iter().enumerate() {
                    for (rank, layout) in all.iter().enumerate() {
                        let (fine, crs) = (layout.share(l), layout.share(l + 1));
                        let sent = |ts: &[Transfer]| {
                            ts.iter().filter(|t| t.to == rank && t.coarse_point == j).count()
                        };
                        let down = sent(&layout.transfers(l).down);
                        let up = sent(&layout.transfers(l).up);
                        prop_assert_eq!(down, usize::from(crs.holds(j) && !(fine.holds(k) && (fine.produces(k) || !crs.produces(j)))));
                        let needs = j > 0 && fine.holds(k) && !crs.holds(j);
                        prop_assert_eq!(up, usize::from(needs));
                    }
                    prop_assert!(j <= coarse.n_steps());
                }
            }
        }
    }
}
