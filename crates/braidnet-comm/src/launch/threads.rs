//! All ranks as threads of this process.

use std::fmt::Display;
use std::process;
use std::thread;
use std::time::Duration;

use super::{LaunchError, run_rank};
use crate::Communicator;
use crate::threads::World;

/// How long the other ranks have to return after a failure.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the program on `n` threads, with so many bytes of stack each, and waits for all of them.
pub fn launch<T, E, F>(n: usize, patience: Duration, stack: usize, program: &F) -> Result<Vec<T>, LaunchError>
where
    T: Send,
    E: Display,
    F: Fn(Communicator) -> Result<T, E> + Send + Sync,
{
    let world = World::new(n, patience);
    let results: Vec<Option<T>> = thread::scope(|scope| {
        let mut started = Vec::with_capacity(n);
        for rank in 0..n {
            let (world, communicator) = (&world, world.communicator(rank));
            let run = move || {
                let value = finish(world, rank, run_rank(communicator, program));
                world.leave();
                value
            };
            match thread::Builder::new().name(format!("rank {rank}")).stack_size(stack).spawn_scoped(scope, run) {
                Ok(thread) => started.push(thread),
                // Those already started may wait for this one: it counts as failed.
                Err(error) => {
                    world.poison(rank, &format!("its thread could not be started: {error}; ask for fewer ranks"));
                    world.leave();
                }
            }
        }
        if !world.all_left(GRACE) {
            give_up(&world);
        }
        started.into_iter().map(|thread| thread.join().ok().flatten()).collect()
    });
    match world.failure() {
        Some((rank, reason)) => Err(LaunchError::Rank { rank: *rank, reason: reason.clone() }),
        None => Ok(results.into_iter().flatten().collect()),
    }
}

/// Ends the process: a thread that never looks at a message cannot be ended alone.
fn give_up(world: &World) {
    if let Some((rank, reason)) = world.failure() {
        eprintln!("rank {rank}: {reason}");
    }
    process::exit(1)
}

/// Tells the other ranks how this one ended.
fn finish<T>(world: &World, rank: usize, result: Result<T, String>) -> Option<T> {
    match result {
        Ok(value) => {
            world.end(rank);
            Some(value)
        }
        Err(reason) => {
            world.poison(rank, &reason);
            None
        }
    }
}
