//! Where parts lie in buffers.

use burn::tensor::Shape;
use burn_cubecl::tensor::CubeTensor;

use super::tensor::shaped;

/// How far apart parts of equal shape begin in the buffer that they share, in elements; `None` where they share none, or
/// are not all equally far apart in the order given. Of one part nothing follows: 0.
pub(super) fn distance(parts: &[CubeTensor]) -> Option<usize> {
    let [a, b, ..] = parts else { return Some(0) };
    let bytes = start(b).checked_sub(start(a))?;
    let follows =
        |pair: &[CubeTensor]| same_layout(&pair[0], &pair[1]) && start(&pair[1]) == start(&pair[0]).wrapping_add(bytes);
    parts.windows(2).all(follows).then_some(usize::try_from(bytes).ok()? / size_of::<f32>())
}

/// Everything from the beginning of the first to the end of the last of parts of one buffer, in their order there.
pub(super) fn range(parts: &[CubeTensor]) -> Option<CubeTensor> {
    let (first, last) = (parts.first()?, parts.last()?);
    let mut handle = first.handle.clone();
    handle.offset_end = last.handle.offset_end;
    let bytes = start(last).checked_sub(start(first))?;
    let elements = usize::try_from(bytes).ok()? / size_of::<f32>() + last.meta.num_elements();
    Some(shaped(handle, Shape::new([elements]), first))
}

/// Where in its buffer `tensor` begins, in bytes.
pub(super) fn start(tensor: &CubeTensor) -> u64 {
    tensor.handle.offset_start.unwrap_or(0)
}

/// Whether the elements of `part` follow each other in order.
pub(super) fn has_no_gaps(part: &CubeTensor) -> bool {
    let (shape, strides) = (part.meta.shape(), part.meta.strides());
    let mut expected = 1;
    (0..shape.num_dims()).rev().all(|axis| {
        let fits = shape[axis] == 1 || strides[axis] == expected;
        expected *= shape[axis];
        fits
    })
}

/// Whether two parts are of one buffer.
pub(super) fn same_buffer(a: &CubeTensor, b: &CubeTensor) -> bool {
    let (x, y) = (&a.handle, &b.handle);
    x.clone().binding().memory.id() == y.clone().binding().memory.id()
        && (x.service, x.stream, x.size()) == (y.service, y.stream, y.size())
}

/// Whether two parts lie in one buffer, in the same way.
fn same_layout(a: &CubeTensor, b: &CubeTensor) -> bool {
    let strides_agree = |axis: usize| a.meta.shape()[axis] == 1 || a.meta.strides()[axis] == b.meta.strides()[axis];
    same_buffer(a, b) && a.meta.shape() == b.meta.shape() && (0..a.meta.num_dims()).all(strides_agree)
}
