//! Which samples a rank gets.

use std::ops::Range;

use crate::data::LoadError;

/// How a global batch is cut.
///
/// Every data rank gets a shard: contiguous in the order of the epoch, of sizes that differ by one at most, the first
/// ranks having the larger ones; empty where there are more ranks than samples. Every shard is cut likewise into
/// micro-batches, where empty ones are left out. All layer ranks of one data rank use the same shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    /// Samples in a global batch; the last one of an epoch may be shorter.
    pub batch: usize,
    /// Micro-batches per shard at most.
    pub micro_batches: usize,
    /// Ranks of the data axis.
    pub data_ranks: usize,
    /// This rank on the data axis.
    pub data_rank: usize,
}

/// What a rank reads for one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPlan {
    /// Samples of the epoch before the step.
    pub position: usize,
    /// Samples in the global batch.
    pub global: usize,
    /// Samples of the batch before this rank's shard.
    pub skip_before: usize,
    /// Sizes of this rank's micro-batches, none 0.
    pub micro: Vec<usize>,
    /// Samples of the batch behind this rank's shard.
    pub skip_after: usize,
}

impl StepPlan {
    /// Samples of the epoch up to the end of the step.
    pub fn position_after(&self) -> usize {
        self.position + self.global
    }
}

impl Shards {
    /// The steps of an epoch of `n` samples from `position` on.
    ///
    /// # Errors
    /// [`LoadError::Zero`], [`LoadError::NoSuchDataRank`], [`LoadError::PositionPastEnd`].
    pub fn steps(self, n: usize, position: usize) -> Result<impl Iterator<Item = StepPlan> + Send + use<>, LoadError> {
        self.check()?;
        if position > n {
            return Err(LoadError::PositionPastEnd { position, n });
        }
        Ok((position..n).step_by(self.batch).map(move |position| self.step(n, position)))
    }

    fn check(self) -> Result<(), LoadError> {
        let Self { batch, micro_batches, data_ranks, data_rank } = self;
        let counts = [(batch, "samples in a batch"), (micro_batches, "micro-batches"), (data_ranks, "data ranks")];
        if let Some((_, what)) = counts.into_iter().find(|(count, _)| *count == 0) {
            return Err(LoadError::Zero { what });
        }
        if data_rank >= data_ranks {
            return Err(LoadError::NoSuchDataRank { data_rank, data_ranks });
        }
        Ok(())
    }

    fn step(self, n: usize, position: usize) -> StepPlan {
        let global = self.batch.min(n - position);
        let shard = block(global, self.data_ranks, self.data_rank);
        let n_micro = self.micro_batches.min(shard.len());
        let micro = (0..n_micro).map(|i| block(shard.len(), n_micro, i).len()).collect();
        StepPlan { position, global, skip_before: shard.start, micro, skip_after: global - shard.end }
    }
}

/// Block `i` of `n` samples cut into `n_blocks`.
fn block(n: usize, n_blocks: usize, i: usize) -> Range<usize> {
    let (each, more) = (n / n_blocks, n % n_blocks);
    let start = |i: usize| i * each + i.min(more);
    start(i)..start(i + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(shards: Shards, n: usize, position: usize) -> Vec<StepPlan> {
        shards.steps(n, position).unwrap().collect()
    }

    #[test]
    fn the_last_batch_is_shorter_and_empty_micro_batches_are_left_out() {
        let shards = Shards { batch: 8, micro_batches: 3, data_ranks: 2, data_rank: 1 };
        let plan = |position, global, skip_before, micro: &[usize], skip_after| StepPlan {
            position,
            global,
            skip_before,
            micro: micro.to_vec(),
            skip_after,
        };
        assert_eq!(steps(shards, 11, 0), [plan(0, 8, 4, &[2, 1, 1], 0), plan(8, 3, 2, &[1], 0)]);
        let first = Shards { data_rank: 0, ..shards };
        assert_eq!(steps(first, 11, 0), [plan(0, 8, 0, &[2, 1, 1], 4), plan(8, 3, 0, &[1, 1], 1)]);
        assert_eq!(steps(shards, 9, 8), [plan(8, 1, 1, &[], 0)]);
        assert_eq!(steps(shards, 9, 9), []);
        assert_eq!(steps(shards, 0, 0), []);
    }

    #[test]
    fn extreme_counts_do_not_overflow() {
        let max = usize::MAX;
        let shards = Shards { batch: max, micro_batches: max, data_ranks: max, data_rank: max - 1 };
        let [step] = &steps(shards, 3, 0)[..] else { panic!("one step expected") };
        assert_eq!((step.global, step.skip_before, step.skip_after, step.position_after()), (3, 3, 0, 3));
        assert!(step.micro.is_empty());
    }

    #[test]
    fn wrong_numbers_are_refused() {
        let good = Shards { batch: 4, micro_batches: 1, data_ranks: 2, data_rank: 0 };
        let refused = |shards: Shards| shards.steps(10, 0).err().map(|error| error.to_string());
        assert_eq!(refused(good), None);
        for (bad, word) in [
            (Shards { batch: 0, ..good }, "samples in a batch is 0"),
            (Shards { micro_batches: 0, ..good }, "micro-batches is 0"),
            (Shards { data_ranks: 0, ..good }, "data ranks is 0"),
            (Shards { data_rank: 2, ..good }, "data rank 2 of 2"),
        ] {
            assert!(refused(bad).is_some_and(|message| message.contains(word)), "{bad:?}");
        }
        assert!(matches!(good.steps(10, 11), Err(LoadError::PositionPastEnd { position: 11, n: 10 })));
    }

    proptest! {
        #[test]
        fn shards_are_disjoint_and_cover_every_batch(
            n in 0_usize..200, position in 0_usize..200, batch in 1_usize..60, micro_batches in 1_usize..9,
            data_ranks in 1_usize..9,
        ) {
            let position = position.min(n);
            let all: Vec<Vec<StepPlan>> = (0..data_ranks)
                .map(|data_rank| steps(Shards { batch, micro_batches, data_ranks, data_rank }, n, position))
                .collect();
            prop_assert_eq!(all[0].len(), (n - position).div_ceil(batch));
            let mut at = position;
            for step in 0..all[0].len() {
                let global = batch.min(n - at);
                let mut covered = 0;
                let mut sizes = Vec::new();
                for plan in all.iter().map(|plans| &plans[step]) {
                    let size: usize = plan.micro.iter().sum();
                    prop_assert_eq!((plan.position, plan.global, plan.position_after()), (at, global, at + global));
                    prop_assert_eq!(plan.skip_before, covered);
                    covered += size;
                    prop_assert_eq!(plan.skip_after, global - covered);
                    prop_assert_eq!(plan.micro.len(), micro_batches.min(size));
                    prop_assert!(spread(&plan.micro) <= 1 && !plan.micro.contains(&0));
                    sizes.push(size);
                }
                prop_assert_eq!(covered, global);
                prop_assert!(spread(&sizes) <= 1);
                at += global;
            }
            prop_assert_eq!(at, n);
        }
    }

    fn spread(sizes: &[usize]) -> usize {
        sizes.iter().max().unwrap_or(&0) - sizes.iter().min().unwrap_or(&0)
    }
}
