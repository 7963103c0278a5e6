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
    /// Whether it is no gradient but what a batch adds to a running statistic.
    pub is_statistic: bool,
}

impl Gradient {
    /// The gradient of parameter `id`, of any shape.
    pub fn new<const D: usize>(id: ParamId, gradient: Tensor<D>) -> Self {
        let n = gradient.shape().num_elements();
        Self { id, values: gradient.reshape([n]), is_statistic: false }
    }

    /// What a batch adds to the running statistic `id`.
    pub fn statistic(id: ParamId, values: Tensor<1>) -> Self {
        Self { id, values, is_statistic: true }
    }
}

/// Gradients of several parameters.
pub type Gradients = Vec<Gradient>;
