//! What the process manager says in the environment, before any MPI call.

use std::env;

/// Variables that hold the number of ranks: of Open MPI, of MPICH and its kin (`PMI_SIZE`; the last counts one
/// machine's ranks only).
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"];

/// Whether a process manager such as `mpirun` started this process as a rank of an MPI job.
pub fn under_mpi() -> bool {
    SIZES.iter().any(|name| env::var_os(name).is_some()) || env::var_os("PMIX_RANK").is_some()
}

/// The number of ranks that the process manager started, if it did and says how many.
pub fn mpi_world_size() -> Option<usize> {
    let number = |name: &str| env::var(name).ok()?.trim().parse::<usize>().ok();
    // A launcher that speaks PMIx alone gives the rank, and Slurm the number beside it.
    SIZES.iter().find_map(|name| number(name)).or_else(|| number("PMIX_RANK").and(number("SLURM_STEP_NUM_TASKS")))
}
