//! The same program on ranks whose time is simulated.
//!
//! [`simulate`] runs a program as [`launch`](crate::launch) does, on threads, and with the same results. But every rank
//! has a clock of its own, which runs on only where the program says that it computes ([`spend`]) and where it waits
//! for a message. Everything else takes no time, also the combining of an all-reduce. So a few processors show how long
//! a program would take on a thousand.
//!
//! A message of `b` bytes leaves its rank once those sent before it have left, keeps the rank's one outgoing link busy
//! for `b / bandwidth`, and arrives a latency later:
//!
//! ```text
//! departure = max(clock, link free)    link free = departure + b / bandwidth    arrival = link free + latency
//! ```
//!
//! The sender does not wait. Who takes the message waits until it has arrived. Receivers and the network between the
//! nodes are never busy, and a message to oneself arrives at once. Bytes are those of the payload.
//!
//! Times depend on the program and the links alone, to the bit, not on the processors or on the order in which threads
//! run, as long as on every rank one thread sends and waits. This is why
//! [`Receive::is_ready`](crate::Receive::is_ready) answers no in a simulation, even of messages that have come: whether
//! one has come depends on how far another thread is. [`AllReduce::advance`](crate::AllReduce::advance) then does
//! nothing: the parts leave at the start, and the rest is done in the wait, so an overlapped all-reduce takes the time
//! of one that nobody advances. A program that asks until the answer is yes never ends: wait instead.
//!
//! ```
//! use braidnet_comm::CommError;
//! use braidnet_comm::simulate::{Link, Links, simulate, spend};
//!
//! let link = Link { latency: 0.5, bandwidth: 8.0 };
//! let links = Links { near: link, far: link, ranks_per_node: 1 };
//! let ranks = simulate(2, &links, |world| -> Result<(), CommError> {
//!     if world.rank() == 0 {
//!         spend(2.0);
//!         return world.send(1, 0, 1.0f64);
//!     }
//!     world.receive::<f64>(0, 0)?.wait(&()).map(drop)
//! })?;
//! assert_eq!(ranks[0].seconds, 2.0);
//! assert_eq!(ranks[1].seconds, 2.0 + 8.0 / 8.0 + 0.5);
//! # Ok::<(), braidnet_comm::LaunchError>(())
//! ```

mod blank;
mod clock;
mod links;
mod transport;

use std::fmt::Display;
use std::sync::Arc;

use crate::launch::{PATIENCE, launch_threads};
use crate::{Communicator, LaunchError};
pub use blank::Blank;
use clock::{Shared, assign};
pub use clock::{now, spend, waited};
pub use links::{Link, Links};
use transport::TimedTransport;

/// The stack of a rank's thread: with a thousand ranks, the address space is no longer for the asking.
const STACK: usize = 1 << 20;

/// What one rank returned, and what its clock and its link say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simulated<T> {
    /// The result of its program.
    pub value: T,
    /// Its clock when the program returned, in seconds. Its messages may still be on their way.
    pub seconds: f64,
    /// The seconds of them in which it waited for messages.
    pub waiting: f64,
    /// The bytes of payload it has sent, on all communicators, those of collectives included.
    pub bytes: u64,
    /// The messages it has sent.
    pub messages: u64,
}

/// Runs `program` on simulated ranks and returns what each of them did, in rank order.
///
/// The ranks are threads of this process, also under `mpirun`, named as those of [`launch`](crate::launch), each with a
/// stack of 1 MiB. Their patience is real time, that of a [`Launch`](crate::Launch) that names none.
///
/// # Errors
/// [`LaunchError::NoRanks`], [`LaunchError::BadLink`] and [`LaunchError::EmptyNodes`], before a rank starts;
/// [`LaunchError::Rank`] as [`launch`](crate::launch).
///
/// # Cost
/// A thread per rank, and per message what it costs on threads. A collective in which every rank sends to every other,
/// as [`split`](Communicator::split), is a million messages on a thousand ranks.
pub fn simulate<T, E, F>(ranks: usize, links: &Links, program: F) -> Result<Vec<Simulated<T>>, LaunchError>
where
    T: Send,
    E: Display,
    F: Fn(Communicator) -> Result<T, E> + Send + Sync,
{
    if ranks == 0 {
        return Err(LaunchError::NoRanks);
    }
    links.check()?;
    launch_threads(ranks, PATIENCE, STACK, &|world: Communicator| {
        let clock = Shared::default();
        assign(clock.clone());
        program(timed(&world, *links, clock.clone())).map(|value| clock.lock().report(value))
    })
}

/// The same ranks over links that take their time.
fn timed(world: &Communicator, links: Links, clock: Shared) -> Communicator {
    let transport = TimedTransport { inner: world.transport().clone(), rank: world.rank(), links, clock };
    Communicator::new(Arc::new(transport), 0, world.members().to_vec(), world.rank())
}
