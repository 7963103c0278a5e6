//! How values of a device travel between processes: straight from its memory, or staged through the host's.
//!
//! | file | what |
//! |---|---|
//! | `buffer.rs` | memory by its address, kept alive |
//! | `path.rs` | which way messages take, and the decision |
//! | `probe.rs` | what the decision asks of a device |
//! | `exchange.rs` | the exchange of buffers that decides |
//! | `host.rs` | the host as a device |
//! | `cuda.rs` | a CUDA device, with its driver loaded at run time |

mod buffer;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "mpi")]
mod exchange;
mod host;
mod path;
mod probe;

pub use buffer::DeviceBuffer;
#[cfg(feature = "cuda")]
pub use cuda::{CudaError, CudaProbe};
pub use host::HostProbe;
pub use path::DevicePath;
pub use probe::{Attach, DeviceMemory, DeviceProbe, ProbeError};
