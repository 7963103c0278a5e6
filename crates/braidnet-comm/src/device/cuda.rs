//! A CUDA device, with its driver loaded at run time: a build with this needs nothing of CUDA.
//!
//! Tried without a driver, and against a stand-in for one that keeps its memory on the host; not yet on a GPU.
#![allow(unsafe_code)]

use std::error::Error;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use libloading::{Library, Symbol};

use super::{Attach, DeviceBuffer, DeviceMemory, DeviceProbe, ProbeError};

/// Where the driver is.
#[cfg(not(windows))]
const LIBRARY: &str = "libcuda.so.1";
#[cfg(windows)]
const LIBRARY: &str = "nvcuda.dll";

/// Why a CUDA device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// The driver's library cannot be loaded.
    #[error("no CUDA driver: {reason}")]
    NoDriver {
        /// The loader's explanation.
        reason: String,
    },
    /// The driver lacks a function.
    #[error("the CUDA driver has no {function}; install a newer one")]
    OldDriver {
        /// The function.
        function: &'static str,
    },
    /// A call of the driver failed.
    #[error("{function} failed with CUDA error {code}; nvidia-smi shows whether the driver sees its GPUs")]
    Call {
        /// The function.
        function: &'static str,
        /// A `CUresult`.
        code: i32,
    },
    /// The buffer is none of this device.
    #[error("the buffer was not made by this probe; read only what `fill` returned")]
    ForeignBuffer,
}

/// Memory of a CUDA device for [`Communicator::probe_device_path`](crate::Communicator::probe_device_path). It is
/// allocated in the device's primary context, which burn uses too, and which this process then keeps.
pub struct CudaProbe {
    ordinal: usize,
    device: Option<Arc<Device>>,
}

impl CudaProbe {
    /// The `ordinal`-th device that this process sees. The driver is loaded when it is first needed.
    pub fn new(ordinal: usize) -> Self {
        Self { ordinal, device: None }
    }

    /// The device, with its context current on this thread.
    fn open(&mut self) -> Result<&Arc<Device>, CudaError> {
        let device = match self.device.take() {
            Some(device) => device,
            None => Arc::new(Device::open(self.ordinal)?),
        };
        device.enter()?;
        Ok(self.device.insert(device))
    }
}

impl DeviceProbe for CudaProbe {
    fn memory(&self) -> DeviceMemory {
        DeviceMemory::Cuda
    }

    fn attach(&mut self) -> Result<Option<Attach>, ProbeError> {
        let device = self.open()?.clone();
        // A failure shows in the exchange that follows, or in MPI's own error.
        Ok(Some(Arc::new(move || drop(device.enter()))))
    }

    fn fill(&mut self, bytes: &[u8]) -> Result<DeviceBuffer, ProbeError> {
        let memory = Arc::new(Memory::new(self.open()?, bytes)?);
        // SAFETY: the memory stays until its last `Arc` is gone, nothing is queued for it, and only `read` looks at it.
        Ok(unsafe { DeviceBuffer::new(usize::try_from(memory.address)?, bytes.len(), memory) })
    }

    fn read(&mut self, buffer: &DeviceBuffer) -> Result<Vec<u8>, ProbeError> {
        let device = self.open()?;
        let memory: &Memory = buffer.keeper().downcast_ref().ok_or(CudaError::ForeignBuffer)?;
        if !Arc::ptr_eq(device, &memory.device) {
            return Err(CudaError::ForeignBuffer.into());
        }
        Ok(memory.read()?)
    }
}

/// A `CUdeviceptr`.
type Address = u64;

/// The functions used, by the names that cuda.h gives their current versions.
struct Driver {
    mem_alloc: unsafe extern "C" fn(*mut Address, usize) -> c_int,
    mem_free: unsafe extern "C" fn(Address) -> c_int,
    to_device: unsafe extern "C" fn(Address, *const c_void, usize) -> c_int,
    to_host: unsafe extern "C" fn(*mut c_void, Address, usize) -> c_int,
    synchronize: unsafe extern "C" fn() -> c_int,
    set_current: unsafe extern "C" fn(usize) -> c_int,
    init: unsafe extern "C" fn(c_uint) -> c_int,
    device_get: unsafe extern "C" fn(*mut c_int, c_int) -> c_int,
    retain: unsafe extern "C" fn(*mut usize, c_int) -> c_int,
    /// Keeps the functions in place.
    _library: Library,
}

impl Driver {
    fn load() -> Result<Self, CudaError> {
        // SAFETY: the driver's initialisers may run in any program; no symbol is used before it was found.
        let library = unsafe { Library::new(LIBRARY) };
        let library = library.map_err(|error| CudaError::NoDriver {
            // The loader's own words are one level down.
            reason: error.source().map_or_else(|| error.to_string(), ToString::to_string),
        })?;
        // SAFETY: the types are those of cuda.h; a context is a pointer, of which only the value is handed on.
        unsafe {
            Ok(Self {
                mem_alloc: find(&library, "cuMemAlloc_v2")?,
                mem_free: find(&library, "cuMemFree_v2")?,
                to_device: find(&library, "cuMemcpyHtoD_v2")?,
                to_host: find(&library, "cuMemcpyDtoH_v2")?,
                synchronize: find(&library, "cuCtxSynchronize")?,
                set_current: find(&library, "cuCtxSetCurrent")?,
                init: find(&library, "cuInit")?,
                device_get: find(&library, "cuDeviceGet")?,
                retain: find(&library, "cuDevicePrimaryCtxRetain")?,
                _library: library,
            })
        }
    }
}

/// A function of the driver.
///
/// # Safety
/// `F` must be the function's type, and the library must outlive what is returned.
unsafe fn find<F: Copy>(library: &Library, function: &'static str) -> Result<F, CudaError> {
    // SAFETY: as the caller promises.
    let symbol: Result<Symbol<F>, _> = unsafe { library.get(function) };
    symbol.map(|symbol| *symbol).map_err(|_| CudaError::OldDriver { function })
}

/// A device and its primary context.
struct Device {
    driver: Driver,
    context: usize,
}

impl Device {
    fn open(ordinal: usize) -> Result<Self, CudaError> {
        let driver = Driver::load()?;
        let (mut device, mut context) = (0, 0);
        // CUDA itself says that there is no such device.
        let ordinal = c_int::try_from(ordinal).unwrap_or(c_int::MAX);
        // SAFETY: the pointers are to live variables. The context is never given back: burn may use it, and a thread
        // may have it as its current one.
        unsafe {
            check("cuInit", (driver.init)(0))?;
            check("cuDeviceGet", (driver.device_get)(&mut device, ordinal))?;
            check("cuDevicePrimaryCtxRetain", (driver.retain)(&mut context, device))?;
        }
        Ok(Self { driver, context })
    }

    /// Makes the context current on this thread.
    fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context is kept for as long as the process lives.
        check("cuCtxSetCurrent", unsafe { (self.driver.set_current)(self.context) })
    }
}

/// Bytes on the device.
struct Memory {
    device: Arc<Device>,
    address: Address,
    n_bytes: usize,
}

impl Memory {
    /// Allocates memory and copies the bytes there; the device's context is current.
    fn new(device: &Arc<Device>, bytes: &[u8]) -> Result<Self, CudaError> {
        let (driver, mut address) = (&device.driver, 0);
        // SAFETY: the pointer is to a live variable.
        check("cuMemAlloc", unsafe { (driver.mem_alloc)(&mut address, bytes.len()) })?;
        let memory = Self { device: device.clone(), address, n_bytes: bytes.len() };
        // SAFETY: both sides have so many bytes. The copy may return before the device has them, so it is waited for.
        unsafe {
            check("cuMemcpyHtoD", (driver.to_device)(address, bytes.as_ptr().cast(), bytes.len()))?;
            check("cuCtxSynchronize", (driver.synchronize)())?;
        }
        Ok(memory)
    }

    /// Copies the bytes back, after all that the device still does; its context is current.
    fn read(&self) -> Result<Vec<u8>, CudaError> {
        let mut bytes = vec![0u8; self.n_bytes];
        let driver = &self.device.driver;
        // SAFETY: both sides have so many bytes, and the copy returns when the host has them.
        unsafe {
            check("cuCtxSynchronize", (driver.synchronize)())?;
            check("cuMemcpyDtoH", (driver.to_host)(bytes.as_mut_ptr().cast(), self.address, bytes.len()))?;
        }
        Ok(bytes)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.device.enter().is_ok() {
            // SAFETY: the memory was allocated here, and nobody uses it any more. Should this fail, it is lost.
            unsafe { (self.device.driver.mem_free)(self.address) };
        }
    }
}

fn check(function: &'static str, code: c_int) -> Result<(), CudaError> {
    if code == 0 { Ok(()) } else { Err(CudaError::Call { function, code }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_usable_or_says_why_not() {
        let mut probe = CudaProbe::new(0);
        match probe.fill(&[1, 2, 3]) {
            Ok(buffer) => assert_eq!(probe.read(&buffer).unwrap(), [1, 2, 3]),
            Err(error) => {
                let error = error.downcast_ref::<CudaError>().unwrap();
                assert!(matches!(error, CudaError::NoDriver { .. } | CudaError::Call { .. }), "{error}");
            }
        }
        let foreign = crate::HostProbe.fill(&[1]).unwrap();
        assert!(probe.read(&foreign).is_err());
    }

    #[test]
    fn a_device_that_cannot_be_is_an_error() {
        assert!(CudaProbe::new(usize::MAX).fill(&[1]).is_err());
    }
}
