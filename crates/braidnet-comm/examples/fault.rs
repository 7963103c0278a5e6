//! Something happens to rank 1 while the others wait for it: the job ends within seconds, with a message that names
//! rank 1 and a non-zero exit code.
//!
//! ```text
//! cargo run --release -p braidnet-comm --example fault -- error
//! mpirun -n 3 target/release/examples/fault kill        # built with --features mpi
//! ```
//! The kinds: `error`, `panic`, `abort`, `return` (without sending), `hang` (computes for ever; the patience is 3
//! seconds, or the second argument), and `none`, which ends well. For ranks that are processes also `kill` and `stop`
//! (SIGKILL and SIGSTOP to itself).

use std::process::{self, Command, ExitCode};
use std::time::Duration;

use braidnet_comm::{Communicator, Launch, launch, under_mpi};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let kind = args.next().unwrap_or_else(|| "error".to_owned());
    let patience = args.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut options = Launch::ranks(if under_mpi() { None } else { Some(3) });
    if kind == "hang" {
        options = options.with_patience(Duration::from_secs(patience));
    }
    match launch(&options, |world| program(&world, &kind)) {
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
        "return" => Ok(()),
        "hang" => loop {
            std::hint::spin_loop();
        },
        "kill" | "stop" => signal(if kind == "kill" { "KILL" } else { "STOP" }),
        _ => Err("layer 7 is not a number".to_owned()),
    }
}

/// Sends a signal to this process; returns if it lives on.
fn signal(name: &str) -> Result<(), String> {
    let status = Command::new("kill").args(["-s", name, &process::id().to_string()]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("cannot send SIG{name}: {other:?}")),
    }
}
