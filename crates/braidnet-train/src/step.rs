//! The gradients of one training step: a rank's micro-batches, one after the other or as a pipeline.

use std::sync::Arc;
use std::time::Instant;

use braidnet_mgrit::{NotFinite, SolveReport};
use braidnet_nn::Network;
use burn::tensor::{Int, Tensor};

use crate::data::Micro;
use crate::{GradientReducer, LayerParallel, MicroBatching, TrainError, correct, cross_entropy, pipeline};

type LossFn<T> = dyn Fn(Tensor<2>, &T) -> Tensor<1> + Send + Sync;
type CorrectFn<T> = dyn Fn(Tensor<2>, &T) -> usize + Send + Sync;

/// What a network is trained for, with targets `T`.
pub struct Task<T> {
    /// Mean loss of a batch, shape `[1]`, of the output `[batch, ...]` and the targets.
    pub loss: Arc<LossFn<T>>,
    /// How many samples of a batch are right; `None` where that means nothing.
    pub correct: Option<Arc<CorrectFn<T>>>,
}

impl<T> Clone for Task<T> {
    fn clone(&self) -> Self {
        Self { loss: self.loss.clone(), correct: self.correct.clone() }
    }
}

impl Task<Tensor<1, Int>> {
    /// Cross entropy of class indices `[batch]`.
    pub fn classification() -> Self {
        Self {
            loss: Arc::new(|logits, target: &Tensor<1, Int>| cross_entropy(logits, target.clone())),
            correct: Some(Arc::new(|logits, target: &Tensor<1, Int>| correct(logits, target.clone()))),
        }
    }
}

/// One rank's part of a global batch.
pub struct Shard<'a, I, T> {
    /// Its micro-batches, none of them empty.
    pub micro: &'a [Micro<I, T>],
    /// Samples of the global batch, over all ranks of the data axis.
    pub global: usize,
}

/// What is known of a step once its forward passes are done. Sums over this rank's micro-batches; loss and score are
/// known on the last layer rank and 0 elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forwarded {
    /// This shard's part of the mean loss of the global batch.
    pub loss: f64,
    /// Samples that are right.
    pub correct: usize,
    /// The first layer of this rank whose output is not finite.
    pub not_finite: Option<NotFinite>,
    /// Whether the loss is not finite.
    pub bad_loss: bool,
}

/// How the solves of a step went on this rank; those of the last micro-batch where there are several.
#[derive(Debug, Clone, Default)]
pub struct StepReport {
    /// What the forward passes found.
    pub forwarded: Forwarded,
    /// The forward solve; none in a pipeline or of an empty shard.
    pub forward: Option<SolveReport>,
    /// The adjoint solve, likewise.
    pub backward: Option<SolveReport>,
    /// A layer of this rank behind which the adjoint of some micro-batch is not finite.
    pub bad_adjoint: Option<usize>,
    /// Seconds in all.
    pub seconds: f64,
    /// Of them, seconds spent waiting for other layer ranks.
    pub seconds_waiting: f64,
}

impl Forwarded {
    pub(crate) fn note(&mut self, not_finite: Option<NotFinite>) {
        self.not_finite = self.not_finite.or(not_finite);
    }

    pub(crate) fn add_loss(&mut self, loss: f64) {
        self.loss += loss;
        self.bad_loss |= !loss.is_finite();
    }
}

impl<N: Network> LayerParallel<N> {
    /// Forms the gradients of this rank's shard and gives them to `reducer`, which is to be finished afterwards. They
    /// are weighted so that the sum over all shards is the gradient of the mean loss of the global batch.
    ///
    /// `forwarded` is called as soon as the forward passes are done.
    ///
    /// # Errors
    /// A failed solve or message, or what `forwarded` returns.
    ///
    /// # Communication
    /// Every rank must call it. As [`braidnet_mgrit::Mgrit::solve`] per micro-batch; in a pipeline one message per
    /// micro-batch, rank border and direction; all-reduces over the data axis are started.
    ///
    /// # Cost
    /// Of the schedule, per micro-batch.
    pub fn train_step<T>(
        &mut self,
        shard: Shard<'_, N::Input, T>,
        task: &Task<T>,
        reducer: &mut GradientReducer,
        forwarded: &mut dyn FnMut(&Forwarded) -> Result<(), TrainError>,
    ) -> Result<StepReport, TrainError> {
        let start = Instant::now();
        reducer.begin();
        let mut report = match self.micro_batching {
            _ if shard.micro.is_empty() => {
                forwarded(&Forwarded::default())?;
                StepReport::default()
            }
            MicroBatching::InTurn => self.in_turn(&shard, task, reducer, forwarded)?,
            MicroBatching::Pipelined => pipeline::run(self, &shard, task, reducer, forwarded)?,
        };
        report.seconds = start.elapsed().as_secs_f64();
        Ok(report)
    }

    fn in_turn<T>(
        &mut self,
        shard: &Shard<'_, N::Input, T>,
        task: &Task<T>,
        reducer: &mut GradientReducer,
        forwarded: &mut dyn FnMut(&Forwarded) -> Result<(), TrainError>,
    ) -> Result<StepReport, TrainError> {
        let mut report = StepReport::default();
        for (n, micro) in shard.micro.iter().enumerate() {
            let is_last = n + 1 == shard.micro.len();
            reducer.next_micro_batch(is_last);
            let weight = micro.size as f64 / shard.global as f64;
            let forward = self.forward(micro.size, micro.input.as_ref())?;
            report.forwarded.note(forward.report.not_finite);
            let loss = forward.loss(|output| weighted(task, output, micro.target.as_ref(), weight))?;
            if let (Some(value), Some(output)) = (loss.value(), loss.output()) {
                report.forwarded.add_loss(value);
                report.forwarded.correct += n_correct(task, output, micro.target.as_ref());
            }
            if is_last {
                forwarded(&report.forwarded)?;
            }
            let (forward, backward) = loss.backward_into(|gradients| reducer.push(gradients))?;
            report.seconds_waiting += forward.seconds_waiting + backward.seconds_waiting;
            report.bad_adjoint = report.bad_adjoint.or(backward.not_finite.map(|found| found.layer));
            (report.forward, report.backward) = (Some(forward), Some(backward));
        }
        Ok(report)
    }
}

/// The loss times `weight`. Where a rank that needs targets was given none, the loss is NaN, which is reported.
pub(crate) fn weighted<T>(task: &Task<T>, output: Tensor<2>, target: Option<&T>, weight: f64) -> Tensor<1> {
    let Some(target) = target else { return output.sum() * f64::NAN };
    let loss = (task.loss)(output, target);
    if weight == 1.0 { loss } else { loss * weight }
}

pub(crate) fn n_correct<T>(task: &Task<T>, output: &Tensor<2>, target: Option<&T>) -> usize {
    task.correct.as_ref().zip(target).map_or(0, |(correct, target)| correct(output.clone(), target))
}
