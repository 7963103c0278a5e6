//! The layers once more, from burn's tensor operations alone, sequence by sequence and head by head.
//!
//! Nothing is divided by a number: burn's autograd forms the derivative of that in single precision.

use braidnet_nn::transformer::{Activation, PairBatch, PairSpace, PairState, SequenceBatch, SequenceSpace};
use braidnet_nn::{At, Forward, TensorState};
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::{mapped, values};

#[derive(Module, Debug)]
struct Norm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

impl Norm {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let mean = x.clone().mean_dim(2);
        let variance = x.clone().powi_scalar(2).mean_dim(2) - mean.clone().powi_scalar(2);
        (x - mean) / (variance + 1e-5).sqrt() * self.weight.val().unsqueeze() + self.bias.val().unsqueeze()
    }
}

#[derive(Module, Debug)]
struct Heads {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
}

/// Whether query `n` of sequence `s` sees key `m`.
fn sees(queries: usize, keys: &SequenceBatch, causal: bool, s: usize) -> Tensor<2> {
    let sees = |n: usize, m: usize| {
        let is_padding = keys.padding.as_ref().is_some_and(|padding| padding[s * keys.length + m]);
        !is_padding && (m <= n || !causal)
    };
    let all: Vec<f64> =
        (0..queries).flat_map(|n| (0..keys.length).map(move |m| f64::from(u8::from(sees(n, m))))).collect();
    Tensor::from_data(TensorData::new(all, [queries, keys.length]), (&Device::flex().autodiff(), DType::F64))
}

impl Heads {
    fn forward(&self, x: Tensor<3>, z: Tensor<3>, keys: &SequenceBatch, heads: usize, causal: bool) -> Tensor<3> {
        let [samples, queries, d] = x.dims();
        let width = d / heads;
        let (q, k, v) = (self.q.forward(x), self.k.forward(z.clone()), self.v.forward(z));
        let one = |s: usize, h: usize| {
            let part =
                |of: &Tensor<3>| -> Tensor<2> { of.clone().narrow(0, s, 1).narrow(2, h * width, width).squeeze_dim(0) };
            let scores = part(&q).matmul(part(&k).transpose()) * (1.0 / width as f64).sqrt();
            let e = scores.exp() * sees(queries, keys, causal, s);
            let sum = e.clone().sum_dim(1);
            let nothing = sum.clone().equal_elem(0.0).float().cast(DType::F64);
            (e / (sum + nothing)).matmul(part(&v))
        };
        let sequence = |s| Tensor::cat((0..heads).map(|h| one(s, h)).collect(), 1);
        self.o.forward(Tensor::stack((0..samples).map(sequence).collect(), 0))
    }
}

#[derive(Module, Debug)]
struct Dense {
    fc1: Linear,
    fc2: Linear,
}

impl Dense {
    fn forward(&self, x: Tensor<3>, activation: Activation) -> Tensor<3> {
        let x = self.fc1.forward(x);
        let hidden = match activation {
            Activation::Gelu => x.clone() * ((x * 0.5f64.sqrt()).erf() + 1.0) * 0.5,
            Activation::GeluTanh => {
                let inner = (x.clone() + x.clone().powi_scalar(3) * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
                x * (inner.tanh() + 1.0) * 0.5
            }
            Activation::Relu => burn::tensor::activation::relu(x),
            Activation::Elu => {
                let is_negative = x.clone().lower_elem(0.0);
                x.clone().mask_where(is_negative, x.exp() - 1.0)
            }
        };
        self.fc2.forward(hidden)
    }
}

#[derive(Module, Debug)]
pub struct PlainLayer {
    ln1: Norm,
    sa: Heads,
    ln2: Norm,
    mlp: Dense,
    ln3: Option<Norm>,
    ca: Option<Heads>,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    causal: bool,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    split: bool,
}

impl PlainLayer {
    /// With the parameters of `layer`, by their names.
    pub fn of<M: Module>(layer: &M, heads: usize, activation: Activation, causal: bool, split: bool) -> Self {
        let device = Device::flex();
        let given = values(layer);
        let ones = |n| Param::from_tensor(Tensor::ones([n], &device));
        let norm = || Norm { weight: ones(12), bias: ones(12) };
        let dense = |inputs, outputs| LinearConfig::new(inputs, outputs).init(&device);
        let attention = || Heads { q: dense(12, 12), k: dense(12, 12), v: dense(12, 12), o: dense(12, 12) };
        let has_cross = given.contains_key("ca.q.weight");
        let plain = Self {
            ln1: norm(),
            sa: attention(),
            ln2: norm(),
            mlp: Dense { fc1: dense(12, 10), fc2: dense(10, 12) },
            ln3: has_cross.then(norm),
            ca: has_cross.then(attention),
            heads,
            causal,
            activation,
            split,
        };
        mapped(plain, |name, _| given[name].clone())
    }

    fn phi1(&self, x: Tensor<3>, batch: &SequenceBatch) -> Tensor<3> {
        let h = self.ln1.forward(x);
        self.sa.forward(h.clone(), h, batch, self.heads, self.causal)
    }

    fn phi2(&self, x: Tensor<3>) -> Tensor<3> {
        self.mlp.forward(self.ln2.forward(x), self.activation)
    }

    fn phi3(&self, x: Tensor<3>, y: Tensor<3>, source: &SequenceBatch) -> Tensor<3> {
        let (ln3, ca) = (self.ln3.as_ref().unwrap(), self.ca.as_ref().unwrap());
        ca.forward(ln3.forward(y), x, source, self.heads, false)
    }
}

/// A decoder layer of pairs.
#[derive(Module, Debug)]
pub struct PlainPair {
    pub layer: PlainLayer,
}

impl Forward for PlainLayer {
    type Space = SequenceSpace;

    fn forward(&self, TensorState(x): TensorState<3>, at: At<'_, SequenceBatch>) -> TensorState<3> {
        let phi1 = self.phi1(x.clone(), at.batch);
        TensorState(phi1.clone() + self.phi2(x + phi1))
    }
}

impl Forward for PlainPair {
    type Space = PairSpace;

    fn forward(&self, state: PairState, at: At<'_, PairBatch>) -> PairState {
        let PairBatch { source, target } = at.batch;
        let (x, y) = (state.x.unwrap().0, state.y.unwrap().0);
        let f = if self.layer.split {
            let y1 = y.clone() + self.layer.phi1(y.clone(), target) * at.dt;
            let phi3 = self.layer.phi3(x, y1.clone(), source);
            let y2 = y1.clone() + (phi3.clone() + self.layer.phi2(y1 + phi3)) * at.dt;
            (y2 - y) * (1.0 / at.dt)
        } else {
            let phi1 = self.layer.phi1(y.clone(), target);
            let phi3 = self.layer.phi3(x, y.clone() + phi1.clone(), source);
            phi1.clone() + phi3.clone() + self.layer.phi2(y + phi1 + phi3)
        };
        PairState { x: None, y: Some(TensorState(f)) }
    }
}
