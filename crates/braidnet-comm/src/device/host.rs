//! The host as a device.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{DeviceBuffer, DeviceMemory, DeviceProbe, ProbeError};

/// A device whose memory is the host's. Every MPI library takes its addresses, so with it the whole direct path can be
/// tried without a GPU.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostProbe;

impl DeviceProbe for HostProbe {
    fn memory(&self) -> DeviceMemory {
        DeviceMemory::Host
    }

    fn fill(&mut self, bytes: &[u8]) -> Result<DeviceBuffer, ProbeError> {
        Ok(DeviceBuffer::of_host(bytes.iter().copied().map(AtomicU8::new).collect()))
    }

    fn read(&mut self, buffer: &DeviceBuffer) -> Result<Vec<u8>, ProbeError> {
        let memory: &Arc<[AtomicU8]> = buffer.keeper().downcast_ref().ok_or("not a buffer of the host")?;
        Ok(memory.iter().map(|byte| byte.load(Ordering::Relaxed)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_is_read() {
        let buffer = HostProbe.fill(&[1, 2, 3]).unwrap();
        assert_eq!(HostProbe.read(&buffer).unwrap(), [1, 2, 3]);
    }
}
