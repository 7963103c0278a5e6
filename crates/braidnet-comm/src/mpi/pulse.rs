//! The pulse of a process: a thread that tells the next rank every second that this one is alive, listens for the
//! previous one, and finds out whether a rank waited for has ended.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, sync::Arc};

use super::note::Note;
use super::process::Process;
use super::transport::MpiTransport;
use super::watchdog::{SILENCE, Watchdog};
use crate::CommError;
use crate::transport::Transport;

/// The time between two beats.
const BEAT: Duration = Duration::from_secs(1);

/// The running thread.
pub(crate) struct Pulse {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Pulse {
    /// Starts the thread; a single rank needs none.
    pub fn start(transport: &Arc<MpiTransport>, rank: usize, size: usize) -> io::Result<Option<Self>> {
        if size == 1 {
            return Ok(None);
        }
        let (stop, stopped) = channel();
        let transport = transport.clone();
        let beat = move || {
            crate::set_thread_rank(rank);
            let ring = Ring { next: (rank + 1) % size, previous: (rank + size - 1) % size };
            if let Err(error) = ring.run(&transport, &stopped) {
                transport.abort(&error.to_string());
            }
        };
        let thread = thread::Builder::new().name(format!("pulse {rank}")).spawn(beat)?;
        Ok(Some(Self { stop, thread }))
    }

    /// Sends the last beat and ends the thread.
    pub fn stop(self) {
        drop(self.stop);
        // A panic of the thread was printed by its hook, and all ranks have returned: there is nothing left to watch.
        let _ = self.thread.join();
    }
}

/// The neighbours in the world.
struct Ring {
    next: usize,
    previous: usize,
}

impl Ring {
    fn run(&self, transport: &MpiTransport, stopped: &Receiver<()>) -> Result<(), CommError> {
        let mut watchdog = Watchdog::new(Instant::now());
        loop {
            let is_gone = transport.with(|process| {
                // Any call of MPI may go on with a transfer of a device's memory, also the calls for notes.
                if let Some(attach) = process.attach.take() {
                    attach();
                }
                process.notes.send(self.next, Note::Beat)?;
                self.listen(process, &mut watchdog)?;
                process.ask()?;
                Ok(watchdog.look(Instant::now()))
            })?;
            if is_gone {
                return Err(CommError::Silent { rank: self.previous, silence: SILENCE });
            }
            if stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Disconnected) {
                return transport.with(|process| process.notes.send(self.next, Note::LastBeat));
            }
        }
    }

    /// Reads all notes that have come.
    fn listen(&self, process: &mut Process, watchdog: &mut Watchdog) -> Result<(), CommError> {
        while let Some((from, note)) = process.notes.receive()? {
            match note {
                Note::Beat if from == self.previous => watchdog.hear(Instant::now()),
                Note::LastBeat if from == self.previous => watchdog.hear_last(),
                note => process.answer(from, note)?,
            }
        }
        Ok(())
    }
}
