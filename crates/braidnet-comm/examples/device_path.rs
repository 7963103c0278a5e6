//! Whether MPI takes buffers straight from a device: tried with the host's memory and, built with the feature `cuda`,
//! with that of the first CUDA device each rank sees. One line each: `host: direct`, or `CUDA: staged: ` and the reason.
//!
//! ```text
//! cargo build --release -p braidnet-comm --features mpi,cuda --example device_path
//! mpirun -n 2 target/release/examples/device_path
//! ```

use std::process::ExitCode;

use braidnet_comm::{CommError, Communicator, DeviceProbe, HostProbe, Launch, launch};

fn main() -> ExitCode {
    match launch(&Launch::default(), |world| program(&world)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn program(world: &Communicator) -> Result<(), CommError> {
    try_out(world, &mut HostProbe)?;
    #[cfg(feature = "cuda")]
    {
        let mut device = braidnet_comm::CudaProbe::new(0);
        if world.rank() == 0 {
            match device.attach() {
                Ok(_) => println!("CUDA device: usable"),
                Err(error) => println!("CUDA device: {error}"),
            }
        }
        try_out(world, &mut device)?;
    }
    Ok(())
}

/// One line with the path that this memory would take.
fn try_out(world: &Communicator, probe: &mut dyn DeviceProbe) -> Result<(), CommError> {
    // A communicator of its own, as each decides once.
    let path = world.duplicate()?.probe_device_path(probe)?;
    if world.rank() == 0 {
        println!("{}: {path}", probe.memory());
    }
    Ok(())
}
