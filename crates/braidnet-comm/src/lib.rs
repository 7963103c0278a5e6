//! Messages between ranks: one rank, threads of one process, or MPI.
//!
//! A program is written once, as a closure over a [`Communicator`], and started by [`launch`]: on `n` threads of this
//! process, or, under `mpirun` and with the cargo feature `mpi`, as one rank per process. Messages, collectives and
//! splits are implemented once over a small internal transport, so the results agree to the bit wherever the ranks run.
//!
//! ```
//! use braidnet_comm::{Launch, ReduceOp, launch};
//!
//! let sums = launch(&Launch::ranks(3), |world| -> Result<f64, braidnet_comm::CommError> {
//!     let mut value = [world.rank() as f64];
//!     world.all_reduce(&mut value, ReduceOp::Sum)?;
//!     Ok(value[0])
//! })?;
//! assert_eq!(sums, [3.0; 3]);
//! # Ok::<(), braidnet_comm::LaunchError>(())
//! ```
//!
//! # Errors
//! Whatever happens to one rank ends all of them, with the first cause in the message and a non-zero exit code:
//!
//! | a rank ... | on threads | under `mpirun` |
//! |---|---|---|
//! | returns an error, panics, aborts | the others' calls return [`CommError::Aborted`] at once | it writes its message, and the job ends at once |
//! | returns while another waits for it | the waiting call returns [`CommError::PeerEnded`] | the same, within 4 s |
//! | does not answer | the patience of the [`Launch`] ends, and the rank at the end of the chain of waits is named | the patience ends, and the rank waited for is named |
//! | does not return after a failure | the process ends with code 1 after 10 s | the job ends at once |
//! | is killed | - | `mpirun` ends the job |
//! | is stopped, or its machine is gone | - | its neighbour misses its heartbeat for 10 s, and the job ends |
//!
//! What a rank computes is not watched: as long as nobody waits for a message of it longer than the patience, it may
//! take its time.
//!
//! # Order
//! Messages from one rank to another with one tag arrive in the order sent, and receives of one such channel are served
//! in the order posted, whichever is waited for first. Channels do not order each other.
//!
//! # Devices
//! Threads hand a tensor over as it is, wherever its numbers are. Under MPI it is packed in the host's memory, unless
//! [`Communicator::probe_device_path`] has found that the library reads and writes the device's memory itself:
//!
//! | path | when | what happens |
//! |---|---|---|
//! | [`Handles`](DevicePath::Handles) | threads, or one rank | nothing is copied |
//! | [`Direct`](DevicePath::Direct) | the library says that it takes such pointers, and an exchange proved it | MPI reads the buffers of [`Transfer::lend`] and writes those of [`Transfer::room`] |
//! | [`Staged`](DevicePath::Staged) | otherwise, with the reason | [`Transfer::pack`] and [`Transfer::unpack`] |
//!
//! # Timelines
//! Calls are wrapped in `tracing` spans of target `braidnet::timeline` and level `TRACE`: `send` (field `to`), `wait`
//! (field `from`), `barrier`, `broadcast`, `gather` and `all-reduce`. [`thread_rank`] says which rank a thread works for.
//!
//! # Simulation
//! [`simulate`] runs the same program on up to a thousand ranks whose computations and messages take the time of a
//! model.
//!
//! All cases, with their times, are in `docs/faults.md`; the vocabulary that all crates share is in
//! `docs/conventions.md`.

mod all_reduce;
mod barrier;
mod broadcast;
mod clock;
mod communicator;
mod device;
mod duty;
mod environment;
mod error;
mod gather;
mod identity;
mod launch;
mod mesh;
#[cfg(feature = "mpi")]
mod mpi;
mod queue;
mod receive;
mod reduce;
pub mod simulate;
mod split;
pub mod testing;
mod threads;
mod timeline;
mod traffic;
mod transfer;
mod transport;

pub use all_reduce::AllReduce;
pub use communicator::{Communicator, N_TAGS, Tag};
pub use device::{Attach, DeviceBuffer, DeviceMemory, DevicePath, DeviceProbe, HostProbe, ProbeError};
#[cfg(feature = "cuda")]
pub use device::{CudaError, CudaProbe};
pub use environment::{mpi_world_size, under_mpi};
pub use error::CommError;
pub use identity::{set_thread_rank, thread_rank};
pub use launch::{Launch, LaunchError, keep_freed_memory, launch};
pub use mesh::{Axis, Degree, DegreeError, Mesh, MeshConfig, MeshError, MeshProblem, MeshShape};
pub use receive::Receive;
pub use reduce::{Reduce, ReduceOp};
pub use traffic::Traffic;
pub use transfer::{Plain, Transfer};
