//! Sums and products of vectors and of the rows of a matrix.

use std::array::from_fn;

use crate::vector::vectorised;

/// Rows that are added to each other before they are added to a result: fewer passes over it, and less rounding.
pub(crate) type RowBlock<'a> = [&'a [f32]; 4];

/// The rows of `x` in blocks, and the rows left over.
#[inline(always)]
pub(crate) fn row_blocks(
    x: &[f32],
    columns: usize,
) -> (impl Iterator<Item = RowBlock<'_>>, impl Iterator<Item = &[f32]>) {
    debug_assert!(columns > 0 && x.len().is_multiple_of(columns), "columns");
    let blocks = x.chunks_exact(4 * columns);
    let rows = blocks.remainder().chunks_exact(columns);
    (blocks.map(move |block: &[f32]| from_fn(|row| &block[row * columns..][..columns])), rows)
}

/// The sum of every column of `x`, `[rows, columns]`; `out` is overwritten, and as long as a row.
pub fn column_sums(x: &[f32], columns: usize, out: &mut [f32]) {
    debug_assert_eq!(out.len(), columns, "out");
    out.fill(0.0);
    if x.is_empty() {
        return;
    }
    vectorised(
        #[inline(always)]
        || {
            let (blocks, rows) = row_blocks(x, columns);
            for [a, b, c, d] in blocks {
                for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                    *out += (a + b) + (c + d);
                }
            }
            for row in rows {
                out.iter_mut().zip(row).for_each(|(out, x)| *out += x);
            }
        },
    );
}

/// Adds `row`, such as a bias, to every row of `x`.
pub fn add_to_rows(x: &mut [f32], row: &[f32]) {
    if row.is_empty() {
        return;
    }
    debug_assert!(x.len().is_multiple_of(row.len()), "columns");
    vectorised(
        #[inline(always)]
        || {
            for x in x.chunks_exact_mut(row.len()) {
                x.iter_mut().zip(row).for_each(|(x, add)| *x += add);
            }
        },
    );
}

/// `y += a x`.
pub fn axpy(y: &mut [f32], a: f32, x: &[f32]) {
    debug_assert_eq!(y.len(), x.len());
    vectorised(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x),
    );
}

/// `y *= x`, element by element.
pub fn mul(y: &mut [f32], x: &[f32]) {
    debug_assert_eq!(y.len(), x.len());
    vectorised(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y *= x),
    );
}
