//! Equal parts as one tensor, and the other way round.

use burn::tensor::{Shape, Tensor};
use burn_cubecl::kernel::{into_contiguous, slice};
use burn_cubecl::tensor::CubeTensor;

use super::copy::{Piece, copy};
use super::place::{distance, has_no_gaps, range, start};
use super::tensor::{aligned, bytes, empty, plain, shaped, wrap};

pub(crate) fn join<const D: usize>(tensors: &[Tensor<D>]) -> Option<Tensor<D>> {
    let parts = plain_parts(tensors)?;
    match as_one(&parts) {
        Some(joined) => Some(wrap(joined)),
        None => copied(&[&parts])?.pop().map(wrap),
    }
}

pub(crate) fn join_all(kinds: &[Vec<Tensor<1>>]) -> Option<Vec<Tensor<1>>> {
    let kinds = kinds.iter().map(|kind| plain_parts(kind)).collect::<Option<Vec<_>>>()?;
    let mut joined: Vec<_> = kinds.iter().map(|parts| as_one(parts)).collect();
    let apart: Vec<_> = kinds.iter().zip(&joined).filter(|(_, one)| one.is_none()).map(|(parts, _)| parts).collect();
    let mut copies = copied(&apart)?.into_iter();
    joined.iter_mut().filter(|one| one.is_none()).for_each(|one| *one = copies.next());
    joined.into_iter().map(|one| one.map(wrap)).collect()
}

pub(crate) fn order<const D: usize>(tensors: &[Tensor<D>]) -> Option<Vec<usize>> {
    let parts = tensors.iter().map(plain).collect::<Option<Vec<_>>>()?;
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&n| start(&parts[n]));
    Some(order)
}

/// Parts that are alike and have elements, at least one.
fn plain_parts<const D: usize>(tensors: &[Tensor<D>]) -> Option<Vec<CubeTensor>> {
    let parts = tensors.iter().map(plain).collect::<Option<Vec<_>>>()?;
    let first = parts.first()?;
    let is_like = |part: &CubeTensor| part.meta.shape() == first.meta.shape() && part.device == first.device;
    (first.meta.num_elements() > 0 && parts.iter().all(is_like)).then_some(parts)
}

/// Parts that follow each other in one buffer as one tensor. The handle is a clone of the first part's, with its count
/// of references, so that none of them is the only one (`can_mut`) while another lives.
fn as_one(parts: &[CubeTensor]) -> Option<CubeTensor> {
    let distance = distance(parts)?;
    let mut joined = parts.first()?.clone();
    joined.handle.offset_end = parts.last()?.handle.offset_end;
    if parts.len() > 1 {
        joined.meta.strides_mut()[0] = row_stride(parts.first()?, distance)?;
    }
    joined.meta.shape_mut()[0] *= parts.len();
    Some(joined)
}

/// The stride of the first axis, in elements, that leads from a part to the next one `distance` elements behind it;
/// `None` if there is none, or if the parts overlap.
fn row_stride(part: &CubeTensor, distance: usize) -> Option<usize> {
    let (shape, strides) = (part.meta.shape(), part.meta.strides());
    let stride = if shape[0] == 1 { distance } else { strides[0] };
    let row = 1 + (1..shape.num_dims()).map(|axis| (shape[axis] - 1) * strides[axis]).sum::<usize>();
    (stride >= row && stride * shape[0] == distance).then_some(stride)
}

/// The parts of each kind below each other, in one new buffer for all kinds.
fn copied(kinds: &[&Vec<CubeTensor>]) -> Option<Vec<CubeTensor>> {
    let (mut total, mut pieces, mut places) = (0, Vec::new(), Vec::new());
    for parts in kinds {
        let first = parts.first()?;
        let length = first.meta.num_elements();
        pieces.extend(pieces_of(parts, length, total)?);
        let mut shape = first.meta.shape().clone();
        shape[0] *= parts.len();
        places.push((total, shape));
        total += aligned(first, parts.len() * length);
    }
    let Some(like) = kinds.first().and_then(|parts| parts.first()) else { return Some(Vec::new()) };
    let out = empty(like, [total])?;
    copy(&pieces, &out);
    Some(places.into_iter().map(|(start, shape)| view(&out, start, shape)).collect())
}

/// Parts of so many elements each, which go to the result from `start` on.
fn pieces_of(parts: &[CubeTensor], length: usize, start: usize) -> Option<Vec<Piece>> {
    if let (Some(from), true) = (distance(parts), parts.iter().all(has_no_gaps)) {
        let rows = parts.len();
        return Some(vec![Piece { source: range(parts)?, rows, length, from, to: length, start }]);
    }
    let piece = |(n, part): (usize, &CubeTensor)| {
        let (source, start) = (into_contiguous(part.clone()), start + n * length);
        Piece { source, rows: 1, length, from: length, to: length, start }
    };
    Some(parts.iter().enumerate().map(piece).collect())
}

/// The elements of `out`, a vector, from `start` on.
pub(super) fn view(out: &CubeTensor, start: usize, shape: Shape) -> CubeTensor {
    let behind = out.meta.num_elements() - start - shape.num_elements();
    shaped(out.handle.clone().offset_start(bytes(start)).offset_end(bytes(behind)), shape, out)
}

pub(crate) fn split<const D: usize>(stack: &Tensor<D>, n: usize) -> Option<Vec<Tensor<D>>> {
    let parts = split_kinds(vec![plain(stack)?], n)?.pop()?;
    Some(parts.into_iter().map(wrap).collect())
}

pub(crate) fn split_all(stacks: &[Tensor<1>], n: usize) -> Option<Vec<Vec<Tensor<1>>>> {
    let stacks = stacks.iter().map(plain).collect::<Option<Vec<_>>>()?;
    let kinds = split_kinds(stacks, n)?.into_iter();
    Some(kinds.map(|parts| parts.into_iter().map(wrap).collect()).collect())
}

fn split_kinds(stacks: Vec<CubeTensor>, n: usize) -> Option<Vec<Vec<CubeTensor>>> {
    let (mut total, mut pieces, mut places) = (0, Vec::new(), Vec::new());
    for stack in &stacks {
        let rows = stack.meta.shape()[0];
        assert!(n > 0 && rows.is_multiple_of(n), "split: {rows} rows cannot be shared out among {n} parts");
        if is_cut_in_place(stack, n) {
            continue;
        }
        let length = stack.meta.num_elements() / n;
        let to = aligned(stack, length);
        let source = into_contiguous(stack.clone());
        pieces.push(Piece { source, rows: n, length, from: length, to, start: total });
        places.push((total, to));
        total += n * to;
    }
    let out = match stacks.first() {
        Some(like) if total > 0 => Some(empty(like, [total])?),
        _ => None,
    };
    if let Some(out) = &out {
        copy(&pieces, out);
    }
    let mut places = places.into_iter();
    let parts = |stack: &CubeTensor| {
        if is_cut_in_place(stack, n) {
            return Some((0..n).map(|i| cut(stack, i, n)).collect());
        }
        let (start, to) = places.next()?;
        let mut shape = stack.meta.shape().clone();
        shape[0] /= n;
        let out = out.as_ref()?;
        Some((0..n).map(|i| view(out, start + i * to, shape.clone())).collect())
    };
    stacks.iter().map(parts).collect()
}

/// Whether burn's slices are views: otherwise they would copy, as the device could not bind them.
fn is_cut_in_place(stack: &CubeTensor, n: usize) -> bool {
    let rows = stack.meta.shape()[0] / n;
    let alignment = stack.client.properties().memory.alignment;
    n == 1 || stack.meta.num_elements() == 0 || bytes(rows * stack.meta.strides()[0]).is_multiple_of(alignment)
}

/// The `i`-th of `n` parts.
fn cut(stack: &CubeTensor, i: usize, n: usize) -> CubeTensor {
    let rows = stack.meta.shape()[0] / n;
    let mut ranges: Vec<_> = stack.meta.shape().iter().map(|&length| 0..length).collect();
    ranges[0] = i * rows..(i + 1) * rows;
    slice(stack.clone(), &ranges)
}
