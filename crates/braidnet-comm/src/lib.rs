//! Messages between ranks: one rank, threads of one process, or MPI.
