//! What can go wrong in training.

use std::path::PathBuf;

use braidnet_checkpoint::CheckpointError;
use braidnet_comm::{CommError, MeshError};
use braidnet_grid::GridError;
use braidnet_mgrit::{MgritError, StepError};
use braidnet_monitor::MonitorError;
use braidnet_nn::NetworkError;

use crate::control::ControlError;
use crate::data::LoadError;
use crate::shortage::mib;
use crate::{Precision, ScheduleError, Shortage};

/// An error of training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A message failed, or another rank did.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// The ranks cannot be arranged as asked for.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// A grid or partition is invalid.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// A solve failed.
    #[error(transparent)]
    Solve(#[from] MgritError),
    /// The network is invalid.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The controller cannot be made, or cannot go on from a checkpoint.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The schedule is invalid.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The first rank was given no input.
    #[error("rank {rank} has the opening layer but was given no input: pass the batch on the first layer rank")]
    NoInput {
        /// The rank.
        rank: usize,
    },
    /// A device that does not compute in a type.
    #[error("{device} has no arithmetic in {precision}: use another precision, or another device")]
    NoArithmetic {
        /// The device.
        device: String,
        /// The precision asked for.
        precision: Precision,
    },
    /// A device without memory for what a step asks of it.
    #[error("{device} has no memory for {shortage}")]
    OutOfMemory {
        /// The device.
        device: String,
        /// What it was asked for, where, and what to do.
        shortage: Box<Shortage>,
    },
    /// A network that a device cannot hold, whatever the schedule.
    #[error(
        "this rank's parameters and their moments take {}, its device has {}: use more --layer-ranks", mib(*.needs), mib(*.has)
    )]
    DoesNotFit {
        /// Bytes of them.
        needs: u64,
        /// Bytes of the device.
        has: u64,
    },
    /// The derivatives of the opening layer.
    #[error("the opening layer cannot be pulled back: {0}")]
    Opening(#[source] StepError),
    /// The derivatives of the closing layer.
    #[error("the closing layer cannot be pulled back: {0}")]
    Closing(#[source] StepError),
    /// Targets that do not fit the output.
    #[error("the targets of a batch do not fit: {reason}")]
    BadTarget {
        /// What is wrong, and where.
        reason: String,
    },
    /// A penalty on jumps between layers that are one.
    #[error("a penalty on jumps between layers has no meaning where all layers share their parameters: leave it out")]
    ContinuityOfOne,
    /// Newton's method for a network that does not offer what it needs.
    #[error(
        "Newton's method needs the diagonals of the layers' Jacobians, which this network does not offer: use multigrid"
    )]
    NoDiagonals,
    /// Class means as a guess of a network whose states have no samples.
    #[error(
        "the states of this network have no part per sample, which mean states of classes need: guess zero or carried"
    )]
    NoSamples,
    /// Class means as a guess where samples have no class.
    #[error(
        "the task says no class of a sample, which mean states of classes need: set Task::classes, or guess zero or carried"
    )]
    NoClasses,
    /// Classes for another number of samples.
    #[error("{classes} classes for a batch of {samples} samples: say that of each")]
    WrongClasses {
        /// Classes.
        classes: usize,
        /// Samples.
        samples: usize,
    },
    /// A guess of another size than the state it is of.
    #[error(
        "the guess at point {point} has {got} bytes, the state there {expected}: give it the state's shape and type"
    )]
    WrongGuess {
        /// The point.
        point: usize,
        /// Bytes of the guess as it travels.
        got: usize,
        /// Of the state.
        expected: usize,
    },
    /// A network whose output reads the states behind all layers, with a schedule that does not keep them.
    #[error("the network's output reads the states behind all layers, but {reason}")]
    ReadsAllStates {
        /// Why it cannot, and what to do.
        reason: &'static str,
    },
    /// A batch without samples.
    #[error("a batch of 0 samples: use at least 1")]
    EmptyBatch,
    /// A loss that is no finite number.
    #[error("the loss is {loss}: lower the learning rate, or check the input")]
    LossNotFinite {
        /// The loss.
        loss: f64,
    },
    /// The state of an optimizer that burn cannot write or read.
    #[error("the state of the optimizer cannot be stored or restored: {reason}")]
    Record {
        /// burn's reason.
        reason: String,
    },
    /// A checkpoint that cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A parameter in a checkpoint that the network does not have in this form.
    #[error("checkpoint {}: {source}", .folder.display())]
    Restore {
        /// The checkpoint.
        folder: PathBuf,
        /// Which parameter, and why.
        source: NetworkError,
    },
    /// Settings of a run that make no sense; all at once.
    #[error("invalid training settings: {}", .problems.join("; "))]
    Config {
        /// One sentence per problem.
        problems: Vec<String>,
    },
    /// Data that cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Metrics or a timeline that cannot be written.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// A loss, state or gradient that is not finite.
    #[error(
        "step {step}, epoch {epoch}: {what} is not finite; lower the learning rate, check the input, or skip such steps{from}"
    )]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// The epoch, from 0.
        epoch: u64,
        /// What, and of which layer.
        what: String,
        /// The checkpoint to go back to, if there is one.
        from: String,
    },
    /// A parameter or moment that must not get into a checkpoint.
    #[error(
        "{name} is not finite, so no checkpoint is made of it; the ones before are untouched: lower the learning rate"
    )]
    NotFiniteToSave {
        /// Its global name.
        name: String,
    },
    /// No checkpoint where one was asked for.
    #[error("{} has no checkpoint: give the folder of a checkpoint or of a run's checkpoints", .path.display())]
    NoCheckpoint {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A new run in the folder of another.
    #[error("{} has checkpoints already: resume from them, or choose another folder", .path.display())]
    OutInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A run that goes on from an older checkpoint than its folder has.
    #[error(
        "{} is of a later step than {step}, from which the run is to go on, and is never overwritten: move it away, or choose another folder for the run", .path.display()
    )]
    LaterCheckpoint {
        /// The later checkpoint.
        path: PathBuf,
        /// The step to go on from.
        step: u64,
    },
    /// A checkpoint of a run with another seed, batch or optimizer, or other data.
    #[error("checkpoint {}: its {what} is {saved}, this run's is {now}: use the same to go on from it", .folder.display())]
    OtherRun {
        /// The checkpoint.
        folder: PathBuf,
        /// What differs.
        what: &'static str,
        /// Of the checkpoint.
        saved: String,
        /// Of this run.
        now: String,
    },
    /// A folder of the run that cannot be written to.
    #[error("cannot write {}: {source}: check the path, its permissions and the free space", .path.display())]
    Folder {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Handlers of signals cannot be set.
    #[error("cannot watch for signals: {0}")]
    Signals(std::io::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread that writes checkpoints: {0}")]
    Thread(std::io::Error),
    /// The thread that writes checkpoints panicked.
    #[error("writing a checkpoint panicked; its message is above")]
    SaverPanicked,
    /// The ranks did not exchange what they know of a step: a bug, reported instead of a panic.
    #[error("a step ended without the exchange of its loss")]
    NoAgreement,
    /// A learning-rate schedule that burn refuses.
    #[error("the learning-rate schedule is invalid: {reason}")]
    LearningRate {
        /// burn's reason.
        reason: String,
    },
    /// An optimizer setting that is no usable number.
    #[error("the {what} is {value}: use {remedy}")]
    BadSetting {
        /// Name of the setting.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What to use.
        remedy: &'static str,
    },
}
