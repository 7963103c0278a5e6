//! Messages between ranks: one rank, threads of one process, or MPI.
//!
//! A program is written once, as a closure over a [`Communicator`], and started by [`launch`]: on `n` threads of this
//! process, or, under `mpirun` and with the cargo feature `mpi`, as one rank per process. Messages, collectives and
//! splits are implemented once over a small internal transport, so the results agree to the bit wherever the ranks run.
//!
//! ```
//! use braidnet_comm::{Launch, ReduceOp, launch};
//!
//! let sums = launch(&Launch { ranks: Some(3) }, |world| -> Result<f64, braidnet_comm::CommError> {
//!     let mut value = [world.rank() as f64];
//!     world.all_reduce(&mut value, ReduceOp::Sum)?;
//!     Ok(value[0])
//! })?;
//! assert_eq!(sums, [3.0; 3]);
//! # Ok::<(), braidnet_comm::LaunchError>(())
//! ```
//!
//! # Errors
//! An error or a panic on one rank ends all of them: the others' calls return [`CommError::Aborted`] with the first
//! failing rank and its message (threads), or the job ends with that message and exit code 1 (MPI). A wait that nobody
//! will ever answer is the program's bug; on threads a wait for a rank that has already ended is reported as
//! [`CommError::PeerEnded`].
//!
//! # Order
//! Messages from one rank to another with one tag arrive in the order sent, and receives of one such channel are served
//! in the order posted, whichever is waited for first. Channels do not order each other.
//!
//! The vocabulary that all crates share is in `docs/conventions.md`.

mod barrier;
mod broadcast;
mod communicator;
mod environment;
mod error;
mod gather;
mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod queue;
mod receive;
mod reduce;
mod split;
pub mod testing;
mod threads;
mod traffic;
mod transfer;
mod transport;

pub use communicator::{Communicator, N_TAGS, Tag};
pub use environment::{mpi_world_size, under_mpi};
pub use error::CommError;
pub use launch::{Launch, LaunchError, launch};
pub use receive::Receive;
pub use reduce::{Reduce, ReduceOp};
pub use traffic::Traffic;
pub use transfer::{Plain, Transfer};
