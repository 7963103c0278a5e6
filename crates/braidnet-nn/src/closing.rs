//! Closing layers: from the last state to the output.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// `fc2(relu(fc1(flatten(u))))`.
#[derive(Module, Debug)]
pub struct Dense {
    fc1: Linear,
    fc2: Linear,
}

impl Dense {
    /// From `features` numbers per sample over `hidden` to `classes`, with burn's default initialisation.
    pub fn new(features: usize, hidden: usize, classes: usize, device: &Device) -> Self {
        Self {
            fc1: LinearConfig::new(features, hidden).init(device),
            fc2: LinearConfig::new(hidden, classes).init(device),
        }
    }

    /// From the last state `[batch, c, h, w]` to logits `[batch, classes]`.
    pub fn forward(&self, u: Tensor<4>) -> Tensor<2> {
        self.fc2.forward(relu(self.fc1.forward(u.flatten(1, 3))))
    }
}
