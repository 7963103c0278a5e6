//! Fails on rank 1 while the others wait for it: the job ends within a moment, with rank 1's message and exit code 1.
//!
//! ```text
//! cargo run --release -p braidnet-comm --example fault -- error
//! mpirun -n 3 target/release/examples/fault panic        # built with --features mpi
//! ```
//! The kinds: `error`, `panic`, `abort`, and `none`, which ends well.

use std::process::ExitCode;

use braidnet_comm::{Communicator, Launch, launch, under_mpi};

fn main() -> ExitCode {
    let kind = std::env::args().nth(1).unwrap_or_else(|| "error".to_owned());
    let ranks = if under_mpi() { None } else { Some(3) };
    match launch(&Launch { ranks }, |world| program(&world, &kind)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn program(world: &Communicator, kind: &str) -> Result<(), String> {
    if kind == "none" {
        return world.barrier().map_err(|error| error.to_string());
    }
    if world.rank() != 1 {
        let receive = world.receive::<u64>(1 % world.size(), 0).map_err(|error| error.to_string())?;
        return receive.wait(&()).map(drop).map_err(|error| error.to_string());
    }
    match kind {
        "panic" => panic!("layer 7 is not a number"),
        "abort" => Err(world.abort("layer 7 is not a number").to_string()),
        _ => Err("layer 7 is not a number".to_owned()),
    }
}
