//! What the decision about the path of messages asks of a device.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::DeviceBuffer;

/// The kind of memory behind a [`DeviceBuffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceMemory {
    /// The processors' own, whose addresses every MPI library takes.
    Host,
    /// Of NVIDIA's GPUs, allocated by CUDA.
    Cuda,
    /// Of AMD's GPUs, allocated by ROCm (HIP).
    Rocm,
    /// Without addresses that an MPI library takes: of Vulkan, Metal or WebGPU.
    Opaque,
}

impl fmt::Display for DeviceMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Cuda => "CUDA",
            Self::Rocm => "ROCm",
            Self::Opaque => "opaque",
        })
    }
}

/// Why a device could not do its part of the probe.
pub type ProbeError = Box<dyn Error + Send + Sync>;

/// What every thread must do once before it calls MPI for buffers of a device.
pub type Attach = Arc<dyn Fn() + Send + Sync>;

/// A device that [`Communicator::probe_device_path`](crate::Communicator::probe_device_path) tries out.
pub trait DeviceProbe {
    /// The kind of memory that [`fill`](Self::fill) allocates.
    fn memory(&self) -> DeviceMemory;

    /// What threads must do before they call MPI for this device's buffers, for instance make its CUDA context
    /// current; nothing by default. The rank's own thread and the one that sends its heartbeats do it.
    ///
    /// # Errors
    /// If the device cannot be used.
    fn attach(&mut self) -> Result<Option<Attach>, ProbeError> {
        Ok(None)
    }

    /// A new buffer on the device that holds these bytes. The device is done with it when this returns.
    ///
    /// # Errors
    /// If the device cannot be used, or has no memory left.
    fn fill(&mut self, bytes: &[u8]) -> Result<DeviceBuffer, ProbeError>;

    /// The bytes of a buffer that [`fill`](Self::fill) made and that MPI may have written since.
    ///
    /// # Errors
    /// If the device cannot read it.
    fn read(&mut self, buffer: &DeviceBuffer) -> Result<Vec<u8>, ProbeError>;
}
