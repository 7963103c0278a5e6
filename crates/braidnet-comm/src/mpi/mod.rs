//! Ranks as processes of an MPI job.

mod engine;
mod launch;
mod raw;
mod transport;
mod wire;

pub(crate) use launch::launch;
pub(crate) use wire::fingerprint;
