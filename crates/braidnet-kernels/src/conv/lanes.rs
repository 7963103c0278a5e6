//! One register of floats: loads, stores and the multiply-add.

use macerator::{Scalar, Simd, VMulAdd, Vector};

/// A register of the instruction set `S`.
pub(super) type Lanes<S> = Vector<S, f32>;

/// How many floats a register holds.
#[inline(always)]
pub(super) fn width<S: Simd>() -> usize {
    size_of::<S::Register>() / size_of::<f32>()
}

/// Whether registers hold 16 floats: then there are 32 of them, not 16.
#[inline(always)]
pub(super) fn is_wide<S: Simd>() -> bool {
    width::<S>() >= 16
}

/// How many of so many outputs are computed together, each with registers of its own for sums: as many as there are registers for,
/// in blocks of about equal size.
#[inline(always)]
pub(super) fn outputs_of_block<S: Simd>(outputs: usize) -> usize {
    let most = if is_wide::<S>() { 6 } else { 4 };
    outputs.div_ceil(outputs.div_ceil(most).max(1))
}

/// `value` in every lane.
#[inline(always)]
pub(super) fn splat<S: Simd>(value: f32) -> Lanes<S> {
    value.splat()
}

/// The first elements of `x`, which must fill a register.
#[inline(always)]
pub(super) fn load<S: Simd>(x: &[f32]) -> Lanes<S> {
    bytemuck::pod_read_unaligned(bytemuck::cast_slice(&x[..width::<S>()]))
}

/// Puts a register into the first elements of `x`.
#[inline(always)]
pub(super) fn store<S: Simd>(lanes: Lanes<S>, x: &mut [f32]) {
    x[..width::<S>()].copy_from_slice(bytemuck::cast_slice(bytemuck::bytes_of(&lanes)));
}

/// `a b + c`, with one rounding where there is an instruction for it, else with two.
#[inline(always)]
pub(super) fn mul_add<S: Simd>(a: Lanes<S>, b: Lanes<S>, c: Lanes<S>) -> Lanes<S> {
    // The test is decided when this is compiled. Without the instruction, a fused multiply-add would be a function
    // call for every element.
    if <f32 as VMulAdd>::is_accelerated::<S>() { a.mul_add(b, c) } else { a * b + c }
}
