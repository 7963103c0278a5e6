//! The memory of tensors on CUDA devices, for an MPI library that reads and writes it itself.

use std::sync::{Arc, Mutex};

use braidnet_comm::DeviceBuffer;
use burn::tensor::{DType, Device, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::future;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl_runtime::runtime::Runtime;

type CudaServer = <CudaRuntime as Runtime>::Server;

/// The address is valid from `get_resource` on, which also makes this thread's stream wait for that of whoever wrote the
/// tensor. Waiting for the stream then waits for both, and for what still reads memory that a room has taken over.
pub(crate) fn lend<const D: usize>(tensor: &Tensor<D>) -> Option<DeviceBuffer> {
    let tensor = of_cuda(tensor.clone().try_into_primitive::<CubeBackend>().ok()?)?;
    let n_bytes = tensor.meta.num_elements() * tensor.dtype.size();
    let resource = tensor.client.get_resource::<CudaServer>(tensor.handle.clone()).ok()?;
    future::block_on(tensor.client.sync()).ok()?;
    let memory = resource.resource();
    let address = usize::try_from(memory.ptr).ok().filter(|_| n_bytes > 0 && memory.size >= n_bytes as u64)?;
    let keeper = Arc::new(Mutex::new((resource, tensor)));
    // SAFETY: The resource keeps the bytes allocated and in place. The tensor is one more reference to them, so burn writes
    // to memory of its own instead; of a room, nobody else has the tensor before it is filled. What the device had queued
    // is done.
    #[allow(unsafe_code)]
    Some(unsafe { DeviceBuffer::new(address, n_bytes, keeper) })
}

/// `tensor` without gaps, if it is of plain numbers.
fn of_cuda(tensor: CubeTensor) -> Option<CubeTensor> {
    let is_plain = matches!(tensor.dtype, DType::F32 | DType::F16 | DType::BF16) && tensor.qparams.is_none();
    is_plain.then(|| into_contiguous(tensor))
}

pub(crate) fn room<const D: usize>(dims: [usize; D], dtype: DType, device: &Device) -> Option<Tensor<D>> {
    let there = Tensor::<1>::empty([1], device).try_into_primitive::<CubeBackend>().ok()?;
    let room = empty_device_contiguous_dtype(there.client, there.device, Shape::new(dims), dtype);
    Some(Tensor::from_primitive::<CubeBackend>(room))
}
