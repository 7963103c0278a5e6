//! Stacks of tensors, and vectors behind each other.

use burn::tensor::Tensor;

use crate::device;

/// `tensors`, of equal shape, below each other along the first axis.
///
/// Where they lie one behind the other in one buffer, as the parts that [`split`] gives can and burn's slices of a stack
/// do, the result is a view of it. `None` for no tensors, tensors without elements, and tensors that are not alike.
///
/// # Why views are safe
/// A view is one more counted reference to the buffer, with a range that begins with the first part and ends with
/// the last. It keeps the buffer alive, and burn writes in place only through the last reference to a buffer
/// (`CubeTensor::can_mut`). While a part, the result or the stack they come from lives beside another, an operation on
/// any of them writes to memory of its own. The last one left may be written in place: nobody else sees the buffer.
///
/// # Cost
/// Nothing for a view. Otherwise a copy: one launch where the tensors lie equally far apart in one buffer, in the order
/// given, else one for every 32 of them, or as many as the device binds at a time; and one for each that has gaps.
pub fn join<const D: usize>(tensors: &[Tensor<D>]) -> Option<Tensor<D>> {
    device::join(tensors)
}

/// The tensors by where in their buffers they lie, as places in `tensors`: the order in which [`join`] needs no copy, if
/// there is one. Those that lie alike keep their order.
///
/// # Cost
/// Nothing.
pub fn order<const D: usize>(tensors: &[Tensor<D>]) -> Option<Vec<usize>> {
    device::order(tensors)
}

/// [`join`] of the tensors of each kind.
///
/// # Cost
/// As [`join`], where each kind that is copied counts as one tensor if its tensors are equally far apart.
pub fn join_all(kinds: &[Vec<Tensor<1>>]) -> Option<Vec<Tensor<1>>> {
    device::join_all(kinds)
}

/// The `n` equal parts of `stack` along the first axis: the inverse of [`join`].
///
/// They are views of one buffer and equally far apart in it: of that of `stack`, or of a copy in which each begins at
/// an address that the device can bind. burn wants multiples of 512 bytes on CUDA, of up to 256 with Vulkan and WebGPU.
/// The buffer lives as long as one of them.
///
/// # Cost
/// Nothing, or a copy in one launch.
///
/// # Panics
/// If `n` does not divide the first axis, or is zero.
pub fn split<const D: usize>(stack: &Tensor<D>, n: usize) -> Option<Vec<Tensor<D>>> {
    device::split(stack, n)
}

/// [`split`] of each stack.
///
/// # Cost
/// One launch for every 32 stacks that are copied.
///
/// # Panics
/// As [`split`].
pub fn split_all(stacks: &[Tensor<1>], n: usize) -> Option<Vec<Vec<Tensor<1>>>> {
    device::split_all(stacks, n)
}

/// Vectors of any lengths behind each other as one. Each begins at a multiple of [`alignment`]; what is in between is
/// zero, or whatever it was in a vector that [`unpack`] took apart. The result ends with the last vector.
///
/// # Cost
/// Nothing where they are those of [`unpack`], all and in order: then it is a view of their buffer. Else a launch for
/// every 32, or as many as the device binds at a time.
pub fn pack(vectors: &[Tensor<1>]) -> Option<Tensor<1>> {
    device::pack(vectors)
}

/// The inverse of [`pack`] for vectors of these lengths: views of the one buffer, which lives as long as one of them.
///
/// # Cost
/// Nothing.
///
/// # Panics
/// If the lengths are not those of vectors that were packed to `all`.
pub fn unpack(all: &Tensor<1>, lengths: &[usize]) -> Option<Vec<Tensor<1>>> {
    device::unpack(all, lengths)
}

/// The elements between places at which a vector may begin in a buffer of the device of `tensor`.
pub fn alignment(tensor: &Tensor<1>) -> Option<usize> {
    device::alignment(tensor)
}

/// `y + a x`, in memory of its own.
///
/// # Cost
/// One launch; 12 bytes and two operations per element.
///
/// # Panics
/// If the shapes differ.
pub fn axpy<const D: usize>(y: &Tensor<D>, a: f32, x: &Tensor<D>) -> Option<Tensor<D>> {
    device::axpy(y, a, x)
}
