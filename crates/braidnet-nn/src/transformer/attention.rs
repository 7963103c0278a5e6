//! Scaled dot-product attention with several heads (Vaswani and others 2017).

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::softmax::Attended;
use crate::Gradients;
use crate::linear::{self, linear};
use crate::stack::tensor_rows;

/// `o(softmax(q(x) k(z)^T / sqrt(d / heads)) v(z))` of queries `x` and keys `z`, by heads.
#[derive(Module, Debug)]
pub struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    #[module(skip)]
    heads: usize,
}

/// What the linearisation keeps. Projections have the shape `[samples, heads, length, d / heads]`.
pub(super) struct AttentionTape {
    attended: Attended,
    /// Rows that ask, and rows that are asked.
    x: Tensor<2>,
    z: Tensor<2>,
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    /// Weights of the keys.
    p: Tensor<4>,
    /// What `o` was applied to.
    context: Tensor<2>,
}

/// Cotangents of what the dense layers return.
pub(super) struct AttentionDeltas {
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    o: Tensor<2>,
}

/// Rows `[samples * length, d]` by heads. A single head needs no copy when it is put back.
fn by_heads(x: Tensor<2>, samples: usize, length: usize, heads: usize) -> Tensor<4> {
    let [_, d] = x.dims();
    match heads {
        1 => x.reshape([samples, 1, length, d]),
        _ => x.reshape([samples, length, heads, d / heads]).swap_dims(1, 2),
    }
}

/// The inverse of [`by_heads`].
fn in_rows(x: Tensor<4>) -> Tensor<2> {
    let [samples, heads, length, width] = x.dims();
    let rows = [samples * length, heads * width];
    if heads == 1 { x.reshape(rows) } else { x.swap_dims(1, 2).reshape(rows) }
}

fn transposed(x: &Tensor<4>) -> Tensor<4> {
    x.clone().swap_dims(2, 3)
}

impl Attention {
    /// Of rows of `d_model` features, which `heads` divides.
    pub fn new(d_model: usize, heads: usize, device: &Device) -> Self {
        let project = || linear(d_model, d_model, device);
        Self { q: project(), k: project(), v: project(), o: project(), heads }
    }

    /// Parts of the features that attend on their own.
    pub(super) fn heads(&self) -> usize {
        self.heads
    }

    /// `1 / sqrt(d / heads)`.
    fn scale(&self) -> f64 {
        let [_, d_model] = self.q.weight.dims();
        (self.heads as f64 / d_model as f64).sqrt()
    }

    /// Queries of the rows `x`, keys and values of the rows `z`.
    ///
    /// One product with all three weights side by side is no faster: 410 against 3 x 136 us (flex, 512 rows, 128 features).
    fn project(&self, x: Tensor<2>, z: Tensor<2>, attended: &Attended) -> [Tensor<4>; 3] {
        let Attended { samples, queries, keys, .. } = *attended;
        let by_heads = |of: &Linear, rows, length| by_heads(linear::apply(of, rows), samples, length, self.heads);
        [by_heads(&self.q, x, queries), by_heads(&self.k, z.clone(), keys), by_heads(&self.v, z, keys)]
    }

    pub(super) fn apply(&self, x: Tensor<2>, z: Tensor<2>, attended: &Attended) -> Tensor<2> {
        let [q, k, v] = self.project(x, z, attended);
        let p = attended.softmax(q.matmul(transposed(&k)), self.scale());
        linear::apply(&self.o, in_rows(p.matmul(v)))
    }

    pub(super) fn linearize(&self, x: Tensor<2>, z: Tensor<2>, attended: Attended) -> (Tensor<2>, AttentionTape) {
        let [q, k, v] = self.project(x.clone(), z.clone(), &attended);
        let p = attended.softmax(q.clone().matmul(transposed(&k)), self.scale());
        let context = in_rows(p.clone().matmul(v.clone()));
        let y = linear::apply(&self.o, context.clone());
        (y, AttentionTape { attended, x, z, q, k, v, p, context })
    }

    /// The derivatives by the rows `x` and by the rows `z`.
    pub(super) fn pull_back(&self, tape: &AttentionTape, delta: Tensor<2>) -> ([Tensor<2>; 2], AttentionDeltas) {
        let Attended { samples, queries, .. } = tape.attended;
        let layers = linear::n_layers(&self.q, &tape.x);
        let pull_back = |of: &Linear, delta: &Tensor<2>| linear::pull_back(of, delta.clone(), layers);
        let context = by_heads(pull_back(&self.o, &delta), samples, queries, self.heads);
        let v = in_rows(transposed(&tape.p).matmul(context.clone()));
        let scores = tape.attended.pull_back(&tape.p, context.matmul(transposed(&tape.v)), self.scale());
        let k = in_rows(transposed(&scores).matmul(tape.q.clone()));
        let q = in_rows(scores.matmul(tape.k.clone()));
        let x = pull_back(&self.q, &q);
        let z = pull_back(&self.k, &k) + pull_back(&self.v, &v);
        ([x, z], AttentionDeltas { q, k, v, o: delta })
    }

    /// Of some of the layers that are side by side in `tape`.
    pub(super) fn tape_rows(tape: &AttentionTape, rows: &[usize], of: usize) -> AttentionTape {
        let AttentionTape { attended, x, z, q, k, v, p, context } = tape;
        let [x, z, context] = [x, z, context].map(|x| tensor_rows(x, rows, of));
        let [q, k, v, p] = [q, k, v, p].map(|x| tensor_rows(x, rows, of));
        AttentionTape { attended: attended.of_rows(rows.len(), of), x, z, q, k, v, p, context }
    }

    pub(super) fn gradients(&self, tape: AttentionTape, deltas: AttentionDeltas) -> Gradients {
        let mut gradients = linear::gradients(&self.q, tape.x, deltas.q);
        gradients.extend(linear::gradients(&self.k, tape.z.clone(), deltas.k));
        gradients.extend(linear::gradients(&self.v, tape.z, deltas.v));
        gradients.extend(linear::gradients(&self.o, tape.context, deltas.o));
        gradients
    }
}
