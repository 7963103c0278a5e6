//! The MLP of a transformer layer.

use braidnet_kernels::Activation;
use braidnet_mgrit::Output;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::activate::{activate, activate_with_derivative};
use crate::Gradients;
use crate::linear::{self, linear};
use crate::stack::tensor_rows;

/// `fc2(activation(fc1(x)))` of every row.
#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

/// What the linearisation keeps.
pub(super) struct MlpTape {
    x: Tensor<2>,
    hidden: Tensor<2>,
    /// Derivatives of the activation.
    slope: Tensor<2>,
}

/// Cotangents of what the dense layers return.
pub(super) struct MlpDeltas {
    fc1: Tensor<2>,
    fc2: Tensor<2>,
}

impl Mlp {
    /// With `hidden` features between the dense layers.
    pub fn new(d_model: usize, hidden: usize, activation: Activation, device: &Device) -> Self {
        Self { fc1: linear(d_model, hidden, device), fc2: linear(hidden, d_model, device), activation }
    }

    /// Features between the dense layers.
    pub(super) fn hidden(&self) -> usize {
        self.fc1.weight.dims()[1]
    }

    pub(super) fn activation(&self) -> Activation {
        self.activation
    }

    pub(super) fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        linear::apply(&self.fc2, activate(self.activation, linear::apply(&self.fc1, x)))
    }

    /// The result only where it is used.
    pub(super) fn linearize(&self, x: Tensor<2>, output: Output) -> (Option<Tensor<2>>, MlpTape) {
        let (hidden, slope) = activate_with_derivative(self.activation, linear::apply(&self.fc1, x.clone()));
        let y = (output == Output::Used).then(|| linear::apply(&self.fc2, hidden.clone()));
        (y, MlpTape { x, hidden, slope })
    }

    pub(super) fn pull_back(&self, tape: &MlpTape, delta: Tensor<2>) -> (Tensor<2>, MlpDeltas) {
        let layers = linear::n_layers(&self.fc1, &tape.x);
        let hidden = linear::pull_back(&self.fc2, delta.clone(), layers) * tape.slope.clone();
        (linear::pull_back(&self.fc1, hidden.clone(), layers), MlpDeltas { fc1: hidden, fc2: delta })
    }

    /// Of some of the layers that are side by side in `tape`.
    pub(super) fn tape_rows(tape: &MlpTape, rows: &[usize], of: usize) -> MlpTape {
        let MlpTape { x, hidden, slope } = tape;
        let [x, hidden, slope] = [x, hidden, slope].map(|x| tensor_rows(x, rows, of));
        MlpTape { x, hidden, slope }
    }

    pub(super) fn gradients(&self, tape: MlpTape, deltas: MlpDeltas) -> Gradients {
        let mut gradients = linear::gradients(&self.fc1, tape.x, deltas.fc1);
        gradients.extend(linear::gradients(&self.fc2, tape.hidden, deltas.fc2));
        gradients
    }
}
