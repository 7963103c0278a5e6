//! Parts of one buffer as one tensor, and the other way round.

use burn::tensor::Tensor;
use burn_cubecl::kernel::slice;
use burn_cubecl::tensor::CubeTensor;

use super::tensor::{plain, wrap};

pub(crate) fn join<const D: usize>(tensors: &[Tensor<D>]) -> Option<Tensor<D>> {
    let parts = tensors.iter().map(plain).collect::<Option<Vec<_>>>()?;
    join_parts(parts).map(wrap)
}

/// The handle of the result is a clone of the first part's, with its count of references, so that none of them is the
/// only one (`can_mut`) while another lives. Its range is from the beginning of the first to the end of the last part.
fn join_parts(parts: Vec<CubeTensor>) -> Option<CubeTensor> {
    let first = parts.first()?;
    let last = parts.last()?;
    let mut joined = first.clone();
    joined.handle.offset_end = last.handle.offset_end;
    if joined.meta.num_elements() == 0 {
        return None;
    }
    if let [a, b, ..] = parts.as_slice() {
        let distance = start(b).checked_sub(start(a))?;
        joined.meta.strides_mut()[0] = row_stride(a, distance)?;
        let follows = |pair: &[CubeTensor]| {
            same_layout(&pair[0], &pair[1]) && start(&pair[1]) == start(&pair[0]).wrapping_add(distance)
        };
        if !parts.windows(2).all(follows) {
            return None;
        }
    }
    joined.meta.shape_mut()[0] *= parts.len();
    Some(joined)
}

/// Where in its buffer `tensor` begins, in bytes.
fn start(tensor: &CubeTensor) -> u64 {
    tensor.handle.offset_start.unwrap_or(0)
}

/// The stride of the first axis, in elements, that leads from a part to the next one `distance` bytes behind it; `None`
/// if there is none, or if the parts overlap.
fn row_stride(part: &CubeTensor, distance: u64) -> Option<usize> {
    let (shape, strides) = (part.meta.shape(), part.meta.strides());
    let distance = usize::try_from(distance).ok()? / size_of::<f32>();
    let stride = if shape[0] == 1 { distance } else { strides[0] };
    let row = 1 + (1..shape.num_dims()).map(|axis| (shape[axis] - 1) * strides[axis]).sum::<usize>();
    (stride >= row && stride * shape[0] == distance).then_some(stride)
}

/// Whether two parts lie in one buffer, in the same way.
fn same_layout(a: &CubeTensor, b: &CubeTensor) -> bool {
    let (x, y) = (&a.handle, &b.handle);
    x.clone().binding().memory.id() == y.clone().binding().memory.id()
        && (x.service, x.stream, x.size()) == (y.service, y.stream, y.size())
        && a.device == b.device
        && a.meta.shape() == b.meta.shape()
        && (0..a.meta.num_dims())
            .all(|axis| a.meta.shape()[axis] == 1 || a.meta.strides()[axis] == b.meta.strides()[axis])
}

pub(crate) fn split<const D: usize>(stack: &Tensor<D>, n: usize) -> Option<Vec<Tensor<D>>> {
    let stack = plain(stack)?;
    let rows = stack.meta.shape()[0];
    assert!(n > 0 && rows.is_multiple_of(n), "split: {rows} rows cannot be shared out among {n} parts");
    let rows = rows / n;
    let bytes = (rows * stack.meta.strides()[0] * size_of::<f32>()) as u64;
    // Otherwise `slice` copies.
    if !bytes.is_multiple_of(stack.client.properties().memory.alignment) {
        return None;
    }
    let part = |i: usize| {
        let mut ranges: Vec<_> = stack.meta.shape().iter().map(|&length| 0..length).collect();
        ranges[0] = i * rows..(i + 1) * rows;
        wrap(slice(stack.clone(), &ranges))
    };
    Some((0..n).map(part).collect())
}
