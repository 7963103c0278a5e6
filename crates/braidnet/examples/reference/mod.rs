//! Networks and their gradients against PyTorch's: files, the networks that they describe, and the comparison. The example
//! `reference` does it on any ranks, the tests on a given device one file a test.

mod compare;
mod errors;
mod family;
mod file;

pub use compare::{compare, schedules};
pub use family::Family;
pub use file::File;
