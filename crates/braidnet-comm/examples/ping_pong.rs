//! The time of a message between two ranks, one way, for several sizes.
//!
//! ```text
//! cargo run --release -p braidnet-comm --example ping_pong
//! mpirun -n 2 target/release/examples/ping_pong          # built with --features mpi
//! ```

use std::process::ExitCode;
use std::time::Instant;

use braidnet_comm::{CommError, Communicator, Launch, ReduceOp, launch};

fn main() -> ExitCode {
    match launch(&Launch { ranks: Some(2) }, |world| program(&world)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn program(world: &Communicator) -> Result<(), CommError> {
    for n in [1, 1024, 64 << 10, 1 << 20, 8 << 20] {
        let rounds = (1 << 30) / (n + 20_000).max(50_000);
        bounce(world, n, rounds / 10 + 1)?;
        let start = Instant::now();
        bounce(world, n, rounds)?;
        report(world, &format!("{n:8} bytes, one way"), start, 2 * rounds);
    }
    let rounds = 20_000;
    let start = Instant::now();
    for _ in 0..rounds {
        world.all_reduce(&mut [1.0f64], ReduceOp::Sum)?;
    }
    report(world, "all_reduce of one f64", start, rounds);
    Ok(())
}

/// A message of `n` bytes to and fro.
fn bounce(world: &Communicator, n: usize, rounds: usize) -> Result<(), CommError> {
    let other = 1 - world.rank();
    let mut message = vec![1u8; n];
    for _ in 0..rounds {
        if world.rank() == 0 {
            world.send(other, 0, message)?;
            message = world.receive(other, 0)?.wait(&())?;
        } else {
            message = world.receive(other, 0)?.wait(&())?;
            world.send(other, 0, message)?;
            message = Vec::new();
        }
    }
    Ok(())
}

fn report(world: &Communicator, what: &str, start: Instant, n: usize) {
    if world.rank() == 0 {
        println!("{what}: {:.2} us", start.elapsed().as_secs_f64() * 1e6 / n as f64);
    }
}
