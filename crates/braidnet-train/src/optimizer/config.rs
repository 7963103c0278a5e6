//! Which optimizer, and burn's that it names.

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, DynOptimizer, SgdConfig};
use serde::{Deserialize, Serialize};

use crate::TrainError;

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

    /// burn's optimizer. Its rules are element-wise: what is updated in one call makes no difference.
    ///
    /// # Errors
    /// [`TrainError::BadSetting`] for a momentum or decay that is no usable number.
    pub(super) fn rule(self) -> Result<Box<dyn DynOptimizer>, TrainError> {
        Ok(match self {
            Self::Sgd { momentum } => {
                check("momentum", momentum, (0.0..1.0).contains(&momentum), "a number in 0..1")?;
                // PyTorch's momentum has no dampening.
                let with = MomentumConfig { momentum, dampening: 0.0, nesterov: false };
                let momentum = (momentum > 0.0).then_some(with);
                Box::new(SgdConfig::new().with_momentum(momentum).build())
            }
            Self::Adam => Box::new(AdamConfig::new().build()),
            Self::AdamW { weight_decay } => {
                check("weight decay", weight_decay, weight_decay >= 0.0, "a finite number, at least 0")?;
                Box::new(AdamWConfig::new().with_weight_decay(weight_decay as f32).build())
            }
        })
    }
}

/// That a setting fits and is finite.
pub(super) fn check(what: &'static str, value: f64, fits: bool, remedy: &'static str) -> Result<(), TrainError> {
    match fits && value.is_finite() {
        true => Ok(()),
        false => Err(TrainError::BadSetting { what, value, remedy }),
    }
}
