//! Loops that the compiler turns into vector instructions, and the choice of the instruction set.

use std::hint::black_box;

use macerator::AutoArch;

/// Elements handled together: one AVX-512 register, and a multiple of every narrower one.
const LANES: usize = 16;

/// What a loop over elements does at once, at most: four registers.
const BLOCK: usize = 4 * LANES;

/// Runs `kernel` as compiled for the best instruction set this processor has.
///
/// Everything that `kernel` calls must be `#[inline(always)]`: a call that stays a call is compiled for the oldest
/// processor.
#[inline(always)]
pub(crate) fn vectorised<R>(kernel: impl FnOnce() -> R) -> R {
    AutoArch::new().dispatch(kernel)
}

/// Puts `f` of every element in its place.
#[inline(always)]
pub(crate) fn map(x: &mut [f32], f: impl Fn(f32) -> f32) {
    let (blocks, tail) = x.split_at_mut(x.len() / BLOCK * BLOCK);
    map_block(blocks, &f);
    if !tail.is_empty() {
        // A full block with elements unused costs less than the same elements one by one.
        let mut block = [0.0; BLOCK];
        block[..tail.len()].copy_from_slice(tail);
        map_block(&mut block, &f);
        tail.copy_from_slice(&block[..tail.len()]);
    }
}

#[inline(always)]
fn map_block(x: &mut [f32], f: impl Fn(f32) -> f32) {
    for value in x {
        *value = f(*value);
    }
}

/// Puts the two values of `f` in the element's place and beside it, in `second`.
#[inline(always)]
pub(crate) fn map_pair(first: &mut [f32], second: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    debug_assert_eq!(first.len(), second.len());
    let whole = first.len() / BLOCK * BLOCK;
    let (blocks, tail) = first.split_at_mut(whole);
    let (second_blocks, second_tail) = second.split_at_mut(whole);
    map_pair_block(blocks, second_blocks, &f);
    if !tail.is_empty() {
        let (mut block, mut second_block) = ([0.0; BLOCK], [0.0; BLOCK]);
        block[..tail.len()].copy_from_slice(tail);
        map_pair_block(&mut block, &mut second_block, &f);
        tail.copy_from_slice(&block[..tail.len()]);
        second_tail.copy_from_slice(&second_block[..second_tail.len()]);
    }
}

#[inline(always)]
fn map_pair_block(first: &mut [f32], second: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    for (a, b) in first.iter_mut().zip(second) {
        (*a, *b) = f(*a);
    }
}

/// Sum of `term` over the elements of slices of the same length.
///
/// The order of the additions is fixed by the length alone, so the sum has the same bits on every processor.
#[inline(always)]
pub(crate) fn sum<const N: usize>(x: [&[f32]; N], term: impl Fn([f32; N]) -> f32) -> f32 {
    let chunks = x.map(|x| x.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for group in 0..chunks[0].0.len() {
        let group = chunks.map(|(groups, _)| &groups[group]);
        for lane in 0..LANES {
            sums[lane] += term(group.map(|values| values[lane]));
        }
    }
    for lane in 0..chunks[0].1.len() {
        sums[lane] += term(chunks.map(|(_, tail)| tail[lane]));
    }
    halve(sums, |a, b| a + b)
}

/// The largest element; a NaN counts as the smallest of all, and no element at all as minus infinity.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let (groups, tail) = x.as_chunks::<LANES>();
    let mut maxima = [f32::NEG_INFINITY; LANES];
    for group in groups {
        for (max, &value) in maxima.iter_mut().zip(group) {
            *max = larger(value, *max);
        }
    }
    for (max, &value) in maxima.iter_mut().zip(tail) {
        *max = larger(value, *max);
    }
    halve(maxima, larger)
}

/// `a` where it is larger, else `b`: one instruction, which `f32::max` with its rule for NaN is not.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// `x` within `bound` of 0; a NaN stays one.
#[inline(always)]
pub(crate) fn clamp(x: f32, bound: f32) -> f32 {
    let x = if x < -bound { -bound } else { x };
    if x > bound { bound } else { x }
}

/// Combines the lanes pairwise until one is left.
#[inline(always)]
fn halve(lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    // The compiler must not look through: it would arrange the lanes of the loop before for the pairs formed here,
    // which makes that loop several times slower.
    let mut lanes = black_box(lanes);
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = combine(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}
