//! Training on several ranks: the same bodies on threads and under `mpirun`, with any number of ranks.
#![allow(missing_docs)]

mod checkpoints;
#[path = "../common/mod.rs"]
mod common;
mod data_axis;
mod evaluation;
mod exchange;
mod micro_batches;
mod norm;
mod plan;
mod recompute;
mod skip;
mod trainer;
mod training;

use braidnet_comm::testing::{RankTest, run_rank_tests};

fn main() {
    let tests: Vec<RankTest> = [
        training::TESTS,
        data_axis::TESTS,
        micro_batches::TESTS,
        recompute::TESTS,
        norm::TESTS,
        plan::TESTS,
        trainer::TESTS,
        skip::TESTS,
        evaluation::TESTS,
        checkpoints::TESTS,
        exchange::TESTS,
    ]
    .concat();
    run_rank_tests(&tests);
}
