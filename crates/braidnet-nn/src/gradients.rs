//! Gradients of parameters.

use burn::module::ParamId;
use burn::tensor::Tensor;

/// Gradient of one parameter, flat, shape `[elements]`.
///
/// Averaging, clipping and comparing need no shape; the optimizer restores it from the parameter.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// The parameter.
    pub id: ParamId,
    /// Its gradient.
    pub values: Tensor<1>,
}

impl Gradient {
    /// The gradient of parameter `id`, of any shape.
    pub fn new<const D: usize>(id: ParamId, gradient: Tensor<D>) -> Self {
        let n = gradient.shape().num_elements();
        Self { id, values: gradient.reshape([n]) }
    }
}

/// Gradients of several parameters.
pub type Gradients = Vec<Gradient>;
