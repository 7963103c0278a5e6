//! Memory by its address.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

/// Memory of a device, or of the host, that an MPI library may read and write by its address. Clones are the same
/// memory, which lives as long as one of them.
#[derive(Clone)]
pub struct DeviceBuffer {
    address: usize,
    n_bytes: usize,
    keeper: Arc<dyn Any + Send + Sync>,
}

impl DeviceBuffer {
    /// The `n_bytes` bytes at `address`, which `keeper` keeps alive: for instance the tensor that they belong to.
    ///
    /// # Safety
    /// Until `keeper` is dropped the bytes must stay allocated and in place. While a buffer that is being sent exists,
    /// nobody may write them; while one that is being received into exists, nobody may read or write them. That
    /// includes work that a device has queued: it must be done before the buffer is made.
    #[allow(unsafe_code)]
    pub unsafe fn new(address: usize, n_bytes: usize, keeper: Arc<dyn Any + Send + Sync>) -> Self {
        Self { address, n_bytes, keeper }
    }

    /// Memory of the host. Its bytes are atomic, so reading them too early is a mistake, but a defined one.
    pub fn of_host(memory: Arc<[AtomicU8]>) -> Self {
        Self { address: memory.as_ptr().expose_provenance(), n_bytes: memory.len(), keeper: Arc::new(memory) }
    }

    /// Where the bytes are, in the address space of their device.
    pub fn address(&self) -> usize {
        self.address
    }

    /// How many bytes there are.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// What keeps the bytes alive.
    pub fn keeper(&self) -> &(dyn Any + Send + Sync) {
        &*self.keeper
    }
}

impl fmt::Debug for DeviceBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceBuffer({} bytes at {:#x})", self.n_bytes, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_lives_as_long_as_a_clone() {
        let memory: Arc<[AtomicU8]> = (0..3).map(AtomicU8::new).collect();
        let weak = Arc::downgrade(&memory);
        let buffer = DeviceBuffer::of_host(memory);
        let clone = buffer.clone();
        assert_eq!((clone.address(), clone.n_bytes()), (buffer.address(), 3));
        drop(buffer);
        assert!(weak.upgrade().is_some());
        drop(clone);
        assert!(weak.upgrade().is_none());
    }
}
