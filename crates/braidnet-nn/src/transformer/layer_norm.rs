//! Layer normalisation (Ba, Kiros and Hinton 2016).

use braidnet_kernels::{layer_norm, layer_norm_gradients, layer_norm_pullback};
use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use crate::host::{Numbers, on_host, tensor};
use crate::{Gradient, Gradients};

/// Added to the variance.
const EPSILON: f64 = 1e-5;

/// Every row with mean 0 and variance 1, then scaled and shifted: `n(x) weight + bias`.
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

/// What the linearisation keeps of rows `x`: `n = (x - mean) / sigma` and `1 / sigma`.
#[allow(clippy::large_enum_variant)] // The handles of tensors; what they hold is elsewhere.
pub(super) enum LayerNormTape {
    /// As the kernels want them.
    Host { normalised: Vec<f32>, inverse_std: Vec<f32> },
    /// Shapes `[rows, columns]` and `[rows, 1]`.
    Tensors { normalised: Tensor<2>, inverse_std: Tensor<2> },
}

impl LayerNorm {
    /// Of rows of `columns`; weight 1, bias 0.
    pub fn new(columns: usize, device: &Device) -> Self {
        Self { weight: Initializer::Ones.init([columns], device), bias: Initializer::Zeros.init([columns], device) }
    }

    /// Features of a row.
    pub(super) fn columns(&self) -> usize {
        self.weight.dims()[0]
    }

    /// Zeros of `[samples, length]` positions, where the weight lives and of its type.
    pub(super) fn zeros(&self, [samples, length]: [usize; 2]) -> Tensor<3> {
        let weight = self.weight.val();
        Tensor::zeros([samples, length, self.columns()], (&weight.device(), weight.dtype()))
    }

    fn parameters(&self) -> (Numbers, Numbers) {
        (Numbers::of(self.weight.val()), Numbers::of(self.bias.val()))
    }

    fn scaled(&self, normalised: Tensor<2>) -> Tensor<2> {
        normalised * self.weight.val().unsqueeze() + self.bias.val().unsqueeze()
    }

    pub(super) fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        if !on_host(&x) {
            return self.scaled(normalise(x).0);
        }
        let (dims, x, (weight, bias)) = (x.dims(), Numbers::of(x), self.parameters());
        let mut y = vec![0.0; x.as_slice().len()];
        layer_norm(x.as_slice(), weight.as_slice(), bias.as_slice(), EPSILON as f32, &mut y, None);
        tensor(y, dims)
    }

    pub(super) fn linearize(&self, x: Tensor<2>) -> (Tensor<2>, LayerNormTape) {
        if !on_host(&x) {
            let (normalised, inverse_std) = normalise(x);
            return (self.scaled(normalised.clone()), LayerNormTape::Tensors { normalised, inverse_std });
        }
        let (dims, x, (weight, bias)) = (x.dims(), Numbers::of(x), self.parameters());
        let x = x.as_slice();
        let (mut y, mut normalised, mut inverse_std) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; dims[0]]);
        let tape = Some((&mut normalised[..], &mut inverse_std[..]));
        layer_norm(x, weight.as_slice(), bias.as_slice(), EPSILON as f32, &mut y, tape);
        (tensor(y, dims), LayerNormTape::Host { normalised, inverse_std })
    }

    /// With `g = delta weight`: `(g - mean(g) - n mean(g n)) / sigma`.
    pub(super) fn pull_back(&self, tape: &LayerNormTape, delta: Tensor<2>) -> Tensor<2> {
        match tape {
            LayerNormTape::Host { normalised, inverse_std } => {
                let (dims, delta, weight) = (delta.dims(), Numbers::of(delta), Numbers::of(self.weight.val()));
                let mut back = vec![0.0; normalised.len()];
                layer_norm_pullback(delta.as_slice(), weight.as_slice(), normalised, inverse_std, &mut back);
                tensor(back, dims)
            }
            LayerNormTape::Tensors { normalised, inverse_std } => {
                let g = delta * self.weight.val().unsqueeze();
                let along = (g.clone() * normalised.clone()).mean_dim(1);
                (g.clone() - g.mean_dim(1) - normalised.clone() * along) * inverse_std.clone()
            }
        }
    }

    /// Gradients of the weight, sums of `delta n`, and of the bias, sums of `delta`.
    pub(super) fn gradients(&self, tape: LayerNormTape, delta: Tensor<2>) -> Gradients {
        let [_, columns] = delta.dims();
        let (weight, bias) = match tape {
            LayerNormTape::Host { normalised, .. } => {
                let (mut weight, mut bias) = (vec![0.0; columns], vec![0.0; columns]);
                layer_norm_gradients(Numbers::of(delta).as_slice(), &normalised, &mut weight, &mut bias);
                (tensor(weight, [columns]), tensor(bias, [columns]))
            }
            LayerNormTape::Tensors { normalised, .. } => {
                let weight = (delta.clone() * normalised).sum_dim(0);
                (weight.reshape([columns]), delta.sum_dim(0).reshape([columns]))
            }
        };
        vec![Gradient::new(self.weight.id, weight), Gradient::new(self.bias.id, bias)]
    }
}

/// `(x - mean) / sigma` and `1 / sigma`.
fn normalise(x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let inverse_std = (variance + EPSILON).sqrt().recip();
    (centred * inverse_std.clone(), inverse_std)
}
