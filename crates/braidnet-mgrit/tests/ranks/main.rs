//! The same solves on any number of ranks, on threads and under `mpirun`: the same bits, the same work, and as many
//! messages as there must be.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

#[path = "../common/mod.rs"]
mod common;

mod adjoint;
mod forward;
mod joined;
mod messages;
mod newton;
mod restarts;
mod space;

use braidnet_comm::testing::{RankTest, run_rank_tests};
use braidnet_comm::{Communicator, Transfer};
use braidnet_grid::Partition;

fn main() {
    let tests: Vec<RankTest> =
        [forward::TESTS, restarts::TESTS, adjoint::TESTS, joined::TESTS, messages::TESTS, newton::TESTS, space::TESTS]
            .concat();
    run_rank_tests(&tests);
}

/// What a body returns.
type Checked<T = ()> = Result<T, String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Checked {
    if got == expected { Ok(()) } else { Err(format!("{what}: got {got:?}, expected {expected:?}")) }
}

/// All bits of a state.
fn bits<S: Transfer>(state: &S) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.pack(&mut bytes);
    bytes
}

/// Equal blocks, or `None` if there are more ranks than layers.
fn even(n_layers: usize, comm: &Communicator) -> Option<Partition> {
    Partition::even(n_layers, comm.size()).ok()
}

fn one_rank(n_layers: usize) -> Partition {
    Partition::even(n_layers, 1).unwrap()
}
