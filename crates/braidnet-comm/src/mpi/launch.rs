//! One rank of an MPI job.

use std::fmt::Display;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ::mpi::Threading;

use super::process::Process;
use super::pulse::Pulse;
use super::raw::RawWorld;
use super::transport::MpiTransport;
use crate::launch::{STACK, run_rank};
use crate::transport::Transport;
use crate::{CommError, Communicator, LaunchError};

/// Starts MPI, runs the program as this process's rank, and ends MPI.
pub(crate) fn launch<T, E, F>(asked: Option<usize>, patience: Duration, program: &F) -> Result<T, LaunchError>
where
    T: Send,
    E: Display,
    F: Fn(Communicator) -> Result<T, E> + Send + Sync,
{
    // The universe ends MPI when it is dropped, which must happen on this thread, and last.
    let (universe, level) =
        ::mpi::initialize_with_threading(Threading::Serialized).ok_or(CommError::AlreadyLaunched)?;
    if level < Threading::Serialized {
        let message = format!("the library grants {level:?} only; use one built with support for threads");
        return Err(CommError::Mpi { call: "MPI_Init_thread".to_owned(), message }.into());
    }
    let raw = RawWorld::new(&universe)?;
    let (rank, started) = (raw.rank, raw.size);
    if let Some(asked) = asked.filter(|&asked| asked != started) {
        return Err(CommError::WrongWorldSize { asked, started }.into());
    }
    let (buffers, notes) = (RawWorld::new(&universe)?, RawWorld::new(&universe)?);
    let transport = Arc::new(MpiTransport::new(Process::new(raw, buffers, notes), patience));
    let pulse = Pulse::start(&transport, rank, started);
    let world = Communicator::new(transport.clone(), 0, (0..started).collect(), rank);
    let result = pulse.map_err(|error| format!("its second thread could not be started: {error}")).and_then(|pulse| {
        let value = on_thread(rank, || run_rank(world, program))?;
        transport.wait_for_all().map_err(|error| error.to_string())?;
        if let Some(pulse) = pulse {
            pulse.stop();
        }
        transport.finish().map_err(|error| error.to_string())?;
        Ok(value)
    });
    result.map_err(|reason| {
        transport.abort(&reason);
        LaunchError::Rank { rank, reason }
    })
}

/// Runs on a thread with the stack and the name that ranks have everywhere.
fn on_thread<T: Send>(rank: usize, run: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let started = thread::Builder::new().name(format!("rank {rank}")).stack_size(STACK).spawn_scoped(scope, run);
        let thread = started.map_err(|error| format!("its thread could not be started: {error}"))?;
        thread.join().unwrap_or_else(|_| Err("its thread panicked".to_owned()))
    })
}
