//! Layer normalisation of rows (Ba, Kiros and Hinton 2016), and its pullback.
//!
//! With `n = (x - mean(x)) / sqrt(var(x) + eps)` over a row, `y = n * weight + bias`; the variance divides by the
//! number of columns. The mean comes first and the variance from the differences to it, so that a large mean cancels
//! nothing.

use crate::{
    rows::{RowBlock, row_blocks},
    vector::{sum, vectorised},
};

/// Normalises every row of `x` and scales it; `y` is overwritten.
///
/// `tape`, where the adjoint needs it, takes the normalised rows and one `1 / sqrt(var + eps)` per row.
///
/// # Shapes
/// `weight` and `bias` are `[columns]`; `x`, `y` and the normalised rows `[rows, columns]`; the inverse deviations
/// `[rows]`.
pub fn layer_norm(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    y: &mut [f32],
    tape: Option<(&mut [f32], &mut [f32])>,
) {
    let columns = weight.len();
    debug_assert!(columns > 0 && x.len().is_multiple_of(columns), "columns");
    debug_assert_eq!((x.len(), columns), (y.len(), bias.len()), "x and weight, y and bias");
    vectorised(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(columns).zip(y.chunks_exact_mut(columns));
            let Some((normalised, inverse_std)) = tape else {
                for (x, y) in rows {
                    let (mean, inverse) = moments(x, eps);
                    for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                        *y = (x - mean) * inverse * weight + bias;
                    }
                }
                return;
            };
            debug_assert_eq!((normalised.len(), inverse_std.len()), (x.len(), x.len() / columns), "tape");
            for ((x, y), (normalised, kept)) in rows.zip(normalised.chunks_exact_mut(columns).zip(inverse_std)) {
                let (mean, inverse) = moments(x, eps);
                *kept = inverse;
                for ((((y, n), x), weight), bias) in y.iter_mut().zip(normalised).zip(x).zip(weight).zip(bias) {
                    *n = (x - mean) * inverse;
                    *y = *n * weight + bias;
                }
            }
        },
    );
}

/// Mean of a row, and `1 / sqrt(var + eps)`.
#[inline(always)]
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let scale = 1.0 / x.len() as f32;
    let mean = scale
        * sum(
            [x],
            #[inline(always)]
            |[x]| x,
        );
    let variance = scale
        * sum(
            [x],
            #[inline(always)]
            |[x]| (x - mean) * (x - mean),
        );
    (mean, 1.0 / (variance + eps).sqrt())
}

/// The pullback of [`layer_norm`] to its rows: with `g = dy * weight`,
/// `dx = (g - mean(g) - n mean(g * n)) / sqrt(var + eps)`; `dx` is overwritten.
///
/// # Shapes
/// `dy`, `normalised` and `dx` are `[rows, columns]`, `weight` `[columns]`, `inverse_std` `[rows]`.
pub fn layer_norm_pullback(dy: &[f32], weight: &[f32], normalised: &[f32], inverse_std: &[f32], dx: &mut [f32]) {
    let columns = weight.len();
    debug_assert_eq!((dy.len(), normalised.len()), (dx.len(), dx.len()), "dy, normalised");
    debug_assert_eq!(dx.len(), inverse_std.len() * columns, "dx");
    vectorised(
        #[inline(always)]
        || {
            let inputs = dy.chunks_exact(columns).zip(normalised.chunks_exact(columns)).zip(inverse_std);
            for (((dy, normalised), &inverse), dx) in inputs.zip(dx.chunks_exact_mut(columns)) {
                pullback_row(dy, weight, normalised, inverse, dx);
            }
        },
    );
}

#[inline(always)]
fn pullback_row(dy: &[f32], weight: &[f32], normalised: &[f32], inverse: f32, dx: &mut [f32]) {
    let scale = 1.0 / dx.len() as f32;
    let mean = scale
        * sum(
            [dy, weight],
            #[inline(always)]
            |[dy, weight]| dy * weight,
        );
    let slope = scale
        * sum(
            [dy, weight, normalised],
            #[inline(always)]
            |[dy, weight, n]| dy * weight * n,
        );
    for (((dx, dy), weight), n) in dx.iter_mut().zip(dy).zip(weight).zip(normalised) {
        *dx = inverse * (dy * weight - mean - n * slope);
    }
}

/// The gradients of the weight, column sums of `dy * n`, and of the bias, column sums of `dy`; both are overwritten.
///
/// # Shapes
/// `dy` and `normalised` are `[rows, columns]`, `dweight` and `dbias` `[columns]`.
pub fn layer_norm_gradients(dy: &[f32], normalised: &[f32], dweight: &mut [f32], dbias: &mut [f32]) {
    let columns = dweight.len();
    debug_assert_eq!((columns, dy.len()), (dbias.len(), normalised.len()), "dweight and dbias, dy and normalised");
    dweight.fill(0.0);
    dbias.fill(0.0);
    vectorised(
        #[inline(always)]
        || {
            let (blocks, rows) = row_blocks(dy, columns);
            let (normalised_blocks, normalised_rows) = row_blocks(normalised, columns);
            for (dy, n) in blocks.zip(normalised_blocks) {
                add_gradients_of_block(dy, n, dweight, dbias);
            }
            for (dy, n) in rows.zip(normalised_rows) {
                for (((dweight, dbias), dy), n) in dweight.iter_mut().zip(dbias.iter_mut()).zip(dy).zip(n) {
                    *dweight += dy * n;
                    *dbias += dy;
                }
            }
        },
    );
}

#[inline(always)]
fn add_gradients_of_block(dy: RowBlock<'_>, normalised: RowBlock<'_>, dweight: &mut [f32], dbias: &mut [f32]) {
    let ([a, b, c, d], [na, nb, nc, nd]) = (dy, normalised);
    let columns = a.len();
    let (dweight, dbias) = (&mut dweight[..columns], &mut dbias[..columns]);
    for j in 0..columns {
        dweight[j] += (a[j] * na[j] + b[j] * nb[j]) + (c[j] * nc[j] + d[j] * nd[j]);
        dbias[j] += (a[j] + b[j]) + (c[j] + d[j]);
    }
}
