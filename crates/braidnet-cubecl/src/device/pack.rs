//! Vectors of any lengths behind each other.

use burn::tensor::{Shape, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::copy::{Piece, copy};
use super::join::view;
use super::place::{has_no_gaps, range, same_buffer, start};
use super::tensor::{aligned, bytes, empty, plain, wrap};

pub(crate) fn alignment(tensor: &Tensor<1>) -> Option<usize> {
    Some(aligned(&plain(tensor)?, 1))
}

pub(crate) fn pack(parts: &[Tensor<1>]) -> Option<Tensor<1>> {
    let parts = parts.iter().map(plain).collect::<Option<Vec<_>>>()?;
    let first = parts.first()?;
    let (starts, total) = places(&parts);
    let is_packed = |(part, place): (&CubeTensor, &usize)| {
        same_buffer(part, first) && has_no_gaps(part) && start(part) == start(first) + bytes(*place)
    };
    if parts.iter().zip(&starts).all(is_packed) {
        return range(&parts).map(wrap);
    }
    let out = empty(first, [total])?;
    copy(&pieces(&parts, &starts), &out);
    Some(wrap(out))
}

/// Where in the result each part begins, and how long that is; it ends with the last part.
fn places(parts: &[CubeTensor]) -> (Vec<usize>, usize) {
    let (mut starts, mut next, mut end) = (Vec::with_capacity(parts.len()), 0, 0);
    for part in parts {
        let length = part.meta.num_elements();
        starts.push(next);
        end = next + length;
        next += aligned(part, length);
    }
    (starts, end)
}

fn pieces(parts: &[CubeTensor], starts: &[usize]) -> Vec<Piece> {
    let piece = |(part, start): (&CubeTensor, &usize)| {
        let length = part.meta.num_elements();
        let to = aligned(part, length);
        Piece { source: into_contiguous(part.clone()), rows: 1, length, from: length, to, start: *start }
    };
    parts.iter().zip(starts).filter(|(part, _)| part.meta.num_elements() > 0).map(piece).collect()
}

pub(crate) fn unpack(all: &Tensor<1>, lengths: &[usize]) -> Option<Vec<Tensor<1>>> {
    let all = into_contiguous(plain(all)?);
    let (mut next, mut end) = (0, 0);
    let places: Vec<(usize, usize)> = lengths
        .iter()
        .map(|&length| {
            let start = next;
            end = start + length;
            next += aligned(&all, length);
            (start, length)
        })
        .collect();
    let n = all.meta.num_elements();
    assert_eq!(end, n, "unpack: vectors of these lengths have {end} elements with their gaps, not {n}");
    Some(places.into_iter().map(|(start, length)| wrap(view(&all, start, Shape::new([length])))).collect())
}
