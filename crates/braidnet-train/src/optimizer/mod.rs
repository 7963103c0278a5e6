//! Optimizers: burn's, one per rank, on the rank's own parameters.

mod config;
mod kept;
mod moments;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;

use braidnet_nn::{Gradients, Network, absorb_statistics, map_parameters};
use burn::tensor::Device;

use crate::{LayerParallel, TrainError};
pub use config::OptimizerConfig;
use config::check;
pub(crate) use kept::OptimizerState;
use moments::{Moments, Trained};

/// An optimizer of one rank's layers.
pub struct Optimizer {
    learning_rate: f64,
    /// `None`: as the device wants it.
    grouped: Option<bool>,
    moments: Moments,
}

impl Optimizer {
    /// An optimizer without state yet.
    ///
    /// # Errors
    /// [`TrainError::BadSetting`] for a learning rate, momentum or decay that is no usable number.
    pub fn new(config: OptimizerConfig, learning_rate: f64) -> Result<Self, TrainError> {
        check("learning rate", learning_rate, learning_rate > 0.0, "a finite number above 0")?;
        Ok(Self { learning_rate, grouped: None, moments: Moments::new(config.rule()?) })
    }

    /// Whether all parameters are put behind each other and updated in one call; else each is updated by itself. By default they
    /// are where the network is on another device than this processor (burn's `Flex`): there every operation costs a launch, however
    /// few the numbers. The updates, and what a checkpoint keeps of the optimizer, are the same.
    ///
    /// # Cost
    /// A call is 2 operations on tensors for plain SGD, 5 with momentum, some 15 for Adam and AdamW. One by one, that is for every
    /// parameter; together for all, or for every 2^24 numbers. On a GPU gradients are then copied to their places, some 30 in a launch,
    /// and parameters stay where they are from the first update on: they are views of one buffer. Elsewhere all are copied there
    /// and back. For as long as a call takes, its gradients are there twice.
    pub fn grouped(mut self, grouped: bool) -> Self {
        self.moments.spread();
        self.grouped = Some(grouped);
        self
    }

    /// Changes the learning rate of the steps to come.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }

    /// What the optimizer keeps per parameter.
    pub(crate) fn state(&self) -> Result<OptimizerState, TrainError> {
        Ok(self.moments.state())
    }

    /// Goes on from what was kept.
    ///
    /// # Errors
    /// [`TrainError::Record`] if it is not what this optimizer keeps.
    pub(crate) fn load_state(&mut self, state: OptimizerState) -> Result<(), TrainError> {
        self.moments.load(state)
    }

    /// Updates this rank's parameters of `model`, and lets its running statistics take up those of the step. A parameter without a
    /// gradient stays as it is, and so does what is kept of it.
    ///
    /// # Cost
    /// As [`Optimizer::grouped`] says. Where some that are updated together have no gradient that had one before, or have one again,
    /// what is kept of them goes to the processor and back once; from then on it takes several calls.
    pub fn step<N: Network>(&mut self, model: &mut LayerParallel<N>, gradients: Gradients) {
        let grouped = self.grouped.unwrap_or(model.device() != Device::flex());
        let (learning_rate, moments) = (self.learning_rate, &mut self.moments);
        model.update(|network| {
            let network = absorb_statistics(network, &gradients);
            let trained = with_gradients(&network, gradients);
            let mut updated = moments.update(learning_rate, trained, grouped);
            let Ok(network) = map_parameters(network, "", |p| Ok::<_, Infallible>(updated.remove(&p.id)));
            network
        });
    }
}

/// The parameters that have a gradient, in the order of the layers.
fn with_gradients<N: Network>(network: &N, gradients: Gradients) -> Vec<Trained> {
    let gradients = gradients.into_iter().filter(|g| !g.is_statistic).map(|g| (g.id, g.values));
    let mut gradients: HashMap<_, _> = gradients.collect();
    let mut trained = Vec::new();
    network.visit_parameters(|p| {
        if let Some(gradient) = gradients.remove(&p.id) {
            let dims = if p.transposed { p.shape.iter().rev().copied().collect() } else { p.shape.clone() };
            trained.push(Trained { id: p.id, dims, values: p.values, gradient });
        }
    });
    trained
}
