//! The kernels of gated recurrent units. Blocks of a row: `r | z | n | hp_n` of the gates, `r | z | n` of the products.

use burn_cubecl::cubecl::{self, prelude::*};

/// From here on `tanh(x)` rounds to 1; some devices make NaN of much larger numbers.
const SATURATED: f32 = 9.02;

/// What the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Form {
    pub implicit: bool,
    pub frozen: bool,
}

/// The retention `k` and its derivative by `z`.
#[derive(CubeType, Clone, Copy)]
#[expand(derive(Clone, Copy))]
struct Retention {
    k: f32,
    slope: f32,
}

#[cube(launch)]
pub(super) fn gru_gates_kernel(input: &[f32], state: &[f32], bias: &[f32], gates: &mut [f32], hidden: usize) {
    let (row, column) = (ABSOLUTE_POS / hidden, ABSOLUTE_POS % hidden);
    if row * 4 * hidden < gates.len() {
        let at = row * 3 * hidden + column;
        let r = sigmoid(input[at] + (state[at] + bias[column]));
        let z = sigmoid(input[at + hidden] + (state[at + hidden] + bias[column + hidden]));
        let hp_n = state[at + 2 * hidden] + bias[column + 2 * hidden];
        let n = tanh(input[at + 2 * hidden] + r * hp_n);
        let to = row * 4 * hidden + column;
        gates[to] = r;
        gates[to + hidden] = z;
        gates[to + 2 * hidden] = n;
        gates[to + 3 * hidden] = hp_n;
    }
}

#[cube(launch)]
pub(super) fn gru_step_kernel(
    gates: &[f32],
    h: &[f32],
    counts: ComptimeOption<&Tensor<f32>>,
    out: &mut [f32],
    hidden: usize,
    count: f32,
    dt: f32,
    #[comptime] form: Form,
) {
    if ABSOLUTE_POS < out.len() {
        let (row, column) = (ABSOLUTE_POS / hidden, ABSOLUTE_POS % hidden);
        let at = row * 4 * hidden + column;
        let of = retention(gates[at + hidden], count_of(counts, row, count), dt, form);
        out[ABSOLUTE_POS] = of.k * h[ABSOLUTE_POS] + (1.0f32 - of.k) * gates[at + 2 * hidden];
    }
}

#[cube(launch)]
pub(super) fn gru_pullback_kernel(
    gates: &[f32],
    h: &[f32],
    lambda: &[f32],
    counts: ComptimeOption<&Tensor<f32>>,
    direct: &mut [f32],
    by_state: &mut [f32],
    by_input: &mut [f32],
    hidden: usize,
    count: f32,
    dt: f32,
    #[comptime] form: Form,
) {
    if ABSOLUTE_POS < direct.len() {
        let (row, column) = (ABSOLUTE_POS / hidden, ABSOLUTE_POS % hidden);
        let at = row * 4 * hidden + column;
        let r = gates[at];
        let z = gates[at + hidden];
        let n = gates[at + 2 * hidden];
        let hp_n = gates[at + 3 * hidden];
        let g = lambda[ABSOLUTE_POS];
        let of = retention(z, count_of(counts, row, count), dt, form);
        let dn = g * (1.0f32 - of.k) * (1.0f32 - n * n);
        let dr = dn * hp_n * r * (1.0f32 - r);
        let dz = g * (h[ABSOLUTE_POS] - n) * of.slope * z * (1.0f32 - z);
        direct[ABSOLUTE_POS] = g * of.k;
        let to = row * 3 * hidden + column;
        by_state[to] = dr;
        by_state[to + hidden] = dz;
        by_state[to + 2 * hidden] = dn * r;
        by_input[to] = dr;
        by_input[to + hidden] = dz;
        by_input[to + 2 * hidden] = dn;
    }
}

/// The fine steps that count in a row.
#[cube]
fn count_of(counts: ComptimeOption<&Tensor<f32>>, row: usize, all: f32) -> f32 {
    #[comptime]
    match counts {
        ComptimeOption::Some(counts) => counts[row * counts.stride(0)],
        ComptimeOption::None => all,
    }
}

/// Of a step that stands for `count` fine ones of length `dt`: one of the whole length, or, frozen, so many with the same gates.
#[cube]
fn retention(z: f32, count: f32, dt: f32, #[comptime] form: Form) -> Retention {
    let mut length = dt;
    if comptime!(!form.frozen) {
        length = dt * count;
    }
    let a = length * (1.0f32 - z);
    let mut k = 1.0f32 - a;
    let mut slope = length;
    if comptime!(form.implicit) {
        k = 1.0f32 / (1.0f32 + a);
        slope = k * k * length;
    }
    if comptime!(form.frozen) {
        // With no step at all nothing changes.
        let lower = power(k, u32::cast_from(clamp_min(count - 1.0f32, 0.0f32)));
        k = select(count > 0.0f32, k * lower, 1.0f32);
        slope *= count * lower;
    }
    Retention { k, slope }
}

/// `x^n`.
#[cube]
fn power(x: f32, n: u32) -> f32 {
    let mut result = 1.0f32;
    let mut square = x;
    let mut rest = n;
    while rest > 0 {
        if rest % 2 == 1 {
            result *= square;
        }
        square *= square;
        rest /= 2;
    }
    result
}

#[cube]
fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + (-x).exp())
}

/// NaN stays NaN, which `clamp` alone would lose on some devices.
#[cube]
fn tanh(x: f32) -> f32 {
    let not_finite = select(x > 0.0f32, 0.0f32, select(x <= 0.0f32, 0.0f32, x));
    clamp(x, -SATURATED, SATURATED).tanh() + not_finite
}
