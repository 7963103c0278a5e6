//! Optimizers: burn's, one per rank, on the rank's own parameters.

use std::collections::HashMap;

use braidnet_nn::{Gradients, Network, absorb_statistics};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Tensor, TensorData};
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

impl OptimizerConfig {
    /// Which rule it is; its numbers aside.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sgd { .. } => "sgd",
            Self::Adam => "adam",
            Self::AdamW { .. } => "adam-w",
        }
    }

    /// How many numbers it keeps per parameter.
    pub(crate) fn n_moments(self) -> u64 {
        match self {
            Self::Sgd { momentum: 0.0 } => 0,
            Self::Sgd { .. } => 1,
            Self::Adam | Self::AdamW { .. } => 2,
        }
    }
}

/// What an optimizer keeps, named `{parameter id}.{field}`.
pub(crate) struct OptimizerState {
    pub tensors: Vec<(String, TensorData)>,
    pub scalars: Vec<(String, burn_pack::Scalar)>,
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

    /// Changes the learning rate of the steps to come.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }

    /// What the optimizer keeps per parameter.
    ///
    /// # Errors
    /// [`TrainError::Record`] if burn cannot write it.
    pub(crate) fn state(&self) -> Result<OptimizerState, TrainError> {
        let failed = |reason: &dyn std::fmt::Display| TrainError::Record { reason: reason.to_string() };
        // burn gives its record away as bytes only.
        let bytes = self.inner.into_bytes().map_err(|e| failed(&e))?;
        let reader = burn_pack::Reader::from_bytes(bytes).map_err(|e| failed(&e))?;
        let scalars = reader.scalars().iter().map(|(name, value)| (name.clone(), *value)).collect();
        let tensors = reader.into_tensors().map_err(|e| failed(&e))?;
        let tensors = tensors.into_iter().map(|tensor| {
            let (name, dtype, shape, _, bytes) = tensor.into_parts().map_err(|e| failed(&e))?;
            Ok((name, TensorData::from_bytes(bytes, shape, dtype)))
        });
        Ok(OptimizerState { tensors: tensors.collect::<Result<_, TrainError>>()?, scalars })
    }

    /// Goes on from what was kept.
    ///
    /// # Errors
    /// [`TrainError::Record`] if burn cannot read it.
    pub(crate) fn load_state(&mut self, state: OptimizerState) -> Result<(), TrainError> {
        let failed = |reason: &dyn std::fmt::Display| TrainError::Record { reason: reason.to_string() };
        let tensors = state.tensors.into_iter().map(|(name, data)| {
            let id = name.split('.').next().and_then(|id| id.parse().ok());
            let (bytes, shape, dtype) = data.into_parts();
            burn_pack::Tensor::new(name, dtype, shape, id, bytes)
        });
        let writer = burn_pack::Writer::new(tensors.collect());
        let writer = state.scalars.iter().fold(writer, |writer, (name, value)| writer.with_scalar(name, *value));
        let bytes = writer.into_bytes().map_err(|e| failed(&e))?;
        self.inner = self.inner.clone().from_bytes(bytes).map_err(|e| failed(&e))?;
        Ok(())
    }

    /// Updates this rank's parameters of `model`, and lets its running statistics take up those of the step.
    pub fn step<N: Network>(&mut self, model: &mut LayerParallel<N>, gradients: Gradients) {
        let (learning_rate, inner) = (self.learning_rate, &mut self.inner);
        model.update(|network| {
            let network = absorb_statistics(network, &gradients);
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
    let flat = gradients.into_iter().filter(|g| !g.is_statistic).map(|g| (g.id, g.values)).collect();
    let mut visitor = Shape { flat, shaped: GradientsParams::new() };
    module.visit(&mut visitor);
    visitor.shaped
}
