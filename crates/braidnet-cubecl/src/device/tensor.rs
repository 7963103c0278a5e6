//! From burn's tensors to buffers on the device, and what all kernels share.

use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::cubecl::{self, prelude::*};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous};

/// Kernels count elements in 32 bits, and add to such counts, so half the range is left free.
const MAX_ELEMENTS: usize = 1 << 31;
/// Threads of a cube where each has an element of its own.
const THREADS: u32 = 256;

/// The buffer of `tensor`, if it is a plain tensor of 32-bit floats on a device that runs the kernels.
pub(super) fn plain<const D: usize>(tensor: &Tensor<D>) -> Option<CubeTensor> {
    let tensor = tensor.clone().try_into_primitive::<CubeBackend>().ok()?;
    let fits = (tensor.handle.size() as usize) < MAX_ELEMENTS * size_of::<f32>();
    (tensor.dtype == DType::F32 && tensor.qparams.is_none() && !tensor.meta.is_tiled() && fits).then_some(tensor)
}

/// [`plain`] of a tensor that need not be there.
#[expect(clippy::option_option, reason = "not there, and not on a device, are two things")]
pub(super) fn plain_option<const D: usize>(tensor: Option<&Tensor<D>>) -> Option<Option<CubeTensor>> {
    match tensor {
        Some(tensor) => plain(tensor).map(Some),
        None => Some(None),
    }
}

/// A tensor without gaps and of any content, on the device of `like`; `None` if the kernels could not count its
/// elements.
pub(super) fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> Option<CubeTensor> {
    let elements = shape.iter().try_fold(1, |product: usize, &n| product.checked_mul(n))?;
    (elements < MAX_ELEMENTS)
        .then(|| empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), Shape::new(shape), DType::F32))
}

/// [`empty`] of the shape of `like`.
pub(super) fn empty_like(like: &CubeTensor) -> Option<CubeTensor> {
    let out = empty(like, [like.meta.num_elements()])?;
    Some(shaped(out.handle, like.meta.shape().clone(), like))
}

/// What a handle refers to, without gaps, as a tensor on the device of `like`.
pub(super) fn shaped(handle: Handle, shape: Shape, like: &CubeTensor) -> CubeTensor {
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, like.dtype)
}

/// The bytes of so many elements.
pub(super) fn bytes(elements: usize) -> u64 {
    (elements * size_of::<f32>()) as u64
}

/// The next count of elements behind `n` at which the device of `like` can bind a part of a buffer.
pub(super) fn aligned(like: &CubeTensor, n: usize) -> usize {
    let alignment = like.client.properties().memory.alignment as usize;
    n.next_multiple_of(alignment.div_ceil(size_of::<f32>()).max(1))
}

/// The tensor of burn that has the buffer of `tensor`.
pub(super) fn wrap<const D: usize>(tensor: CubeTensor) -> Tensor<D> {
    Tensor::from_primitive::<CubeBackend>(tensor)
}

/// The argument of a kernel that reads a vector as a slice.
pub(super) fn slice_arg(vector: CubeTensor) -> BufferArg {
    into_contiguous(vector).into_buffer_arg()
}

/// The lengths of the four axes of `tensor`.
pub(super) fn dims(tensor: &CubeTensor) -> [usize; 4] {
    tensor.meta.shape().dims()
}

/// As many launches of one cube as `count`, in as many axes as the device needs for them.
pub(super) fn cubes(client: &Client, count: usize) -> CubeCount {
    cubecl::calculate_cube_count_elemwise(client, count, CubeDim::new_single())
}

/// A launch with a thread for every element.
pub(super) struct Elements {
    pub count: CubeCount,
    pub dim: CubeDim,
}

impl Elements {
    /// Of so many elements, and a few threads more.
    pub fn of(client: &Client, n: usize) -> Self {
        let dim = CubeDim::new_1d(THREADS);
        Self { count: cubecl::calculate_cube_count_elemwise(client, n, dim), dim }
    }
}

/// Checks that `layers` stacked layers share out `images` and give the images of one.
///
/// # Panics
/// If they do not, naming `function`.
pub(super) fn batch(function: &str, images: usize, layers: usize) -> usize {
    assert!(layers > 0, "{function}: no layers");
    assert!(images.is_multiple_of(layers), "{function}: {images} images cannot be shared out among {layers} layers");
    images / layers
}

/// Checks that `output`, of a ReLU, has the shape of the derivative by it.
///
/// # Panics
/// If it has not, naming `function`.
pub(super) fn check_relu_output(function: &str, delta: &CubeTensor, output: Option<&CubeTensor>) {
    if let Some(output) = output {
        assert_eq!(dims(output), dims(delta), "{function}: relu_output must have the shape of delta");
    }
}
