//! One row of a gated recurrent unit.
//!
//! Every loop is in a function with a parameter for each slice: so the compiler knows that none overlaps what is
//! written. Else it would have to test it at run time, and gives up a loop that needs more than a few such tests.

use std::ops::Range;

use super::GruForm;
use crate::vector::clamp;

/// Columns whose retention is held at once.
const BLOCK: usize = 64;

/// Where `r hp_n` is beyond this, `n` is 1 or -1 and what multiplies it is 0; at infinity the product would be NaN.
const BOUND: f32 = 1e30;

/// `out = input + (state + bias)`.
#[inline(always)]
pub(super) fn add_three(input: &[f32], state: &[f32], bias: &[f32], out: &mut [f32]) {
    for (((out, input), state), bias) in out.iter_mut().zip(input).zip(state).zip(bias) {
        *out = input + (state + bias);
    }
}

/// `hp_n`, and in `n` what its `tanh` shall be taken of.
#[inline(always)]
pub(super) fn candidate(input: &[f32], state: &[f32], bias: &[f32], r: &[f32], n: &mut [f32], hp_n: &mut [f32]) {
    let columns = n.len();
    let (input, state, bias) = (&input[..columns], &state[..columns], &bias[..columns]);
    let (r, hp_n) = (&r[..columns], &mut hp_n[..columns]);
    for j in 0..columns {
        hp_n[j] = state[j] + bias[j];
        n[j] = input[j] + r[j] * hp_n[j];
    }
}

/// Derivatives below it become 0. In long sequences they decay step by step, and where they reach the numbers that have no
/// normal form, from 1e-38 on, every operation with them takes a processor many times as long.
const NEGLIGIBLE: f32 = 1e-30;

/// The blocks of a row of the gates.
#[derive(Clone, Copy)]
pub(super) struct Gates<'a> {
    r: &'a [f32],
    z: &'a [f32],
    n: &'a [f32],
    hp_n: &'a [f32],
}

impl<'a> Gates<'a> {
    #[inline(always)]
    pub(super) fn new(row: &'a [f32]) -> Self {
        let (r_z, n_hp) = row.split_at(row.len() / 2);
        let ((r, z), (n, hp_n)) = (r_z.split_at(r_z.len() / 2), n_hp.split_at(n_hp.len() / 2));
        Self { r, z, n, hp_n }
    }
}

/// `k` as a function of `z` in one row: a power, at least the first, of the retention of a step of length `dt`.
#[derive(Clone, Copy)]
pub(super) struct Retention {
    pub(super) form: GruForm,
    pub(super) dt: f32,
    pub(super) power: u32,
}

impl Retention {
    /// `k`, and its derivative by what `z` is the sigmoid of, `dk/dz z (1 - z)`.
    #[inline(always)]
    fn of(self, z: &[f32], k: &mut [f32], slope: &mut [f32]) {
        let dt = self.dt;
        let columns = k.iter_mut().zip(slope.iter_mut()).zip(z);
        match self.form {
            GruForm::Implicit => columns.for_each(
                #[inline(always)]
                |((k, slope), z)| {
                    *k = 1.0 / (1.0 + dt * (1.0 - z));
                    *slope = dt * *k * *k * (z * (1.0 - z));
                },
            ),
            GruForm::Explicit => columns.for_each(
                #[inline(always)]
                |((k, slope), z)| {
                    *k = 1.0 - dt * (1.0 - z);
                    *slope = dt * (z * (1.0 - z));
                },
            ),
        }
        if self.power > 1 {
            raise(self.power, k, slope);
        }
    }
}

/// `k^power` for `k`, and `power k^(power - 1)` times the slope; `power` is at least 2.
#[inline(always)]
fn raise(power: u32, k: &mut [f32], slope: &mut [f32]) {
    let mut lower = [0.0; BLOCK];
    let lower = &mut lower[..k.len()];
    lower.copy_from_slice(k);
    let exponent = power - 1;
    for bit in (0..exponent.ilog2()).rev() {
        let odd = exponent >> bit & 1 == 1;
        for (lower, &k) in lower.iter_mut().zip(k.iter()) {
            *lower = *lower * *lower * if odd { k } else { 1.0 };
        }
    }
    let count = power as f32;
    for ((k, slope), &lower) in k.iter_mut().zip(slope).zip(lower.iter()) {
        *k *= lower;
        *slope *= count * lower;
    }
}

/// The columns in blocks.
#[inline(always)]
fn blocks(columns: usize) -> impl Iterator<Item = Range<usize>> {
    (0..columns).step_by(BLOCK).map(
        #[inline(always)]
        move |start| start..columns.min(start + BLOCK),
    )
}

/// [`super::GruStep::apply`] where a step counts.
#[inline(always)]
pub(super) fn apply_row(retention: Retention, gates: Gates<'_>, h: &mut [f32]) {
    let (mut k, mut slope) = ([0.0; BLOCK], [0.0; BLOCK]);
    for block in blocks(h.len()) {
        let (k, slope) = (&mut k[..block.len()], &mut slope[..block.len()]);
        retention.of(&gates.z[block.clone()], k, slope);
        for ((h, &k), n) in h[block.clone()].iter_mut().zip(k.iter()).zip(&gates.n[block]) {
            *h = k * *h + (1.0 - k) * n;
        }
    }
}

/// [`super::GruStep::pullback`] where a step counts.
#[inline(always)]
pub(super) fn pullback_row(
    retention: Retention,
    gates: Gates<'_>,
    h: &[f32],
    lambda: &mut [f32],
    delta: &mut [f32],
    mut delta_input: Option<&mut [f32]>,
) {
    let hidden = h.len();
    let (delta_r, delta_z_n) = delta.split_at_mut(hidden);
    let (delta_z, delta_n) = delta_z_n.split_at_mut(hidden);
    let (mut k, mut slope) = ([0.0; BLOCK], [0.0; BLOCK]);
    for block in blocks(hidden) {
        let (k, slope) = (&mut k[..block.len()], &mut slope[..block.len()]);
        retention.of(&gates.z[block.clone()], k, slope);
        let (n, h, lambda) = (&gates.n[block.clone()], &h[block.clone()], &mut lambda[block.clone()]);
        pullback_update(n, h, k, slope, lambda, &mut delta_z[block.clone()], &mut delta_n[block]);
    }
    if let Some(input) = &mut delta_input {
        input[2 * hidden..].copy_from_slice(delta_n);
    }
    pullback_reset(gates.r, gates.hp_n, delta_r, delta_n);
    if let Some(input) = delta_input {
        input[..2 * hidden].copy_from_slice(&delta[..2 * hidden]);
    }
}

/// From the state after the step to what `z` and `n` are functions of.
#[inline(always)]
fn pullback_update(
    n: &[f32],
    h: &[f32],
    k: &[f32],
    slope: &[f32],
    lambda: &mut [f32],
    delta_z: &mut [f32],
    delta_n: &mut [f32],
) {
    let columns = lambda.len();
    let (n, h, k, slope) = (&n[..columns], &h[..columns], &k[..columns], &slope[..columns]);
    let (delta_z, delta_n) = (&mut delta_z[..columns], &mut delta_n[..columns]);
    for j in 0..columns {
        let by_next = if lambda[j].abs() < NEGLIGIBLE { 0.0 } else { lambda[j] };
        delta_n[j] = by_next * (1.0 - k[j]) * ((1.0 - n[j]) * (1.0 + n[j]));
        delta_z[j] = by_next * (h[j] - n[j]) * slope[j];
        lambda[j] = by_next * k[j];
    }
}

/// On to `hp`: `delta_n` comes as the derivative by `xp_n`.
#[inline(always)]
fn pullback_reset(r: &[f32], hp_n: &[f32], delta_r: &mut [f32], delta_n: &mut [f32]) {
    let columns = delta_r.len();
    let (r, hp_n, delta_n) = (&r[..columns], &hp_n[..columns], &mut delta_n[..columns]);
    for j in 0..columns {
        delta_r[j] = delta_n[j] * (clamp(r[j] * hp_n[j], BOUND) * (1.0 - r[j]));
        delta_n[j] *= r[j];
    }
}

/// [`super::GruStep::diagonal`] where a step counts.
#[inline(always)]
pub(super) fn diagonal_row(retention: Retention, gates: Gates<'_>, h: &[f32], weights: &[f32], out: &mut [f32]) {
    let hidden = h.len();
    let (weights_r, weights_z_n) = weights.split_at(hidden);
    let (weights_z, weights_n) = weights_z_n.split_at(hidden);
    diagonal_candidate(gates.r, gates.hp_n, weights_r, weights_n, out);
    let (mut k, mut slope) = ([0.0; BLOCK], [0.0; BLOCK]);
    for block in blocks(hidden) {
        let (k, slope) = (&mut k[..block.len()], &mut slope[..block.len()]);
        retention.of(&gates.z[block.clone()], k, slope);
        let (n, h, weights_z) = (&gates.n[block.clone()], &h[block.clone()], &weights_z[block.clone()]);
        diagonal_update(n, h, k, slope, weights_z, &mut out[block]);
    }
}

/// The derivative of what `n` is the tanh of.
#[inline(always)]
fn diagonal_candidate(r: &[f32], hp_n: &[f32], weights_r: &[f32], weights_n: &[f32], out: &mut [f32]) {
    for ((((out, &r), hp_n), w_r), w_n) in out.iter_mut().zip(r).zip(hp_n).zip(weights_r).zip(weights_n) {
        *out = r * w_n + clamp(r * hp_n, BOUND) * (1.0 - r) * w_r;
    }
}

/// The diagonal in the place of the derivative of what `n` is the tanh of.
#[inline(always)]
fn diagonal_update(n: &[f32], h: &[f32], k: &[f32], slope: &[f32], weights_z: &[f32], out: &mut [f32]) {
    let columns = out.len();
    let (n, h, weights_z) = (&n[..columns], &h[..columns], &weights_z[..columns]);
    let (k, slope) = (&k[..columns], &slope[..columns]);
    for j in 0..columns {
        let through_n = (1.0 - k[j]) * ((1.0 - n[j]) * (1.0 + n[j])) * out[j];
        out[j] = k[j] + through_n + (h[j] - n[j]) * slope[j] * weights_z[j];
    }
}
