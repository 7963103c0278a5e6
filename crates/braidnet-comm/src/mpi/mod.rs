//! Ranks as processes of an MPI job.

mod backoff;
mod engine;
mod launch;
mod lent;
mod lines;
mod note;
mod process;
mod pulse;
mod question;
mod raw;
mod transport;
mod watchdog;
mod wire;

pub(crate) use launch::launch;
pub(crate) use lent::Lent;
pub(crate) use wire::fingerprint;
