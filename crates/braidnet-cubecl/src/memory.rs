//! The memory of devices and of tensors.

use braidnet_comm::DeviceBuffer;
use burn::tensor::{DType, Device, Tensor};

use crate::{cuda, device};

/// What a device says of its memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// The largest buffer that it gives.
    pub piece: u64,
    /// All of it, where it says so; with a unified memory, as much as it may use.
    pub total: Option<u64>,
}

/// The limits of a GPU's memory; `None` of a processor.
///
/// # Cost
/// One element on the device.
pub fn memory_limits(device: &Device) -> Option<MemoryLimits> {
    device::memory_limits(device)
}

/// The memory that the numbers of `tensor` lie in, one behind the other, once all that the device has queued for them is
/// done; `None` if it is not on a CUDA device, of another type than 32- or 16-bit floats, or without elements, and
/// without the feature `cuda`.
///
/// The buffer holds the tensor. As long as it lives nothing writes to that memory but who was lent it.
///
/// # Cost
/// The host waits for the device. A tensor with gaps or permuted axes is copied there first.
pub fn lend<const D: usize>(tensor: &Tensor<D>) -> Option<DeviceBuffer> {
    cuda::lend(tensor)
}

/// A tensor of any content and without gaps on a GPU, whose own memory [`lend`] lends; `None` elsewhere.
///
/// # Cost
/// An allocation; no launch.
pub fn room<const D: usize>(dims: [usize; D], dtype: DType, device: &Device) -> Option<Tensor<D>> {
    cuda::room(dims, dtype, device)
}
