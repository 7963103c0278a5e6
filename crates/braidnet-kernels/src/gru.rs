//! The pointwise part of a gated recurrent unit as a step in time: what is left when its two products with matrices are
//! done.

mod row;

use serde::{Deserialize, Serialize};

use self::row::{Gates, Retention, add_three, apply_row, candidate, diagonal_row, pullback_row};
use crate::{
    exp::{exp, exp_m1},
    vector::{clamp, map, vectorised},
};

/// From here on `tanh(x)` rounds to 1.
const SATURATED: f32 = 9.02;

/// `1 / (1 + e^(-x))` to 2 units in the last place; 0 where `e^(-x)` is no `f32`, NaN stays NaN.
///
/// ```
/// assert_eq!(braidnet_kernels::sigmoid(0.0), 0.5);
/// ```
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `tanh(x)` to 2 units in the last place, near 0 too, odd to the bit; NaN stays NaN.
///
/// ```
/// assert_eq!(braidnet_kernels::tanh(f32::NEG_INFINITY), -1.0);
/// ```
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let m = exp_m1(2.0 * clamp(x, SATURATED).abs());
    (m / (m + 2.0)).copysign(x)
}

/// How a step in time `dt` takes the differential equation `h' = (1 - z) (n - h)` of the unit.
///
/// Each is `k h + (1 - k) n` with a retention `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GruForm {
    /// `k = 1 / (1 + dt (1 - z))`: stable for every `dt` (Moon and Cyr 2022).
    Implicit,
    /// `k = 1 - dt (1 - z)`: the classic unit for `dt = 1` (Cho and others 2014).
    Explicit,
}

/// How one coarse step stands for `c` fine steps of length `dt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GruCoarse {
    /// One step of length `c dt`.
    Rediscretised,
    /// `c` steps of length `dt` with the gates and the input of the first: `k^c`.
    Frozen,
}

/// How many of the fine steps count; with none a row stays as it is, for its sequence has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts<'a> {
    /// As many in every row.
    All(u32),
    /// A number for each row.
    Each(&'a [u32]),
}

/// A fine or coarse step of a gated recurrent unit, given the gates from [`gru_gates`].
///
/// ```
/// use braidnet_kernels::{Counts, GruCoarse, GruForm, GruStep};
///
/// let (form, coarse, counts) = (GruForm::Explicit, GruCoarse::Frozen, Counts::Each(&[1, 2, 0]));
/// let step = GruStep { form, coarse, hidden: 1, dt: 1.0, counts };
/// let (r, z, n, hp_n) = (0.5, 0.25, 0.0, 1.0);
/// let mut h = [16.0; 3];
/// step.apply(&[r, z, n, hp_n].repeat(3), &mut h);
/// assert_eq!(h, [4.0, 1.0, 16.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GruStep<'a> {
    /// The formula of the retention.
    pub form: GruForm,
    /// What a step does that stands for several.
    pub coarse: GruCoarse,
    /// Hidden size `h`: numbers in a row of the state.
    pub hidden: usize,
    /// Length of a fine step.
    pub dt: f32,
    /// Fine steps that count.
    pub counts: Counts<'a>,
}

/// The gates `r = sigmoid(xp_r + hp_r)`, `z = sigmoid(xp_z + hp_z)`, `n = tanh(xp_n + r hp_n)`, and `hp_n` beside them:
/// all of a step that depends on the state and the input, nothing that depends on `dt`.
///
/// `xp` is `from_input`, `W_x x + b_x`; `hp` is `from_state + bias`, `W_h h + b_h`. `gates` is overwritten.
///
/// # Shapes
/// `from_input` and `from_state` are `[rows, 3h]`, `bias` `[3h]`, all with the blocks r, z, n; `gates` is `[rows, 4h]`
/// with the blocks r, z, n, `hp_n`.
pub fn gru_gates(from_input: &[f32], from_state: &[f32], bias: &[f32], gates: &mut [f32]) {
    let hidden = bias.len() / 3;
    debug_assert!(hidden > 0 && bias.len() == 3 * hidden, "bias");
    debug_assert!(from_input.len().is_multiple_of(bias.len()), "columns");
    debug_assert_eq!((from_state.len(), gates.len()), (from_input.len(), from_input.len() / 3 * 4), "state, gates");
    vectorised(
        #[inline(always)]
        || {
            let rows = from_input.chunks_exact(3 * hidden).zip(from_state.chunks_exact(3 * hidden));
            for ((input, state), gates) in rows.zip(gates.chunks_exact_mut(4 * hidden)) {
                let (r_z, n_hp) = gates.split_at_mut(2 * hidden);
                let (n, hp_n) = n_hp.split_at_mut(hidden);
                let (input_r_z, input_n) = input.split_at(2 * hidden);
                let (state_r_z, state_n) = state.split_at(2 * hidden);
                let (bias_r_z, bias_n) = bias.split_at(2 * hidden);
                add_three(input_r_z, state_r_z, bias_r_z, r_z);
                map(r_z, sigmoid);
                candidate(input_n, state_n, bias_n, &r_z[..hidden], n, hp_n);
                map(n, tanh);
            }
        },
    );
}

impl GruStep<'_> {
    /// Puts the state after the step, `k h + (1 - k) n`, in the place of the state.
    ///
    /// # Shapes
    /// `gates` is `[rows, 4h]`, `h` `[rows, h]`.
    pub fn apply(&self, gates: &[f32], h: &mut [f32]) {
        self.check(gates, h);
        vectorised(
            #[inline(always)]
            || {
                let rows = gates.chunks_exact(4 * self.hidden).zip(h.chunks_exact_mut(self.hidden));
                for (row, (gates, h)) in rows.enumerate() {
                    if let Some(retention) = self.retention(row) {
                        apply_row(retention, Gates::new(gates), h);
                    }
                }
            },
        );
    }

    /// The pullback of a step that began at `h`: `lambda`, the derivative of the loss by the state after the step,
    /// becomes its direct part `k lambda`, and the derivatives by `hp` and `xp` are written.
    ///
    /// Entries of `lambda` below 1e-30 count as 0.
    ///
    /// `delta_state` is the derivative by `hp`, so by `from_state` and, summed over the rows, by the bias;
    /// `delta_input` is that by `xp`. They differ in their block n alone, by the factor `r`. Where no fine step counts,
    /// `lambda` stays and both are 0.
    ///
    /// # Shapes
    /// `gates` is `[rows, 4h]`; `h` and `lambda` are `[rows, h]`; the results `[rows, 3h]` with the blocks r, z, n.
    pub fn pullback(
        &self,
        gates: &[f32],
        h: &[f32],
        lambda: &mut [f32],
        delta_state: &mut [f32],
        mut delta_input: Option<&mut [f32]>,
    ) {
        self.check(gates, h);
        debug_assert_eq!((lambda.len(), delta_state.len()), (h.len(), 3 * h.len()), "lambda, delta_state");
        debug_assert!(delta_input.as_ref().is_none_or(|delta| delta.len() == 3 * h.len()), "delta_input");
        let hidden = self.hidden;
        vectorised(
            #[inline(always)]
            || {
                let rows = gates.chunks_exact(4 * hidden).zip(h.chunks_exact(hidden));
                let deltas = lambda.chunks_exact_mut(hidden).zip(delta_state.chunks_exact_mut(3 * hidden));
                for (row, ((gates, h), (lambda, delta))) in rows.zip(deltas).enumerate() {
                    let input = delta_input.as_mut().map(|input| &mut input[row * 3 * hidden..][..3 * hidden]);
                    match self.retention(row) {
                        Some(retention) => pullback_row(retention, Gates::new(gates), h, lambda, delta, input),
                        None => {
                            delta.fill(0.0);
                            input.into_iter().for_each(|input| input.fill(0.0));
                        }
                    }
                }
            },
        );
    }

    /// The diagonal of the Jacobian of a step that began at `h`, by the state; `out` is overwritten.
    ///
    /// `weights` holds the diagonals of the three blocks of `W_h`: 1 where no fine step counts, else
    /// `k + (1 - k) (1 - n^2) r (w_n + hp_n (1 - r) w_r) + (h - n) dk/dz z (1 - z) w_z`.
    ///
    /// # Shapes
    /// `gates` is `[rows, 4h]`; `h` and `out` are `[rows, h]`; `weights` is `[3h]` with the blocks r, z, n.
    pub fn diagonal(&self, gates: &[f32], h: &[f32], weights: &[f32], out: &mut [f32]) {
        self.check(gates, h);
        debug_assert_eq!((weights.len(), out.len()), (3 * self.hidden, h.len()), "weights, out");
        vectorised(
            #[inline(always)]
            || {
                let rows = gates.chunks_exact(4 * self.hidden).zip(h.chunks_exact(self.hidden));
                for (row, ((gates, h), out)) in rows.zip(out.chunks_exact_mut(self.hidden)).enumerate() {
                    match self.retention(row) {
                        Some(retention) => diagonal_row(retention, Gates::new(gates), h, weights, out),
                        None => out.fill(1.0),
                    }
                }
            },
        );
    }

    fn check(&self, gates: &[f32], h: &[f32]) {
        debug_assert!(self.hidden > 0 && h.len().is_multiple_of(self.hidden), "{} columns", self.hidden);
        debug_assert_eq!(gates.len(), 4 * h.len(), "gates");
        if let Counts::Each(counts) = self.counts {
            debug_assert_eq!(counts.len(), h.len() / self.hidden, "counts");
        }
    }

    /// Nothing where no fine step counts.
    #[inline(always)]
    fn retention(&self, row: usize) -> Option<Retention> {
        let count = match self.counts {
            Counts::All(count) => count,
            Counts::Each(counts) => counts[row],
        };
        let (dt, power) = match self.coarse {
            GruCoarse::Rediscretised => (self.dt * count as f32, 1),
            GruCoarse::Frozen => (self.dt, count),
        };
        (count > 0).then_some(Retention { form: self.form, dt, power })
    }
}
