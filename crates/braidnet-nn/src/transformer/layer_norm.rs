//! Layer normalisation (Ba, Kiros and Hinton 2016).

use braidnet_cubecl::Normed;
use braidnet_kernels::{layer_norm, layer_norm_gradients, layer_norm_pullback};
use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use crate::gpu;
use crate::host::{Numbers, on_host, single, tensor};
use crate::stack::tensor_rows;
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
    /// Shapes `[rows, columns]` and `[rows, 1]`; the first of the type of `x`.
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

    /// Zeros of `[samples, length]` positions for each of so many stacked layers, where the weight lives and of its type.
    pub(super) fn zeros(&self, [samples, length]: [usize; 2], layers: usize) -> Tensor<3> {
        let weight = self.weight.val();
        Tensor::zeros([layers * samples, length, self.columns() / layers], (&weight.device(), weight.dtype()))
    }

    fn parameters(&self) -> (Numbers, Numbers) {
        (Numbers::of(self.weight.val()), Numbers::of(self.bias.val()))
    }

    /// Whether the kernels on slices apply to `x`: they take one layer.
    fn is_on_host(&self, x: &Tensor<2>) -> bool {
        on_host(x) && self.columns() == x.dims()[1]
    }

    fn on_gpu(&self, x: &Tensor<2>, tape: bool) -> Option<Normed> {
        gpu::layer_norm(x, &self.weight.val(), &self.bias.val(), EPSILON as f32, tape)
    }

    /// `x` by layers, `[layers, rows, columns]`, and a row of numbers for each of them.
    fn by_layers(&self, x: Tensor<2>, numbers: &Param<Tensor<1>>) -> (Tensor<3>, Tensor<3>) {
        let [rows, columns] = x.dims();
        let layers = self.columns() / columns;
        (
            x.clone().reshape([layers, rows / layers, columns]),
            numbers.val().cast(x.dtype()).reshape([layers, 1, columns]),
        )
    }

    /// `x weight`.
    fn weighted(&self, x: Tensor<2>) -> Tensor<2> {
        let dims = x.dims();
        let (x, weight) = self.by_layers(x, &self.weight);
        (x * weight).reshape(dims)
    }

    /// `n weight + bias`.
    fn scaled(&self, normalised: Tensor<2>) -> Tensor<2> {
        let dims = normalised.dims();
        let (scaled, bias) = self.by_layers(self.weighted(normalised), &self.bias);
        (scaled + bias).reshape(dims)
    }

    /// The sum of all rows of each layer.
    fn sums(&self, x: Tensor<2>) -> Tensor<1> {
        let (x, _) = self.by_layers(x, &self.weight);
        x.sum_dim(1).reshape([self.columns()])
    }

    pub(super) fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        if !self.is_on_host(&x) {
            if let Some(normed) = self.on_gpu(&x, false) {
                return normed.y;
            }
            let dtype = x.dtype();
            return self.scaled(normalise(x).0.cast(dtype));
        }
        let (dims, x, (weight, bias)) = (x.dims(), Numbers::of(x), self.parameters());
        let mut y = vec![0.0; x.as_slice().len()];
        layer_norm(x.as_slice(), weight.as_slice(), bias.as_slice(), EPSILON as f32, &mut y, None);
        tensor(y, dims)
    }

    pub(super) fn linearize(&self, x: Tensor<2>) -> (Tensor<2>, LayerNormTape) {
        if !self.is_on_host(&x) {
            if let Some(Normed { y, tape: Some((normalised, inverse_std)) }) = self.on_gpu(&x, true) {
                return (y, LayerNormTape::Tensors { normalised, inverse_std });
            }
            let dtype = x.dtype();
            let (normalised, inverse_std) = normalise(x);
            let normalised = normalised.cast(dtype);
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
                let weight = self.weight.val();
                if let Some(back) = gpu::layer_norm_pullback(&delta, &weight, normalised, inverse_std) {
                    return back;
                }
                let (dtype, normalised) = (delta.dtype(), single(normalised.clone()));
                let g = self.weighted(single(delta));
                let along = (g.clone() * normalised.clone()).mean_dim(1);
                ((g.clone() - g.mean_dim(1) - normalised * along) * inverse_std.clone()).cast(dtype)
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
                let delta = single(delta);
                (self.sums(delta.clone() * single(normalised)), self.sums(delta))
            }
        };
        vec![Gradient::new(self.weight.id, weight), Gradient::new(self.bias.id, bias)]
    }
}

impl LayerNormTape {
    /// Of some of the layers that are side by side in it; `None` where there is one.
    pub(super) fn rows(&self, rows: &[usize], of: usize) -> Option<Self> {
        let Self::Tensors { normalised, inverse_std } = self else { return None };
        let [normalised, inverse_std] = [normalised, inverse_std].map(|x| tensor_rows(x, rows, of));
        Some(Self::Tensors { normalised, inverse_std })
    }
}

/// `(x - mean) / sigma` and `1 / sigma`.
fn normalise(x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let x = single(x);
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let inverse_std = (variance + EPSILON).sqrt().recip();
    (centred * inverse_std.clone(), inverse_std)
}
