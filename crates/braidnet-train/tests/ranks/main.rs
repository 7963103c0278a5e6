//! Training on several ranks: the same bodies on threads and under `mpirun`, with any number of ranks.
#![allow(missing_docs)]

mod all_states;
mod balance;
mod batch_norm;
mod batch_norm_runs;
mod blocks;
mod buffers;
mod checkpoints;
#[path = "../common/mod.rs"]
mod common;
mod continuity;
mod control;
mod data_axis;
mod dropout;
mod evaluation;
mod exchange;
mod gru;
mod gru_checkpoints;
mod gru_copies;
mod guesses;
mod joined;
mod micro_batches;
mod norm;
mod of_any;
mod per_token;
mod plan;
mod precision;
mod recompute;
mod skip;
mod space;
mod tied;
mod trainer;
mod training;
mod transformer;

use braidnet_comm::testing::{RankTest, run_rank_tests};

fn main() {
    let tests: Vec<RankTest> = [
        training::TESTS,
        data_axis::TESTS,
        guesses::TESTS,
        joined::TESTS,
        micro_batches::TESTS,
        recompute::TESTS,
        norm::TESTS,
        plan::TESTS,
        trainer::TESTS,
        skip::TESTS,
        evaluation::TESTS,
        checkpoints::TESTS,
        exchange::TESTS,
        transformer::TESTS,
        control::TESTS,
        dropout::TESTS,
        tied::TESTS,
        per_token::TESTS,
        buffers::TESTS,
        continuity::TESTS,
        gru::TESTS,
        gru_copies::TESTS,
        gru_checkpoints::TESTS,
        all_states::TESTS,
        blocks::TESTS,
        batch_norm::TESTS,
        batch_norm_runs::TESTS,
        balance::TESTS,
        space::TESTS,
        precision::TESTS,
    ]
    .concat();
    run_rank_tests(&tests);
}
