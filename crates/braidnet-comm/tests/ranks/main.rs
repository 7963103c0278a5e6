//! Messages, collectives, splits and meshes: the same bodies on threads and under `mpirun`, with any number of ranks.

mod collectives;
mod devices;
mod in_flight;
mod mesh;
mod messages;
mod splits;

use std::fmt::Debug;

use braidnet_comm::testing::{RankTest, run_rank_tests};

fn main() {
    let tests: Vec<RankTest> =
        [messages::TESTS, collectives::TESTS, splits::TESTS, in_flight::TESTS, mesh::TESTS, devices::TESTS].concat();
    run_rank_tests(&tests);
}

/// What a body returns.
type Checked = Result<(), String>;

/// Turns any error into a body's.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// That two values agree.
fn same<T: PartialEq + Debug>(what: &str, got: T, expected: T) -> Checked {
    if got == expected { Ok(()) } else { Err(format!("{what}: got {got:?}, expected {expected:?}")) }
}
