//! The network once more, from burn's tensor operations alone, sample by sample and step by step, with autograd.
//!
//! Nothing is divided by a number: burn's autograd forms the derivative of that in single precision.

use braidnet_nn::gru::{GruCoarse, GruConfig, GruForm, GruNet, Sequences, Steps};
use burn::tensor::Tensor;

use crate::{Ends, Looped, Named, values};

/// Parameters and sizes.
pub struct Plain {
    config: GruConfig,
    leaves: Named,
}

fn leaf<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    x.clone().autodiff().require_grad()
}

fn sigmoid(x: Tensor<2>) -> Tensor<2> {
    ((x * -1.0).exp() + 1.0).recip()
}

impl Plain {
    pub fn of(net: &GruNet) -> Self {
        let leaves = values(net).iter().map(|(name, value)| (name.clone(), leaf(value))).collect();
        Self { config: net.config().clone(), leaves }
    }

    fn matrix(&self, name: &str, rows: usize) -> Tensor<2> {
        let flat = self.leaves[name].clone();
        let columns = flat.dims()[0] / rows;
        flat.reshape([rows, columns])
    }

    /// What block `block` of the product `side` of cell `k` makes of `x`, `[1, rows]`.
    fn product(&self, k: usize, side: &str, block: usize, x: &Tensor<2>) -> Tensor<2> {
        let hidden = self.config.hidden;
        let cut = |whole: Tensor<2>| whole.narrow(1, block * hidden, hidden);
        let weight = cut(self.matrix(&format!("cells.{k}.{side}.weight"), x.dims()[1]));
        x.clone().matmul(weight) + cut(self.matrix(&format!("cells.{k}.{side}.bias"), 1))
    }

    /// The new states, `[1, hidden]` each, after a step that stands for `count` fine ones.
    pub fn step(&self, states: &[Tensor<2>], input: Tensor<2>, count: usize) -> Vec<Tensor<2>> {
        let mut new: Vec<Tensor<2>> = Vec::new();
        for (k, h) in states.iter().enumerate() {
            let x = new.last().unwrap_or(&input).clone();
            let [from_x, from_h] = ["x", "h"].map(|side| {
                let of = if side == "x" { &x } else { h };
                [0, 1, 2].map(|block| self.product(k, side, block, of))
            });
            let [xr, xz, xn] = from_x;
            let [hr, hz, hn] = from_h;
            let (r, z) = (sigmoid(xr + hr), sigmoid(xz + hz));
            let n = (xn + r * hn).tanh();
            let (dt, times) = match self.config.coarse {
                GruCoarse::Rediscretised => (self.config.dt() * count as f64, 1),
                GruCoarse::Frozen => (self.config.dt(), count),
            };
            let a = (z * -1.0 + 1.0) * dt;
            let all = (0..times).fold(h.clone(), |h, _| match self.config.form {
                GruForm::Implicit => (h + a.clone() * n.clone()) / (a.clone() + 1.0),
                GruForm::Explicit => h.clone() + a.clone() * (n.clone() - h),
            });
            new.push(all);
        }
        new
    }

    /// Inputs of all samples and steps as leaves, `[1, width]`.
    fn inputs(&self, sequences: &Sequences) -> Vec<Vec<Tensor<2>>> {
        let (width, length) = (self.config.inputs.width(), self.config.length);
        match &sequences.steps {
            Steps::Features(x) => (0..x.dims()[0])
                .map(|s| {
                    let of = |n| leaf(&x.clone().narrow(0, s, 1).narrow(1, n, 1).reshape([1, width]));
                    (0..length).map(of).collect()
                })
                .collect(),
            Steps::Tokens(tokens) => {
                let tokens: Vec<i64> = tokens.to_data().iter::<i64>().collect();
                let rows = self.leaves["embedding.weight"].dims()[0] / width;
                let table = self.matrix("embedding.weight", rows);
                let of = |token: &i64| table.clone().narrow(0, *token as usize, 1);
                tokens.chunks(length).map(|own| own.iter().map(of).collect()).collect()
            }
        }
    }

    /// Every sample alone, as long as it is.
    pub fn looped(&self, sequences: &Sequences, ends: &Ends) -> Looped {
        let [cells, samples, hidden] = ends.first.dims();
        let (first, inputs) = (leaf(&ends.first), self.inputs(sequences));
        let mut behind: Vec<Vec<Tensor<3>>> = vec![Vec::new(); self.config.length];
        for s in 0..samples {
            let own = |k| first.clone().narrow(0, k, 1).narrow(1, s, 1).reshape([1, hidden]);
            let mut states: Vec<Tensor<2>> = (0..cells).map(own).collect();
            let length = sequences.lengths.as_ref().map_or(self.config.length, |lengths| lengths[s]);
            for (n, behind) in behind.iter_mut().enumerate() {
                if n < length {
                    states = self.step(&states, inputs[s][n].clone(), 1);
                }
                behind.push(Tensor::stack(states.clone(), 0));
            }
        }
        let states: Vec<Tensor<3>> = behind.into_iter().map(|of_samples| Tensor::cat(of_samples, 1)).collect();
        let each = states.iter().zip(&ends.cotangents).map(|(u, c)| (u.clone() * c.clone().autodiff()).sum());
        let tape = each.reduce(|a, b| a + b).unwrap().backward();
        let gradient = |x: &Tensor<2>| x.grad(&tape).unwrap_or_else(|| x.clone().inner().zeros_like());
        let of_step = |n: usize| Tensor::cat(inputs.iter().map(|own| gradient(&own[n])).collect(), 0);
        Looped {
            states: states.into_iter().map(Tensor::inner).collect(),
            lambda: first.grad(&tape).unwrap(),
            gradients: self.gradients(&tape),
            inputs: Tensor::stack((0..self.config.length).map(of_step).collect(), 0),
        }
    }

    /// Of the parameters that matter.
    pub fn gradients(&self, tape: &burn::tensor::Gradients) -> Named {
        self.leaves.iter().filter_map(|(name, leaf)| Some((name.clone(), leaf.grad(tape)?))).collect()
    }
}
