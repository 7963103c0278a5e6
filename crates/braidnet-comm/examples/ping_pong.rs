//! The time of a message between two ranks, one way, for several sizes; under mpirun also the bandwidth, the name of the
//! MPI library and the thread level that it grants. Between threads a message is handed over, not copied.
//!
//! ```text
//! cargo run --release -p braidnet-comm --example ping_pong
//! mpirun -n 2 target/release/examples/ping_pong          # built with --features mpi
//! ```

use std::process::ExitCode;
use std::time::Instant;

use braidnet_comm::{CommError, Communicator, Launch, ReduceOp, launch, under_mpi};

fn main() -> ExitCode {
    match launch(&Launch::ranks(2), |world| program(&world)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn program(world: &Communicator) -> Result<(), CommError> {
    if world.rank() == 0 {
        describe_library();
    }
    for n in [1, 1024, 64 << 10, 1 << 20, 8 << 20] {
        let rounds = (1 << 30) / (n + 20_000).max(50_000);
        bounce(world, n, rounds / 10 + 1)?;
        let start = Instant::now();
        bounce(world, n, rounds)?;
        let seconds = start.elapsed().as_secs_f64() / (2 * rounds) as f64;
        let bandwidth = format!(", {:.3} GB/s", n as f64 / seconds * 1e-9);
        let bandwidth = if under_mpi() { &bandwidth } else { "" };
        report(world, &format!("{n:8} bytes, one way: {:.2} us{bandwidth}", seconds * 1e6));
    }
    let rounds = 20_000;
    let start = Instant::now();
    for _ in 0..rounds {
        world.all_reduce(&mut [1.0f64], ReduceOp::Sum)?;
    }
    let seconds = start.elapsed().as_secs_f64() / f64::from(rounds);
    report(world, &format!("all_reduce of one f64: {:.2} us", seconds * 1e6));
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

/// The MPI library that this process uses, if it does.
fn describe_library() {
    #[cfg(feature = "mpi")]
    if mpi::environment::is_initialized() {
        let version = mpi::environment::library_version().unwrap_or_default();
        println!("MPI library: {}", version.lines().next().unwrap_or_default());
        println!("MPI thread level: {:?}", mpi::environment::threading_support());
    }
}

fn report(world: &Communicator, line: &str) {
    if world.rank() == 0 {
        println!("{line}");
    }
}
