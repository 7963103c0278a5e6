//! The pointwise part of cells, on the kernels of [`braidnet_kernels`] and on tensors.
//!
//! Rows are those of one or several steps below each other, `samples` of each.

use braidnet_cubecl::{GruDeltas, GruPace};
use braidnet_kernels::{Counts, GruCoarse, GruForm, GruStep, gru_gates};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, TensorData};

use super::rows::{Bias, Part, Rows};
use crate::gpu;
use crate::stack::join;

/// `r | z | n | W_hn h + b_hn` of every row, four times as long as its state: all that depends on state and input, nothing on
/// the length of the step.
pub(super) fn gates(from_input: &[Part<'_>], from_state: Rows, bias: &Bias) -> Rows {
    match from_state {
        Rows::Host { values, columns } => {
            let columns = columns / 3 * 4;
            let mut gates = vec![0.0; values.len() / 3 * 4];
            let (mut states, mut rest) = (&values[..], &mut gates[..]);
            for part in from_input {
                let n = part.numbers().len();
                let (own, behind) = states.split_at(n);
                let (out, after) = rest.split_at_mut(n / 3 * 4);
                gru_gates(part.numbers(), own, &bias.numbers, out);
                (states, rest) = (behind, after);
            }
            Rows::Host { values: gates, columns }
        }
        Rows::Tensor(from_state) => {
            let from_input = join(from_input.iter().cloned().map(Part::into_tensor).collect());
            if let Some(gates) = gpu::gru_gates(&from_input, &from_state, &bias.values) {
                return Rows::Tensor(gates);
            }
            let from_state = from_state + bias.values.clone().unsqueeze();
            let [xr, xz, xn] = blocks(from_input);
            let [hr, hz, hn] = blocks(from_state);
            let (r, z) = (sigmoid(xr + hr), sigmoid(xz + hz));
            let n = (xn + r.clone() * hn.clone()).tanh();
            Rows::Tensor(Tensor::cat(vec![r, z, n, hn], 1))
        }
    }
}

/// The blocks of `x` side by side.
fn blocks<const N: usize>(x: Tensor<2>) -> [Tensor<2>; N] {
    let width = x.dims()[1] / N;
    std::array::from_fn(|n| x.clone().narrow(1, n * width, width))
}

/// How many fine steps count, of all rows of a step or of each.
#[derive(Debug, Clone)]
pub(super) enum Count {
    All(u32),
    Each(Vec<u32>),
}

/// What steps do with their gates: `h' = k h + (1 - k) n` with the retention `k(z)`.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    pub form: GruForm,
    pub coarse: GruCoarse,
    /// Length of a fine step.
    pub dt: f64,
    /// Rows of a step.
    pub samples: usize,
    /// Of every step.
    pub counts: Vec<Count>,
}

/// Cotangents of a cell's two products with their biases.
pub(super) struct Deltas {
    pub state: Rows,
    /// Where they are wanted.
    pub input: Option<Rows>,
}

impl Pace {
    fn kernel<'a>(&self, hidden: usize, count: &'a Count) -> GruStep<'a> {
        let counts = match count {
            Count::All(n) => Counts::All(*n),
            Count::Each(each) => Counts::Each(each),
        };
        GruStep { form: self.form, coarse: self.coarse, hidden, dt: self.dt as f32, counts }
    }

    /// `h'` of the states `h`.
    pub fn apply(&self, gates: &Rows, h: &Rows) -> Rows {
        match (gates, h) {
            (Rows::Host { values: gates, .. }, Rows::Host { values, columns }) => {
                let (mut values, len) = (values.clone(), self.samples * columns);
                for (i, count) in self.counts.iter().enumerate() {
                    let (gates, h) = (&gates[4 * i * len..4 * (i + 1) * len], &mut values[i * len..(i + 1) * len]);
                    self.kernel(*columns, count).apply(gates, h);
                }
                Rows::Host { values, columns: *columns }
            }
            _ => {
                let (gates, h) = (gates.clone().into_tensor(), h.clone().into_tensor());
                if let Some(next) = gpu::gru_step(&gates, &h, &self.on_gpu(&h)) {
                    return Rows::Tensor(next);
                }
                let [_, z, n, _] = blocks(gates);
                let (k, _) = self.retention(z);
                Rows::Tensor(k.clone() * h + (k * -1.0 + 1.0) * n)
            }
        }
    }

    /// The retention and its derivative by `z`, on tensors.
    fn retention(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let counts = self.count_column(&z);
        let a = (z * -1.0 + 1.0) * self.dt;
        let of = |a: Tensor<2>, slope: Tensor<2>| match self.form {
            GruForm::Implicit => {
                let k = (a + 1.0).recip();
                (k.clone(), k.clone() * k * slope)
            }
            GruForm::Explicit => (a * -1.0 + 1.0, slope),
        };
        match self.coarse {
            GruCoarse::Rediscretised => of(a * counts.clone(), counts * self.dt),
            GruCoarse::Frozen => {
                let (k, slope) = of(a, counts.ones_like() * self.dt);
                // The power before the last, which the derivative has; of no steps at all it is never used.
                let before = k.clone().powf((counts.clone() - 1.0).clamp_min(0.0).expand(k.dims()));
                let counts_at_all = counts.clone().clamp_max(1.0);
                let whole = before.clone() * k * counts_at_all.clone() + (counts_at_all * -1.0 + 1.0);
                (whole, before * slope * counts)
            }
        }
    }

    /// As the kernels on GPUs want it, for states like `h`.
    fn on_gpu(&self, h: &Tensor<2>) -> GruPace {
        let (implicit, frozen) = (self.form == GruForm::Implicit, self.coarse == GruCoarse::Frozen);
        let counts = self.all_counts();
        let first = counts.first().copied().unwrap_or(0.0);
        let differ = counts.iter().any(|count| *count != first);
        let each = differ.then(|| Tensor::from_data(TensorData::new(counts, [h.dims()[0]]), &h.device()));
        GruPace { implicit, frozen, dt: self.dt as f32, count: first, each }
    }

    /// The counts of all rows.
    fn all_counts(&self) -> Vec<f32> {
        let each = |count: &Count| match count {
            Count::All(n) => vec![*n; self.samples],
            Count::Each(each) => each.clone(),
        };
        self.counts.iter().flat_map(each).map(|count| count as f32).collect()
    }

    /// The counts of all rows as a column of like numbers.
    fn count_column(&self, like: &Tensor<2>) -> Tensor<2> {
        let counts = self.all_counts();
        let rows = counts.len();
        Tensor::from_data(
            TensorData::new(counts, [rows, 1]).convert_dtype(like.dtype()),
            (&like.device(), like.dtype()),
        )
    }

    /// Pulls `lambda`, the cotangent of `h'`, back: it becomes its direct part; the rest goes through the products.
    pub fn pullback(&self, gates: &[(&Rows, usize)], h: &[(&Rows, usize)], lambda: &mut Rows, input: bool) -> Deltas {
        if let Rows::Host { values, columns } = lambda {
            return self.pullback_on_host(gates, h, (values, *columns), input);
        }
        let all = |parts: &[(&Rows, usize)]| Rows::gather(parts, self.samples).into_owned().into_tensor();
        let (gates, h, g) = (all(gates), all(h), lambda.clone().into_tensor());
        if let Some(GruDeltas { direct, state, input }) = gpu::gru_pullback(&gates, &h, &g, &self.on_gpu(&h)) {
            *lambda = Rows::Tensor(direct);
            return Deltas { state: Rows::Tensor(state), input: Some(Rows::Tensor(input)) };
        }
        let [r, z, n, hn] = blocks(gates);
        let (k, slope) = self.retention(z.clone());
        let dn = g.clone() * (k.clone() * -1.0 + 1.0) * (n.clone() * n.clone() * -1.0 + 1.0);
        let dr = dn.clone() * hn * r.clone() * (r.clone() * -1.0 + 1.0);
        let dz = g.clone() * (h - n) * slope * z.clone() * (z * -1.0 + 1.0);
        *lambda = Rows::Tensor(g * k);
        let state = Rows::Tensor(Tensor::cat(vec![dr.clone(), dz.clone(), dn.clone() * r], 1));
        Deltas { state, input: input.then(|| Rows::Tensor(Tensor::cat(vec![dr, dz, dn], 1))) }
    }

    fn pullback_on_host(
        &self,
        gates: &[(&Rows, usize)],
        h: &[(&Rows, usize)],
        (lambda, columns): (&mut [f32], usize),
        input: bool,
    ) -> Deltas {
        let (len, samples) = (self.samples * columns, self.samples);
        let mut state = vec![0.0; 3 * lambda.len()];
        let mut inputs = vec![0.0; if input { 3 * lambda.len() } else { 0 }];
        let pairs = self.counts.iter().zip(gates).zip(h).zip(lambda.chunks_mut(len)).enumerate();
        for (i, (((count, (gates, at)), (h, h_at)), lambda)) in pairs {
            let rows = 3 * i * len..3 * (i + 1) * len;
            let (gates, h) = (gates.part(at * samples, samples), h.part(h_at * samples, samples));
            let out = if input { Some(&mut inputs[rows.clone()]) } else { None };
            self.kernel(columns, count).pullback(gates.numbers(), h.numbers(), lambda, &mut state[rows], out);
        }
        let of = |values| Rows::Host { values, columns: 3 * columns };
        Deltas { state: of(state), input: input.then(|| of(inputs)) }
    }

    /// The diagonal of `dh'/dh`, where `weights` are the diagonals of the three blocks of `W_h`.
    pub fn diagonal(&self, gates: &Rows, h: &Rows, weights: &Bias) -> Rows {
        match (gates, h) {
            (Rows::Host { values: gates, .. }, Rows::Host { values: h, columns }) => {
                let (mut out, len) = (vec![0.0; h.len()], self.samples * columns);
                for (i, (count, out)) in self.counts.iter().zip(out.chunks_mut(len)).enumerate() {
                    let (gates, h) = (&gates[4 * i * len..4 * (i + 1) * len], &h[i * len..(i + 1) * len]);
                    self.kernel(*columns, count).diagonal(gates, h, &weights.numbers, out);
                }
                Rows::Host { values: out, columns: *columns }
            }
            _ => {
                let [r, z, n, hn] = blocks(gates.clone().into_tensor());
                let h = h.clone().into_tensor();
                let [wr, wz, wn] = blocks(weights.values.clone().unsqueeze::<2>());
                let (k, slope) = self.retention(z.clone());
                let through_r = hn * r.clone() * (r.clone() * -1.0 + 1.0) * wr;
                let through_n = (k.clone() * -1.0 + 1.0) * (n.clone() * n.clone() * -1.0 + 1.0) * (r * wn + through_r);
                Rows::Tensor(k + through_n + (h - n) * slope * z.clone() * (z * -1.0 + 1.0) * wz)
            }
        }
    }
}
