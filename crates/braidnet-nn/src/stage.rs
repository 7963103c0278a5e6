//! A convolution, the normalisation of its channels if there is one, and a ReLU: evaluated, linearised, pulled back.

use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::Gradients;
use crate::conv::{apply, apply_relu, apply_transposed, parameter_gradients, relu_pullback};
use crate::norm::{Norm, NormTape};

/// The parts of a stage, `relu(norm(conv(u)))`.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub conv: &'a Conv2d,
    pub norm: Option<&'a Norm>,
}

/// The linearisation of a stage.
#[derive(Debug, Clone)]
pub(crate) struct StageTape {
    conv: Conv2d,
    norm: Option<(Norm, NormTape<4>)>,
    input: Tensor<4>,
    output: Tensor<4>,
}

impl Stage<'_> {
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
            None => apply_relu(self.conv, u),
            Some(norm) => norm.apply(apply(self.conv, u), is_training),
        }
    }

    pub fn linearize(self, u: Tensor<4>) -> (Tensor<4>, StageTape) {
        let (output, norm) = match self.norm {
            None => (apply_relu(self.conv, u.clone()), None),
            Some(norm) => {
                let (output, tape) = norm.linearize(apply(self.conv, u.clone()));
                (output, Some((norm.clone(), tape)))
            }
        };
        (output.clone(), StageTape { conv: self.conv.clone(), norm, input: u, output })
    }
}

/// The derivatives by what a stage computes on its way, from which its gradients are formed.
pub(crate) struct StageDeltas {
    tape: StageTape,
    /// By the output before the ReLU.
    normed: Tensor<4>,
    /// By the convolution.
    convolved: Tensor<4>,
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

    /// The derivative by the input.
    pub fn pull_back(&self, delta: Tensor<4>) -> Tensor<4> {
        let (_, convolved) = self.to_convolution(delta);
        apply_transposed(&self.conv, convolved, self.input.dims())
    }

    /// As `pull_back`, where `wanted`, and what the gradients are formed from.
    pub fn pull_back_for_gradients(self, delta: Tensor<4>, wanted: bool) -> (Option<Tensor<4>>, StageDeltas) {
        let (normed, convolved) = self.to_convolution(delta);
        let back = wanted.then(|| apply_transposed(&self.conv, convolved.clone(), self.input.dims()));
        (back, StageDeltas { tape: self, normed, convolved })
    }
}

impl StageDeltas {
    /// Gradients of convolution and norm.
    pub fn gradients(self) -> Gradients {
        let Self { tape: StageTape { conv, norm, input, .. }, normed, convolved } = self;
        let mut all = parameter_gradients(&conv, input, convolved);
        if let Some((norm, tape)) = norm {
            all.extend(norm.gradients(tape, normed));
        }
        all
    }
}
