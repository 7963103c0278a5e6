//! The gradients of one training step: a rank's micro-batches, one after the other or as a pipeline.

use std::sync::Arc;
use std::time::Instant;

use braidnet_mgrit::{NotFinite, SolveReport};
use braidnet_nn::Network;
use burn::tensor::{Int, Tensor};

use crate::data::Micro;
use crate::loss::{correct, correct_where, cross_entropy, masked_cross_entropy};
use crate::{GradientReducer, LayerParallel, MicroBatching, TrainError, pipeline};

type LossFn<T> = dyn Fn(Tensor<2>, &T) -> Tensor<1> + Send + Sync;
type CorrectFn<T> = dyn Fn(Tensor<2>, &T) -> usize + Send + Sync;
type CheckFn<T> = dyn Fn(&T, [usize; 2]) -> Result<(), String> + Send + Sync;
type ItemsFn<T> = dyn Fn(&T) -> usize + Send + Sync;
type ClassesFn<T> = dyn Fn(&T) -> Vec<usize> + Send + Sync;

/// What a network is trained for, with targets `T`.
pub struct Task<T> {
    /// Mean loss of a batch over its items, shape `[1]`, of the output `[rows, classes]` and the targets.
    pub loss: Arc<LossFn<T>>,
    /// How many items of a batch are right; `None` where that means nothing.
    pub correct: Option<Arc<CorrectFn<T>>>,
    /// How many items a batch has, where they are not its samples but, say, the words of its sentences. The mean loss
    /// of a global batch is that over all its items, however it is cut.
    pub items: Option<Arc<ItemsFn<T>>>,
    /// What is wrong with the targets of a batch whose output has so many rows and classes; `None`: they are not checked.
    pub check: Option<Arc<CheckFn<T>>>,
    /// The class of every sample, where there is one: [`InitialGuess::ClassMeans`](crate::InitialGuess::ClassMeans) asks for it.
    pub classes: Option<Arc<ClassesFn<T>>>,
}

impl<T> Clone for Task<T> {
    fn clone(&self) -> Self {
        Self {
            loss: self.loss.clone(),
            correct: self.correct.clone(),
            items: self.items.clone(),
            check: self.check.clone(),
            classes: self.classes.clone(),
        }
    }
}

impl Task<Tensor<1, Int>> {
    /// Cross entropy of class indices `[batch]`.
    pub fn classification() -> Self {
        Self {
            loss: Arc::new(|logits, target: &Tensor<1, Int>| cross_entropy(logits, target.clone())),
            correct: Some(Arc::new(|logits, target: &Tensor<1, Int>| correct(logits, target.clone()))),
            items: None,
            check: Some(Arc::new(|target: &Tensor<1, Int>, output| check_classes(target, output, None))),
            classes: Some(Arc::new(|target: &Tensor<1, Int>| {
                target.to_data().iter::<i64>().map(|class| usize::try_from(class).unwrap_or(0)).collect()
            })),
        }
    }

    /// Cross entropy of the classes of all positions of a batch of sequences, `[batch * length]`; those of class
    /// `pad` do not count.
    pub fn per_token(pad: Option<u32>) -> Self {
        let Some(pad) = pad.map(i64::from) else {
            return Self {
                items: Some(Arc::new(|target: &Tensor<1, Int>| target.dims()[0])),
                classes: None,
                ..Self::classification()
            };
        };
        Self {
            loss: Arc::new(move |logits, target: &Tensor<1, Int>| masked_cross_entropy(logits, target.clone(), pad)),
            correct: Some(Arc::new(move |logits, target: &Tensor<1, Int>| {
                correct_where(logits, target.clone(), target.clone().not_equal_elem(pad))
            })),
            items: Some(Arc::new(move |target: &Tensor<1, Int>| {
                target.to_data().iter::<i64>().filter(|class| *class != pad).count()
            })),
            check: Some(Arc::new(move |target: &Tensor<1, Int>, output| check_classes(target, output, Some(pad)))),
            classes: None,
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
    /// Sum of this shard's losses over all its items, over the samples of the global batch.
    pub loss: f64,
    /// Items of this shard.
    pub items: usize,
    /// Items that are right.
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

    pub(crate) fn add_loss(&mut self, loss: f64, items: usize) {
        self.loss += loss;
        self.items += items;
        self.bad_loss |= !loss.is_finite();
    }
}

impl<N: Network> LayerParallel<N> {
    /// Forms the gradients of this rank's shard and gives them to `reducer`, which is to be finished afterwards. Their sum over
    /// all shards is the gradient of the sum of all losses over the samples of the global batch: of the mean loss, where the
    /// task has one item per sample.
    ///
    /// `forwarded` is called as soon as the forward passes are done.
    ///
    /// # Errors
    /// A failed solve or message, or what `forwarded` returns.
    ///
    /// # Communication
    /// Every rank must call it. As [`LayerParallel::forward`] and [`Loss::backward_into`](crate::Loss::backward_into) per
    /// micro-batch; in a pipeline one message per micro-batch, rank border and direction, and one more forward where the
    /// size of a batch does not say it all. All-reduces over the data axis are started.
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
            reducer.next_micro_batch(is_last, micro.size as f64 / shard.global as f64);
            let items = task.n_items(micro.size, micro.target.as_ref());
            let weight = items as f64 / shard.global as f64;
            let forward = self.forward_of(micro, task)?;
            report.forwarded.note(forward.report.not_finite);
            let loss = forward.try_loss(|output| weighted(task, output, micro.target.as_ref(), weight))?;
            if let (Some(value), Some(output)) = (loss.value(), loss.output()) {
                report.forwarded.add_loss(value, items);
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

impl<T> Task<T> {
    /// Items in a micro-batch of `samples` samples.
    pub(crate) fn n_items(&self, samples: usize, target: Option<&T>) -> usize {
        self.items.as_ref().zip(target).map_or(samples, |(items, target)| items(target))
    }
}

/// That there is one class per row, each of them known, or `pad`.
fn check_classes(target: &Tensor<1, Int>, [rows, classes]: [usize; 2], pad: Option<i64>) -> Result<(), String> {
    let n = target.dims()[0];
    if n != rows {
        return Err(format!("{n} targets for {rows} rows of the output: give every row one"));
    }
    let is_known = |class: i64| Some(class) == pad || usize::try_from(class).is_ok_and(|class| class < classes);
    match target.to_data().iter::<i64>().enumerate().find(|(_, class)| !is_known(*class)) {
        Some((row, class)) => Err(format!("row {row} has class {class}, but classes are 0 to {}", classes.max(1) - 1)),
        None => Ok(()),
    }
}

/// The loss times `weight`. Where a rank that needs targets was given none, the loss is NaN, which is reported.
///
/// # Errors
/// [`TrainError::BadTarget`].
pub(crate) fn weighted<T>(
    task: &Task<T>,
    output: Tensor<2>,
    target: Option<&T>,
    weight: f64,
) -> Result<Tensor<1>, TrainError> {
    let Some(target) = target else { return Ok(output.sum() * f64::NAN) };
    if let Some(check) = &task.check {
        check(target, output.dims()).map_err(|reason| TrainError::BadTarget { reason })?;
    }
    let loss = (task.loss)(output, target);
    Ok(if weight == 1.0 { loss } else { loss * weight })
}

pub(crate) fn n_correct<T>(task: &Task<T>, output: &Tensor<2>, target: Option<&T>) -> usize {
    task.correct.as_ref().zip(target).map_or(0, |(correct, target)| correct(output.clone(), target))
}
