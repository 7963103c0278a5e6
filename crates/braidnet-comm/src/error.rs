//! What can go wrong between ranks.

use std::fmt::Display;
use std::time::Duration;

/// An error of message passing.
///
/// Ranks in messages are numbers in the communicator that was called, except where a variant says that it counts in the
/// world that was launched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommError {
    /// Some rank failed; every rank of the world ends with this.
    #[error("rank {rank} failed: {reason}")]
    Aborted {
        /// The first rank that failed, in the world.
        rank: usize,
        /// Its message.
        reason: String,
    },
    /// A rank that the communicator does not have.
    #[error("there is no rank {rank} in a communicator of size {size}; ranks count from 0")]
    NoSuchRank {
        /// The rank asked for.
        rank: usize,
        /// The ranks there are.
        size: usize,
    },
    /// A tag outside the user's range.
    #[error("tag {tag} is reserved; use a tag below {limit}")]
    BadTag {
        /// The tag asked for.
        tag: u16,
        /// The first reserved tag.
        limit: u16,
    },
    /// The message is of another type than the receive.
    #[error(
        "received {got} from rank {from} where {expected} was expected; send and receive the same type on tag {tag}"
    )]
    TypeMismatch {
        /// The sender.
        from: usize,
        /// The tag; reserved ones belong to collectives.
        tag: u16,
        /// The receiver's type.
        expected: String,
        /// The sender's type, or `another type` where only its fingerprint travelled.
        got: String,
    },
    /// Bytes that do not encode the value expected.
    #[error("malformed {what}: expected {expected}, got {got}; do both ranks run the same program?")]
    Malformed {
        /// The kind of value.
        what: String,
        /// What its encoding looks like.
        expected: String,
        /// What came.
        got: String,
    },
    /// The root of a broadcast brought no value.
    #[error("the root of a broadcast, rank {root}, brought no value; pass `Some` there")]
    NoValue {
        /// The root.
        root: usize,
    },
    /// Ranks reduce arrays of different lengths.
    #[error(
        "rank {rank} reduces {got} values of a part where this rank reduces {expected}; \
         reduce arrays of one length on all ranks"
    )]
    LengthMismatch {
        /// The rank that differs from this one.
        rank: usize,
        /// The values of this rank.
        expected: usize,
        /// The values of the other rank.
        got: usize,
    },
    /// The sender returned from its program without sending.
    #[error("rank {rank} has ended without sending the message waited for; match every receive with a send")]
    PeerEnded {
        /// The sender, in the world.
        rank: usize,
    },
    /// A rank kept another one waiting for longer than the launch's patience.
    #[error(
        "rank {rank} has not answered for {} s: it hangs, or works longer than the patience of the launch allows; \
         see what it does, or raise the patience", .patience.as_secs_f64()
    )]
    NoAnswer {
        /// The rank that does not answer, in the world; on threads the one that itself waits for nobody.
        rank: usize,
        /// The patience.
        patience: Duration,
    },
    /// Ranks wait for each other in a circle.
    #[error(
        "{} for {} s, so none of them can go on; match every receive with a send, in an order that can be kept",
        circle(.ranks), .patience.as_secs_f64()
    )]
    Deadlock {
        /// The ranks of the circle, in the world; each waits for the next one.
        ranks: Vec<usize>,
        /// The patience.
        patience: Duration,
    },
    /// A process no longer gives any sign of life.
    #[error("rank {rank} has not answered for {} s: it was stopped, or its machine is gone", .silence.as_secs())]
    Silent {
        /// The rank, in the world.
        rank: usize,
        /// How long it has been silent.
        silence: Duration,
    },
    /// A communicator used after the launch that made it.
    #[error("the launch has ended; keep communicators inside the program given to `launch`")]
    LaunchEnded,
    /// A message that one MPI call cannot carry.
    #[error("a message of {n_bytes} bytes is over MPI's limit of {limit}; send it in parts")]
    TooLarge {
        /// The size asked for.
        n_bytes: usize,
        /// The largest size possible.
        limit: usize,
    },
    /// More splits than the tags of this MPI library can tell apart.
    #[error("this MPI library's tags tell only {limit} communicators apart; split once and keep the result")]
    TooManyCommunicators {
        /// The communicators possible.
        limit: u64,
    },
    /// Started by `mpirun`, but built without MPI.
    #[error(
        "started as {ranks} MPI processes, but built without MPI; rebuild with `--features mpi` or start without mpirun"
    )]
    MpiNotBuilt {
        /// The processes started.
        ranks: usize,
    },
    /// The ranks asked for are not the ranks started.
    #[error(
        "{asked} ranks were asked for, but mpirun started {started}; \
         start with `mpirun -n {asked}` or ask for {started}"
    )]
    WrongWorldSize {
        /// The ranks the program asked for.
        asked: usize,
        /// The ranks of the MPI world.
        started: usize,
    },
    /// MPI can be started once per process.
    #[error("MPI was already started in this process; call `launch` once, and do all the work inside it")]
    AlreadyLaunched,
    /// An MPI call failed.
    #[error("{call} failed: {message}")]
    Mpi {
        /// The MPI function.
        call: String,
        /// The library's explanation.
        message: String,
    },
}

impl CommError {
    /// A [`Malformed`](Self::Malformed) error, for implementations of [`Transfer`](crate::Transfer).
    pub fn malformed(what: impl Display, expected: impl Display, got: impl Display) -> Self {
        Self::Malformed { what: what.to_string(), expected: expected.to_string(), got: got.to_string() }
    }
}

/// `rank 0 has waited for rank 1, and rank 1 for rank 0`.
fn circle(ranks: &[usize]) -> String {
    let pairs = ranks.iter().zip(ranks.iter().cycle().skip(1));
    let steps: Vec<String> = pairs.map(|(rank, next)| format!("rank {rank} for rank {next}")).collect();
    steps.join(", and ").replacen(" for", " has waited for", 1)
}
