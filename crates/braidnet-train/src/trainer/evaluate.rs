//! How good the network is on samples that it does not learn from.

use braidnet_comm::ReduceOp;
use braidnet_nn::Network;

use super::{Samples, Trainer};
use crate::TrainError;
use crate::data::{EpochPlan, Loader, Order, Shards};
use crate::step::{n_correct, weighted};

/// Loss and accuracy over a set of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Mean loss.
    pub loss: f64,
    /// Part of the items (samples, or what the task says) that are right; none where the task does not say.
    pub accuracy: Option<f64>,
}

/// Which forward pass an evaluation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Layer by layer: what the network is.
    Exact,
    /// As the schedule of training.
    Scheduled,
}

impl<N: Network<Input: Send + 'static>, T: Send + 'static> Trainer<N, T> {
    /// Loss and accuracy by the exact forward pass; the same on every rank.
    ///
    /// # Errors
    /// If the samples cannot be read, a solve fails, or the device has no memory for it.
    ///
    /// # Communication
    /// Collective over the mesh: a solve per batch, and one all-reduce.
    pub fn evaluate(&mut self, samples: &Samples<N::Input, T>) -> Result<Score, TrainError> {
        self.within_memory(|trainer| trainer.evaluate_by(Pass::Exact, samples))
    }

    /// As [`Trainer::evaluate`], by the forward pass of the schedule: what training sees.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`].
    ///
    /// # Communication
    /// As [`Trainer::evaluate`].
    pub fn evaluate_scheduled(&mut self, samples: &Samples<N::Input, T>) -> Result<Score, TrainError> {
        self.within_memory(|trainer| trainer.evaluate_by(Pass::Scheduled, samples))
    }

    /// [`Trainer::evaluate`], then [`Trainer::evaluate_scheduled`]; once where the schedule's forward pass is the exact one.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`].
    ///
    /// # Communication
    /// As [`Trainer::evaluate`], for each of the two.
    pub fn evaluate_both(&mut self, samples: &Samples<N::Input, T>) -> Result<[Score; 2], TrainError> {
        let exact = self.evaluate(samples)?;
        let is_same = self.model.has_exact_forward();
        Ok([exact, if is_same { exact } else { self.evaluate_scheduled(samples)? }])
    }

    fn evaluate_by(&mut self, pass: Pass, samples: &Samples<N::Input, T>) -> Result<Score, TrainError> {
        let plan = EpochPlan {
            n: samples.n,
            shards: Shards { micro_batches: 1, ..self.shards() },
            order: Order::AsStored,
            position: 0,
        };
        // Sums of loss, of right items, and of items.
        let mut sums = [0.0; 3];
        for step in Loader::start(samples.inputs.as_ref(), samples.targets.as_ref(), plan)? {
            for micro in step?.micro {
                let output = match pass {
                    Pass::Exact => self.model.evaluate_exact(micro.size, micro.input.as_ref())?,
                    Pass::Scheduled => self.model.evaluate(micro.size, micro.input.as_ref())?,
                };
                if let Some(output) = output {
                    let target = micro.target.as_ref();
                    let items = self.task.n_items(micro.size, target) as f64;
                    sums[2] += items;
                    sums[1] += n_correct(&self.task, &output, target) as f64;
                    sums[0] += items * weighted(&self.task, output, target, 1.0)?.into_scalar::<f64>();
                }
            }
        }
        self.model.forget_exact();
        self.mesh.world().all_reduce(&mut sums, ReduceOp::Sum)?;
        let [loss, correct, _] = sums.map(|sum| sum / sums[2]);
        Ok(Score { loss, accuracy: self.task.correct.as_ref().map(|_| correct) })
    }

    /// How each global batch is cut.
    pub(super) fn shards(&self) -> Shards {
        Shards {
            batch: self.config.batch,
            micro_batches: self.config.micro_batches,
            data_ranks: self.mesh.shape().data_ranks,
            data_rank: self.mesh.data_rank(),
        }
    }
}
