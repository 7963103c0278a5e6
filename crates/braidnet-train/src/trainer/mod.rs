//! Training as users of other frameworks know it: [`Trainer::fit`].

mod agree;
mod config;
mod control;
mod evaluate;
mod exchange;
mod fit;
mod plan;
pub(crate) mod probe;
mod record;
mod resume;
mod saving;
mod show;
mod stop;
mod trace;
mod update;

use braidnet_comm::Mesh;
use braidnet_mgrit::OnNonFinite;
use braidnet_nn::Network;
use serde_json::Value;

pub use config::{CheckpointConfig, OnNan, Resume, Show, TraceConfig, TrainerConfig};
pub use evaluate::Score;
pub use fit::{AfterEpoch, End, Outcome};
pub use plan::{Plan, RankPlan};

use crate::control::{Controller, Ladder};
use crate::data::Feed;
use crate::shortage::caught;
use crate::{CastState, GradientReducer, InitialGuess, LayerParallel, Optimizer, Schedule, Shortage, Task, TrainError};

/// Samples to train on or to be judged by, as one rank has them.
pub struct Samples<I, T> {
    /// How many there are, on every rank.
    pub n: usize,
    /// Inputs, on the first layer rank.
    pub inputs: Option<Feed<I>>,
    /// Targets, on the last layer rank.
    pub targets: Option<Feed<T>>,
}

/// Trains a network over a mesh of ranks, with progress, metrics, checkpoints and a controlled end.
pub struct Trainer<N: Network, T> {
    mesh: Mesh,
    model: LayerParallel<N>,
    schedule: Schedule,
    task: Task<T>,
    config: TrainerConfig,
    optimizer: Optimizer,
    controller: Controller,
    reducer: GradientReducer,
    /// What the network is, for checkpoints: one of another network is refused.
    description: Value,
    /// Bytes that the plan of a step says this rank needs, once there is one.
    predicted: Option<u64>,
    /// Whether the next step reads every state as it is computed: the first on a GPU, which lacks memory then if ever.
    looks_closely: bool,
}

impl<N: Network, T> Trainer<N, T> {
    /// A trainer of `model`, which is spread over the layer axis of `mesh` by `schedule`.
    ///
    /// `description` says what the network is (its serialised configuration, say); a checkpoint made with
    /// another one is refused.
    ///
    /// # Errors
    /// [`TrainError::Config`] with all problems of the configuration; [`TrainError::NoArithmetic`].
    ///
    /// # Communication
    /// Collective over the mesh.
    pub fn new(
        mesh: &Mesh,
        mut model: LayerParallel<N>,
        schedule: &Schedule,
        task: Task<T>,
        description: Value,
        config: TrainerConfig,
    ) -> Result<Self, TrainError>
    where
        N::State: CastState,
    {
        config.validate()?;
        if config.continuity.is_some_and(|gamma| gamma > 0.0) && model.network().shares_parameters() {
            return Err(TrainError::ContinuityOfOne);
        }
        if schedule.forward.guess == InitialGuess::ClassMeans && task.classes.is_none() {
            return Err(TrainError::NoClasses);
        }
        let optimizer = Optimizer::new(config.optimizer, config.learning_rate.rate)?;
        let reducer = GradientReducer::new(model.network(), schedule, mesh.data(), &model.device())?;
        let controller = Controller::new(config.control.clone(), Ladder::new(schedule))?;
        model.set_precision(config.precision)?;
        model.set_on_non_finite(OnNonFinite::Report);
        Ok(Self {
            mesh: mesh.clone(),
            model,
            schedule: schedule.clone(),
            task,
            config,
            optimizer,
            controller,
            reducer,
            description,
            predicted: None,
            looks_closely: false,
        })
    }

    /// What every rank will hold, send and evaluate in a step of a whole batch; the same on every rank.
    ///
    /// # Errors
    /// If a message fails.
    ///
    /// # Communication
    /// As [`Plan::new`].
    pub fn plan(&self) -> Result<Plan, TrainError> {
        let share = self.config.batch.div_ceil(self.mesh.shape().data_ranks);
        // As a share is cut: into no more parts than it has samples.
        let micro_batches = self.config.micro_batches.min(share);
        let sizes = (share.div_ceil(micro_batches), micro_batches);
        Plan::new(&self.mesh, &self.model, &self.schedule, self.config.optimizer, sizes)
    }

    /// What `work` yields, or that the device has no memory for it.
    fn within_memory<R>(&mut self, work: impl FnOnce(&mut Self) -> Result<R, TrainError>) -> Result<R, TrainError> {
        caught(|| work(self)).unwrap_or_else(|shortage| {
            let (device, predicted) = (format!("{:?}", self.model.device()), self.predicted);
            Err(TrainError::OutOfMemory { device, shortage: Box::new(Shortage { predicted, ..shortage }) })
        })
    }

    /// This rank's part of the network.
    pub fn model(&self) -> &LayerParallel<N> {
        &self.model
    }

    /// As [`Trainer::model`], for instance to evaluate it.
    pub fn model_mut(&mut self) -> &mut LayerParallel<N> {
        &mut self.model
    }

    /// The controller, with what it counted.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The ranks.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }
}
