//! A convolution, the normalisation of its channels if there is one, and a ReLU: evaluated, linearised, pulled back.

use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::Gradients;
use crate::conv::{apply, apply_relu, apply_transposed, parameter_gradients, relu_pullback};
use crate::gpu;
use crate::norm::{Norm, NormTape};
use crate::stack::{each_module, module_rows, split, tensor_rows};

/// The parts of a stage, `relu(norm(conv(u)))`.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub conv: &'a Conv2d,
    pub norm: Option<&'a Norm>,
    /// How many are stacked.
    pub layers: usize,
}

/// The linearisation of a stage.
#[derive(Debug, Clone)]
pub(crate) struct StageTape {
    layers: usize,
    conv: Conv2d,
    norm: Option<(Norm, NormTape<4>)>,
    input: Tensor<4>,
    output: Tensor<4>,
}

impl<'a> Stage<'a> {
    /// Of convolutions that have as many channels out as in: more weights are those of stacked layers.
    pub fn square(conv: &'a Conv2d, norm: &'a Option<Norm>) -> Self {
        let [outputs, inputs, ..] = conv.weight.dims();
        Self { conv, norm: norm.as_ref(), layers: outputs / inputs }
    }

    /// The stage by burn's modules alone, on plain tensors as on tensors that record.
    pub fn forward(self, u: Tensor<4>, is_training: bool) -> Tensor<4> {
        let v = self.conv.forward(u);
        match self.norm {
            None => relu(v),
            Some(norm) => norm.apply(v, is_training),
        }
    }

    pub fn evaluate(self, u: Tensor<4>, is_training: bool) -> Tensor<4> {
        match self.norm {
            None => apply_relu(self.conv, u, self.layers),
            Some(norm) => norm.apply(apply(self.conv, u, self.layers), is_training),
        }
    }

    pub fn linearize(self, u: Tensor<4>) -> (Tensor<4>, StageTape) {
        let (output, norm) = match self.norm {
            None => (apply_relu(self.conv, u.clone(), self.layers), None),
            Some(norm) => {
                let (output, tape) = norm.linearize(apply(self.conv, u.clone(), self.layers));
                (output, Some((norm.clone(), tape)))
            }
        };
        let (layers, conv) = (self.layers, self.conv.clone());
        (output.clone(), StageTape { layers, conv, norm, input: u, output })
    }
}

/// The derivatives by what a stage computes on its way, from which its gradients are formed.
pub(crate) struct StageDeltas {
    tape: StageTape,
    /// By the output before the ReLU.
    normed: Tensor<4>,
    /// By the convolution.
    convolved: Tensor<4>,
    /// Whether they are 0 where the ReLU is; else the gradients' kernels see to that.
    masked: bool,
}

impl StageTape {
    /// From the derivative by the output to those before the ReLU and by the convolution.
    fn to_convolution(&self, delta: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let normed = relu_pullback(delta, &self.output);
        let convolved = match &self.norm {
            None => normed.clone(),
            Some((norm, tape)) => norm.pull_back(tape, normed.clone()),
        };
        (normed, convolved)
    }

    /// Of some of the layers that are side by side in it.
    pub fn rows(&self, rows: &[usize], of: usize) -> Self {
        let norm = self.norm.as_ref().map(|(norm, tape)| (module_rows(norm, rows, of), tape.rows(rows, of)));
        let [input, output] = [&self.input, &self.output].map(|x| tensor_rows(x, rows, of));
        Self { layers: rows.len(), conv: module_rows(&self.conv, rows, of), norm, input, output }
    }

    /// [`StageTape::rows`] of each of them.
    pub fn each(&self, of: usize) -> Vec<Self> {
        let (norm, norm_tape) = self.norm.clone().unzip();
        let modules = each_module(&(self.conv.clone(), norm), of);
        let norm_tapes = norm_tape.map_or_else(Vec::new, |tape| tape.each(of));
        let mut norm_tapes = norm_tapes.into_iter();
        let [inputs, outputs] = [&self.input, &self.output].map(|x| split(x.clone(), of));
        let tape = |((conv, norm), (input, output)): ((Conv2d, Option<Norm>), _)| {
            let norm = norm.zip(norm_tapes.next());
            Self { layers: 1, conv, norm, input, output }
        };
        modules.into_iter().zip(inputs.into_iter().zip(outputs)).map(tape).collect()
    }

    /// The derivative by the input in one call, ReLU and all, where a kernel does that.
    fn pull_back_at_once(&self, delta: &Tensor<4>) -> Option<Tensor<4>> {
        let is_bare = self.norm.is_none();
        is_bare.then(|| gpu::convolve_transposed(&self.conv, delta, Some(&self.output), self.layers))?
    }

    /// The derivative by the input.
    pub fn pull_back(&self, delta: Tensor<4>) -> Tensor<4> {
        if let Some(back) = self.pull_back_at_once(&delta) {
            return back;
        }
        let (_, convolved) = self.to_convolution(delta);
        apply_transposed(&self.conv, convolved, self.input.dims(), self.layers)
    }

    /// As `pull_back`, where `wanted`, and what the gradients are formed from.
    pub fn pull_back_for_gradients(self, delta: Tensor<4>, wanted: bool) -> (Option<Tensor<4>>, StageDeltas) {
        if let Some(back) = wanted.then(|| self.pull_back_at_once(&delta)).flatten() {
            return (Some(back), StageDeltas { tape: self, normed: delta.clone(), convolved: delta, masked: false });
        }
        let (normed, convolved) = self.to_convolution(delta);
        let back = || apply_transposed(&self.conv, convolved.clone(), self.input.dims(), self.layers);
        let back = wanted.then(back);
        (back, StageDeltas { tape: self, normed, convolved, masked: true })
    }
}

impl StageDeltas {
    /// Gradients of convolution and norm.
    pub fn gradients(self) -> Gradients {
        let Self { tape: StageTape { layers, conv, norm, input, output }, normed, convolved, masked } = self;
        let relu_output = (!masked).then_some(&output);
        let mut all = parameter_gradients(&conv, input, convolved, relu_output, layers);
        if let Some((norm, tape)) = norm {
            all.extend(norm.gradients(tape, normed));
        }
        all
    }
}
