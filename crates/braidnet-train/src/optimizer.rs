//! Optimizers: burn's, one per rank, on the rank's own parameters.

use std::collections::HashMap;

use braidnet_nn::{Gradients, Network};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{LayerParallel, TrainError};

/// Which optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerConfig {
    /// Stochastic gradient descent.
    Sgd {
        /// Momentum, 0 for none.
        momentum: f64,
    },
    /// Adam with burn's default moments.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW {
        /// The decay.
        weight_decay: f64,
    },
}

/// An optimizer of one rank's layers.
pub struct Optimizer {
    learning_rate: f64,
    inner: ModuleOptimizer,
}

impl Optimizer {
    /// An optimizer without state yet.
    ///
    /// # Errors
    /// [`TrainError::BadSetting`] for a learning rate, momentum or decay that is no usable number.
    pub fn new(config: OptimizerConfig, learning_rate: f64) -> Result<Self, TrainError> {
        let check = |what, value: f64, fits: bool, remedy| match fits && value.is_finite() {
            true => Ok(()),
            false => Err(TrainError::BadSetting { what, value, remedy }),
        };
        check("learning rate", learning_rate, learning_rate > 0.0, "a finite number above 0")?;
        let inner = match config {
            OptimizerConfig::Sgd { momentum } => {
                check("momentum", momentum, (0.0..1.0).contains(&momentum), "a number in 0..1")?;
                // PyTorch's momentum has no dampening.
                let with = MomentumConfig { momentum, dampening: 0.0, nesterov: false };
                let momentum = (momentum > 0.0).then_some(with);
                SgdConfig::new().with_momentum(momentum).init()
            }
            OptimizerConfig::Adam => AdamConfig::new().init(),
            OptimizerConfig::AdamW { weight_decay } => {
                check("weight decay", weight_decay, weight_decay >= 0.0, "a finite number, at least 0")?;
                AdamWConfig::new().with_weight_decay(weight_decay as f32).init()
            }
        };
        Ok(Self { learning_rate, inner })
    }

    /// Updates this rank's parameters of `model`.
    pub fn step<N: Network>(&mut self, model: &mut LayerParallel<N>, gradients: Gradients) {
        let (learning_rate, inner) = (self.learning_rate, &mut self.inner);
        model.update(|network| {
            let gradients = by_parameter(&network, gradients);
            // burn's optimizers take modules that record; the layers themselves never do.
            inner.step(learning_rate, network.train(), gradients).valid()
        });
    }
}

/// Gives every gradient the shape of its parameter.
fn by_parameter<M: Module>(module: &M, gradients: Gradients) -> GradientsParams {
    struct Shape {
        flat: HashMap<ParamId, Tensor<1>>,
        shaped: GradientsParams,
    }
    impl ModuleVisitor for Shape {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(values) = self.flat.remove(&param.id) {
                self.shaped.register(param.id, values.reshape(param.val().dims()));
            }
        }
    }
    let flat = gradients.into_iter().map(|g| (g.id, g.values)).collect();
    let mut visitor = Shape { flat, shaped: GradientsParams::new() };
    module.visit(&mut visitor);
    visitor.shaped
}
