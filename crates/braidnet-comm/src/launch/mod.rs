//! Starting the ranks.

mod memory;
mod run;
mod threads;

use std::fmt::Display;
use std::time::Duration;

use crate::{CommError, Communicator, mpi_world_size, under_mpi};

/// How many ranks to start, and how long they wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Launch {
    /// `None`: one thread, or under `mpirun` as many as it started.
    pub ranks: Option<usize>,
    /// A wait for one message that lasts longer ends the job. `None`: half an hour.
    pub patience: Option<Duration>,
}

impl Launch {
    /// This many ranks, `None` as in [`ranks`](Self::ranks), with the patience that is usual.
    pub fn ranks(ranks: impl Into<Option<usize>>) -> Self {
        Self { ranks: ranks.into(), patience: None }
    }

    /// The same ranks with another patience.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }
}

/// The patience of a launch that names none.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Why a launch failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// A rank failed; the first one, if several did.
    #[error("rank {rank}: {reason}")]
    Rank {
        /// The rank.
        rank: usize,
        /// Its error, or the message of its panic.
        reason: String,
    },
    /// Zero ranks were asked for.
    #[error("zero ranks were asked for; ask for at least one")]
    NoRanks,
    /// A link of a simulation that cannot be.
    #[error("the {link} link has a {quantity} of {value}; give it in {expected}")]
    BadLink {
        /// `near` or `far`.
        link: &'static str,
        /// `latency` or `bandwidth`.
        quantity: &'static str,
        /// What was given.
        value: String,
        /// The unit, and what is allowed.
        expected: &'static str,
    },
    /// Nodes of zero ranks in a simulation.
    #[error("the nodes of a simulation have zero ranks; give them at least one each")]
    EmptyNodes,
    /// The ranks could not be started.
    #[error(transparent)]
    Comm(#[from] CommError),
}

/// Runs `program` on every rank and returns the results of this process's ranks, in rank order.
///
/// Started by `mpirun` and built with the feature `mpi`, this process runs one rank, and the result has one entry.
/// Otherwise the ranks are threads named `rank 0`, `rank 1`, ... of this process, with a stack of 64 MiB each.
///
/// # Errors
/// [`LaunchError::Rank`] with the first rank whose program returned an error or panicked; the other ranks' waits end
/// with [`CommError::Aborted`]. Under MPI such a rank instead writes `rank r: reason` to stderr and ends the job with
/// exit code 1, so this does not return. [`LaunchError::Comm`] if the ranks asked for are not those that `mpirun`
/// started, if MPI was started before in this process, or if this build has no MPI but `mpirun` started several
/// processes.
///
/// Threads that have not returned 10 seconds after the first failure cannot be ended one by one: `rank r: reason` then
/// goes to stderr, and the whole process ends with exit code 1.
///
/// The process then keeps the memory that it frees ([`keep_freed_memory`]).
///
/// # Communication
/// Under MPI, collective over all processes at its start and end.
pub fn launch<T, E, F>(launch: &Launch, program: F) -> Result<Vec<T>, LaunchError>
where
    T: Send,
    E: Display,
    F: Fn(Communicator) -> Result<T, E> + Send + Sync,
{
    if launch.ranks == Some(0) {
        return Err(LaunchError::NoRanks);
    }
    keep_freed_memory();
    let patience = launch.patience.unwrap_or(PATIENCE);
    #[cfg(feature = "mpi")]
    if under_mpi() {
        return crate::mpi::launch(launch.ranks, patience, &program).map(|result| vec![result]);
    }
    match mpi_world_size() {
        Some(ranks) if under_mpi() && ranks > 1 => Err(CommError::MpiNotBuilt { ranks }.into()),
        _ => launch_threads(launch.ranks.unwrap_or(1), patience, STACK, &program),
    }
}

pub use memory::keep_freed_memory;
pub(crate) use run::{STACK, run_rank};
pub(crate) use threads::launch as launch_threads;
