//! Steps and runs on meshes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use braidnet_comm::{Communicator, Degree, Mesh, MeshConfig, ReduceOp};
use braidnet_monitor::metrics::{Record, Step, read};
use braidnet_nn::OdeNet2d;
use braidnet_train::data::{EpochPlan, Loader, Order, Shards};
use braidnet_train::trainer::{Outcome, Show, Trainer};
use braidnet_train::{GradientReducer, Schedule, Shard, StepReport, Task, TrainError, TrainerConfig};
use burn::tensor::{Int, Tensor};

use super::compare::{Checked, Values, by_name, parameters, text};
use super::{LAYERS, Set, config, model};

pub type TestTrainer = Trainer<OdeNet2d, Tensor<1, Int>>;

/// Every mesh of all ranks, from one long layer axis to one long data axis.
pub fn meshes(world: &Communicator) -> Result<Vec<Mesh>, String> {
    let factors = (1..=world.size()).rev().filter(|layer| world.size().is_multiple_of(*layer));
    factors.map(|layer| mesh(world, layer)).collect()
}

/// The mesh with `layer_ranks` ranks on the layer axis.
pub fn mesh(world: &Communicator, layer_ranks: usize) -> Result<Mesh, String> {
    let config = MeshConfig { layer_ranks: Degree::Exactly(layer_ranks), data_ranks: Degree::Auto };
    Mesh::new(world, &config, LAYERS).map_err(text)
}

/// A training step whose gradients were formed and summed, but not used.
pub struct Stepped {
    /// The loss of the global batch.
    pub loss: f64,
    /// This rank's gradients.
    pub gradients: Values,
    pub report: StepReport,
}

/// One step of the network of [`LAYERS`] layers on a batch of `n` samples; `bucket` is the size of what the data axis sends at once.
pub fn step(
    mesh: &Mesh,
    schedule: &Schedule,
    (n, micro_batches): (usize, usize),
    bucket: Option<usize>,
) -> Result<Stepped, TrainError> {
    step_of(LAYERS, mesh, schedule, (n, micro_batches), bucket)
}

/// As [`step`], of a network of `layers` layers.
pub fn step_of(
    layers: usize,
    mesh: &Mesh,
    schedule: &Schedule,
    (n, micro_batches): (usize, usize),
    bucket: Option<usize>,
) -> Result<Stepped, TrainError> {
    let mut model = model(&config(layers), schedule, mesh.layer())?;
    let device = model.device();
    let mut reducer = match bucket {
        Some(bucket) => GradientReducer::with_bucket(model.network(), schedule, mesh.data(), &device, bucket)?,
        None => GradientReducer::new(model.network(), schedule, mesh.data(), &device)?,
    };
    let shape = mesh.shape();
    let shards = Shards { batch: n, micro_batches, data_ranks: shape.data_ranks, data_rank: mesh.data_rank() };
    let samples = Set::new(n).on(mesh);
    let plan = EpochPlan { n, shards, order: Order::AsStored, position: 0 };
    let mut loader = Loader::start(samples.inputs.as_ref(), samples.targets.as_ref(), plan)?;
    let loaded = loader.next().ok_or(TrainError::EmptyBatch)??;
    let shard = Shard { micro: &loaded.micro, global: loaded.global };
    let mut told = Vec::new();
    let mut tell = |forwarded: &braidnet_train::Forwarded| {
        told.push(forwarded.loss);
        Ok(())
    };
    let report = model.train_step(shard, &Task::classification(), &mut reducer, &mut tell)?;
    let gradients = by_name(model.network(), &reducer.finish()?);
    assert_eq!(told, [report.forwarded.loss], "told once, when all forward passes are done");
    let mut loss = [report.forwarded.loss];
    mesh.world().all_reduce(&mut loss, ReduceOp::Sum)?;
    Ok(Stepped { loss: loss[0], gradients, report })
}

/// A trainer of the small network.
pub fn trainer(mesh: &Mesh, schedule: &Schedule, training: TrainerConfig) -> Result<TestTrainer, TrainError> {
    trainer_for(mesh, schedule, training, Task::classification())
}

pub fn trainer_for(
    mesh: &Mesh,
    schedule: &Schedule,
    training: TrainerConfig,
    task: Task<Tensor<1, Int>>,
) -> Result<TestTrainer, TrainError> {
    let network = config(LAYERS);
    let model = model(&network, schedule, mesh.layer())?;
    let description = serde_json::json!({ "layers": network.layers, "channels": network.channels });
    Trainer::new(mesh, model, schedule, task, description, training)
}

/// Two epochs of three steps over twelve samples, the third step with two of them.
pub fn training(out: &Path) -> TrainerConfig {
    TrainerConfig { batch: 5, show: Show::Nothing, out: Some(out.to_owned()), ..TrainerConfig::new(2, 0.05) }
}

/// The samples for [`training`].
pub const SAMPLES: usize = 12;

/// What a whole run did.
pub struct Ran {
    pub outcome: Outcome,
    /// The records of its steps.
    pub steps: Vec<Step>,
    /// Loss and accuracy of its epochs, as recorded.
    pub epochs: Vec<[Option<f64>; 2]>,
    /// This rank's parameters at the end.
    pub parameters: Values,
}

impl Ran {
    pub fn losses(&self) -> Vec<Option<f64>> {
        self.steps.iter().map(|step| step.loss).collect()
    }
}

/// A run with a folder.
pub fn fit(mesh: &Mesh, schedule: &Schedule, training: &TrainerConfig, set: &Set) -> Result<Ran, TrainError> {
    fit_for(mesh, schedule, training, set, Task::classification())
}

pub fn fit_for(
    mesh: &Mesh,
    schedule: &Schedule,
    training: &TrainerConfig,
    set: &Set,
    task: Task<Tensor<1, Int>>,
) -> Result<Ran, TrainError> {
    let mut trainer = trainer_for(mesh, schedule, training.clone(), task)?;
    let outcome = trainer.fit(&set.on(mesh), None)?;
    // Rank 0 has written all records by then.
    mesh.world().barrier()?;
    let mut ran =
        Ran { outcome, steps: Vec::new(), epochs: Vec::new(), parameters: parameters(trainer.model().network()) };
    if let Some(out) = &training.out {
        (ran.steps, ran.epochs) = (steps(out)?, epochs(out)?);
    }
    Ok(ran)
}

/// The run that one rank does by itself; done once in a process, however many ranks and tests want it.
pub fn alone(schedule: &Schedule, training: impl Fn(&Path) -> TrainerConfig) -> Result<Arc<Ran>, String> {
    static DONE: Mutex<BTreeMap<String, Arc<Ran>>> = Mutex::new(BTreeMap::new());
    let key = format!("{schedule}, {:?}", training(Path::new("")));
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ran) = done.get(&key) {
        return Ok(ran.clone());
    }
    let folder = tempfile::tempdir().map_err(text)?;
    let ran = fit(&Mesh::alone(), schedule, &training(folder.path()), &Set::new(SAMPLES)).map_err(text)?;
    let ran = Arc::new(ran);
    done.insert(key, ran.clone());
    Ok(ran)
}

/// The steps in the records of a run.
pub fn steps(out: &Path) -> Result<Vec<Step>, TrainError> {
    let of = |record| if let Record::Step(step) = record { Some(step) } else { None };
    Ok(read(out.join("metrics.jsonl"))?.into_iter().filter_map(of).collect())
}

/// Loss and accuracy of the epochs in the records of a run.
pub fn epochs(out: &Path) -> Result<Vec<[Option<f64>; 2]>, TrainError> {
    let of = |record| if let Record::Epoch(epoch) = record { Some([epoch.loss, epoch.accuracy]) } else { None };
    Ok(read(out.join("metrics.jsonl"))?.into_iter().filter_map(of).collect())
}

/// Runs a body with a folder that all ranks see, removed afterwards.
pub fn with_folder(world: &Communicator, body: impl FnOnce(&Path) -> Checked) -> Checked {
    let own = if world.rank() == 0 { Some(tempfile::tempdir().map_err(text)?) } else { None };
    let path = own.as_ref().map(|folder| folder.path().display().to_string());
    let path = world.broadcast(0, path, &()).map_err(text)?;
    body(Path::new(&path))?;
    world.barrier().map_err(text)
}
