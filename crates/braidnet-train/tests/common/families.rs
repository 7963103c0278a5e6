//! Small networks of every kind, samples for them, and steps and runs that do not care which it is.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use braidnet_comm::{Communicator, Mesh, ReduceOp};
use braidnet_grid::{GridError, Partition, TimeGrid};
use braidnet_mgrit::State;
use braidnet_nn::transformer::{EncoderDecoder, EncoderDecoderConfig, SourceTarget, Transformer, TransformerConfig};
use braidnet_nn::{
    At, ClosingLayer, CoarseOperator, DepthInit, Network, NetworkError, Noise, OdeNet, OdeNet2d, OdeNet2dConfig,
    OpeningLayer, Pass,
};
use braidnet_nn::{RightHandSide, StateSpace};
use braidnet_train::data::{EpochPlan, Feed, InMemory, Loader, Order, Shards};
use braidnet_train::trainer::{Samples, Trainer};
use braidnet_train::{
    CastState, GradientReducer, LayerParallel, Schedule, Shard, StepReport, Task, TrainError, TrainerConfig, sum_copies,
};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_dataset::InMemDataset;

use super::compare::{Values, by_name, parameters, text};
use super::run::{Ran, epochs, steps};
use super::{classes, images};

/// Targets of all tests: class indices.
pub type Classes = Tensor<1, Int>;

/// A kind of network with all its sizes, and samples for it.
pub trait Family: Debug {
    type Input: Send + 'static;
    type Net: Network<Input = Self::Input, State: CastState>;
    type Sample: Clone + Debug + Send + Sync + 'static;

    /// The layers `range`, as the solver counts.
    fn part(&self, range: Range<usize>) -> Result<Self::Net, NetworkError>;
    fn grid(&self) -> Result<TimeGrid, GridError>;
    fn task(&self) -> Task<Classes>;
    /// Sample number `n`.
    fn sample(&self, n: usize) -> Self::Sample;
    fn inputs(samples: &[Self::Sample]) -> Self::Input;
    fn targets(samples: &[Self::Sample]) -> Classes;
    /// The output, layer by layer, without solver and ranks.
    fn plain_output(&self, input: &Self::Input) -> Result<Tensor<2>, String>;
    /// Whether what a sample gives depends on the others of its micro-batch.
    fn couples_samples(&self) -> bool {
        false
    }
}

/// The seed of all parameters.
pub const SEED: u64 = 3;
/// The longest coarse step, for initialisations that ask for it.
const RUN: usize = 4;

/// Tokens and their classes.
pub type Sentence = (Vec<i64>, Vec<i64>);

/// `n` numbers from 1 to below `below`: never the padding token.
pub fn words(n: usize, seed: usize, below: usize) -> Vec<i64> {
    (0..n).map(|i| 1 + ((5 * i * i + 3 * i + 7 * seed) % (below - 1)) as i64).collect()
}

/// The length of sample `n`: 1 to 7, unlike its neighbours'.
fn length(n: usize) -> usize {
    1 + 5 * n % 7
}

/// One row each, padded with 0 to the longest.
fn rows<'a>(all: impl Iterator<Item = &'a Vec<i64>> + Clone) -> Tensor<2, Int> {
    let (n, longest) = (all.clone().count(), all.clone().map(Vec::len).max().unwrap_or(0));
    let padded: Vec<i64> = all.flat_map(|row| (0..longest).map(|i| row.get(i).copied().unwrap_or(0))).collect();
    Tensor::from_data(TensorData::new(padded, [n, longest]), &Device::flex())
}

fn flat(rows: Tensor<2, Int>) -> Classes {
    classes(rows.to_data().iter::<i64>().collect())
}

fn plain_output<S, O, R, C>(net: &OdeNet<S, O, R, C>, dt: f64, input: &S::Input) -> Result<Tensor<2>, String>
where
    S: StateSpace,
    O: OpeningLayer<S>,
    R: RightHandSide<Space = S>,
    C: ClosingLayer<S>,
{
    let batch = net.space().batch(input, Pass::Evaluation);
    let mut u = net.opening.as_ref().ok_or("no opening layer")?.open(input, &batch);
    for (layer, rhs) in net.before.layers().chain(net.block.layers()).chain(net.after.layers()) {
        u.axpy(dt, &rhs.evaluate(u.clone(), At { layers: layer.into(), dt, batch: &batch }));
    }
    Ok(net.closing.as_ref().ok_or("no closing layer")?.close(&u, &batch))
}

impl Family for TransformerConfig {
    type Input = Tensor<2, Int>;
    type Net = Transformer;
    type Sample = Sentence;

    fn part(&self, range: Range<usize>) -> Result<Transformer, NetworkError> {
        self.init(range, RUN, SEED, &Device::flex())
    }

    fn grid(&self) -> Result<TimeGrid, GridError> {
        self.grid()
    }

    fn task(&self) -> Task<Classes> {
        Task::per_token(self.pad)
    }

    fn sample(&self, n: usize) -> Sentence {
        // All of one length where nothing says what padding is.
        let length = if self.pad.is_some() { length(n) } else { 6 };
        (words(length, n, self.vocabulary), words(length, 3 * n + 1, self.classes))
    }

    fn inputs(samples: &[Sentence]) -> Tensor<2, Int> {
        rows(samples.iter().map(|sample| &sample.0))
    }

    fn targets(samples: &[Sentence]) -> Classes {
        flat(rows(samples.iter().map(|sample| &sample.1)))
    }

    fn plain_output(&self, input: &Tensor<2, Int>) -> Result<Tensor<2>, String> {
        let net = self.part(0..self.layers - 2 * self.buffer).map_err(|e| e.to_string())?;
        plain_output(&net, self.final_time / self.layers as f64, input)
    }
}

impl Family for EncoderDecoderConfig {
    type Input = SourceTarget;
    type Net = EncoderDecoder;
    /// Source, target shifted by one, target.
    type Sample = [Vec<i64>; 3];

    fn part(&self, range: Range<usize>) -> Result<EncoderDecoder, NetworkError> {
        self.init(range, RUN, SEED, &Device::flex())
    }

    fn grid(&self) -> Result<TimeGrid, GridError> {
        self.grid()
    }

    fn task(&self) -> Task<Classes> {
        Task::per_token(self.pad)
    }

    fn sample(&self, n: usize) -> [Vec<i64>; 3] {
        let [sources, targets] = self.vocabularies;
        let target = words(length(2 * n + 1), 3 * n + 1, targets);
        let shifted = std::iter::once(1).chain(target[..target.len() - 1].iter().copied()).collect();
        [words(length(n), n, sources), shifted, target]
    }

    fn inputs(samples: &[[Vec<i64>; 3]]) -> SourceTarget {
        let [source, target] = [0, 1].map(|part| rows(samples.iter().map(|sample| &sample[part])));
        SourceTarget { source, target }
    }

    fn targets(samples: &[[Vec<i64>; 3]]) -> Classes {
        flat(rows(samples.iter().map(|sample| &sample[2])))
    }

    fn plain_output(&self, input: &SourceTarget) -> Result<Tensor<2>, String> {
        let layers: usize = self.layers.iter().sum();
        let net = self.part(0..layers - 2 * self.buffer).map_err(|e| e.to_string())?;
        plain_output(&net, self.final_time / layers as f64, input)
    }
}

impl Family for OdeNet2dConfig {
    type Input = Tensor<4>;
    type Net = OdeNet2d;
    type Sample = (Vec<f32>, i64);

    fn part(&self, range: Range<usize>) -> Result<OdeNet2d, NetworkError> {
        self.init(range, RUN, SEED, &Device::flex())
    }

    fn grid(&self) -> Result<TimeGrid, GridError> {
        self.grid()
    }

    fn task(&self) -> Task<Classes> {
        Task::classification()
    }

    fn sample(&self, n: usize) -> (Vec<f32>, i64) {
        ((0..36).map(|i| ((7 * i + 29 * n) as f32 * 0.37).sin()).collect(), (3 * n % 10) as i64)
    }

    fn inputs(samples: &[(Vec<f32>, i64)]) -> Tensor<4> {
        images(samples.iter().flat_map(|sample| sample.0.iter().copied()).collect())
    }

    fn targets(samples: &[(Vec<f32>, i64)]) -> Classes {
        classes(samples.iter().map(|sample| sample.1).collect())
    }

    fn plain_output(&self, input: &Tensor<4>) -> Result<Tensor<2>, String> {
        let net = self.part(0..self.layers - 2 * self.buffer).map_err(|e| e.to_string())?;
        plain_output(&net, self.final_time / self.layers as f64, input)
    }
}

// Coarse steps that may cross the borders of ranks, and layers that all differ.
const COARSE: CoarseOperator = CoarseOperator::FirstLayer;
const DEPTH_INIT: DepthInit = DepthInit::Independent;

/// An encoder with padding.
pub fn encoder(layers: usize) -> TransformerConfig {
    let (coarse, depth_init) = (COARSE, DEPTH_INIT);
    let encoder = TransformerConfig::encoder(layers, 8, 11, 5);
    TransformerConfig { heads: 2, d_ff: 12, max_length: 8, coarse, depth_init, ..encoder }
}

/// A causal decoder with padding.
pub fn decoder(layers: usize) -> TransformerConfig {
    let (coarse, depth_init) = (COARSE, DEPTH_INIT);
    let decoder = TransformerConfig::decoder(layers, 8, 9);
    TransformerConfig { heads: 2, pad: Some(0), max_length: 8, coarse, depth_init, ..decoder }
}

/// An encoder-decoder with as many layers in each half.
pub fn pair(layers: usize, split: bool) -> EncoderDecoderConfig {
    let (coarse, depth_init) = (COARSE, DEPTH_INIT);
    let pair = EncoderDecoderConfig::new(layers, 8, [11, 9]);
    EncoderDecoderConfig { heads: 2, max_lengths: [8, 8], split, coarse, depth_init, ..pair }
}

/// Samples `range` of a family, on the ranks that need them.
pub fn samples_of<F: Family>(family: &F, n: usize, mesh: &Mesh) -> Samples<F::Input, Classes> {
    samples_from::<F>((0..n).map(|n| family.sample(n)).collect(), mesh)
}

/// As [`samples_of`], of given samples.
pub fn samples_from<F: Family>(all: Vec<F::Sample>, mesh: &Mesh) -> Samples<F::Input, Classes> {
    let (first, last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
    let source = || InMemory(InMemDataset::new(all.clone()));
    let inputs = || Feed::new(source(), |samples: Vec<F::Sample>| F::inputs(&samples));
    let targets = || Feed::new(source(), |samples: Vec<F::Sample>| F::targets(&samples));
    Samples { n: all.len(), inputs: first.then(inputs), targets: last.then(targets) }
}

/// The network of a family over the ranks of a layer axis.
pub fn model_of<F: Family>(
    family: &F,
    schedule: &Schedule,
    comm: &Communicator,
) -> Result<LayerParallel<F::Net>, TrainError> {
    model_on(family, schedule, comm, &Partition::even(family.grid()?.n_steps(), comm.size())?)
}

/// As [`model_of`], with given layers on every rank.
pub fn model_on<F: Family>(
    family: &F,
    schedule: &Schedule,
    comm: &Communicator,
    partition: &Partition,
) -> Result<LayerParallel<F::Net>, TrainError> {
    let network = family.part(partition.layers(comm.rank()))?;
    LayerParallel::new(network, &family.grid()?, partition, schedule, comm)
}

/// The gradients of one step.
pub struct Gradient {
    /// The mean loss of all items of the batch.
    pub loss: f64,
    /// This rank's gradients of the sum of all losses over the number of samples.
    pub gradients: Values,
    pub report: StepReport,
}

/// The gradients of one step of `model` on the first `n` samples of its family; every rank of `mesh` must call it.
pub fn gradient_of<F: Family>(
    model: &mut LayerParallel<F::Net>,
    family: &F,
    mesh: &Mesh,
    schedule: &Schedule,
    (n, micro_batches): (usize, usize),
) -> Result<Gradient, TrainError> {
    let device = model.device();
    let mut reducer = GradientReducer::new(model.network(), schedule, mesh.data(), &device)?;
    let shape = mesh.shape();
    let shards = Shards { batch: n, micro_batches, data_ranks: shape.data_ranks, data_rank: mesh.data_rank() };
    let samples = samples_of(family, n, mesh);
    let plan = EpochPlan { n, shards, order: Order::AsStored, position: 0 };
    let mut loader = Loader::start(samples.inputs.as_ref(), samples.targets.as_ref(), plan)?;
    let loaded = loader.next().ok_or(TrainError::EmptyBatch)??;
    let shard = Shard { micro: &loaded.micro, global: loaded.global };
    let report = model.train_step(shard, &family.task(), &mut reducer, &mut |_| Ok(()))?;
    let mut gradients = reducer.finish()?;
    sum_copies(model.network(), model.comm(), &mut gradients)?;
    let mut sums = [report.forwarded.loss * loaded.global as f64, report.forwarded.items as f64];
    mesh.world().all_reduce(&mut sums, ReduceOp::Sum)?;
    Ok(Gradient { loss: sums[0] / sums[1], gradients: by_name(model.network(), &gradients), report })
}

/// As [`gradient_of`], of a new network.
pub fn fresh_gradient<F: Family>(
    family: &F,
    mesh: &Mesh,
    schedule: &Schedule,
    cut: (usize, usize),
    noise: Option<Noise>,
) -> Result<Gradient, TrainError> {
    let mut model = model_of(family, schedule, mesh.layer())?;
    model.set_noise(noise);
    gradient_of(&mut model, family, mesh, schedule, cut)
}

/// A trainer of a family's network.
pub fn trainer_of<F: Family>(
    family: &F,
    mesh: &Mesh,
    schedule: &Schedule,
    training: &TrainerConfig,
) -> Result<Trainer<F::Net, Classes>, TrainError> {
    let model = model_of(family, schedule, mesh.layer())?;
    let description = serde_json::json!({ "network": format!("{family:?}") });
    Trainer::new(mesh, model, schedule, family.task(), description, training.clone())
}

/// A run over the first `n` samples, with its records if it has a folder.
pub fn fit_of<F: Family>(
    family: &F,
    mesh: &Mesh,
    schedule: &Schedule,
    training: &TrainerConfig,
    n: usize,
) -> Result<Ran, TrainError> {
    let mut trainer = trainer_of(family, mesh, schedule, training)?;
    let outcome = trainer.fit(&samples_of(family, n, mesh), None)?;
    // Rank 0 has written all records by then.
    mesh.world().barrier()?;
    let of = |out: &Path| Ok::<_, TrainError>((steps(out)?, epochs(out)?));
    let (steps, epochs) = training.out.as_deref().map(of).transpose()?.unwrap_or_default();
    Ok(Ran { outcome, steps, epochs, parameters: parameters(trainer.model().network()) })
}

/// As [`fit_of`], by one rank alone.
pub fn alone_of<F: Family>(
    family: &F,
    schedule: &Schedule,
    training: impl Fn(&Path) -> TrainerConfig,
    n: usize,
) -> Result<Arc<Ran>, String> {
    once(format!("{family:?}, {schedule}, {:?}, {n}", training(Path::new(""))), || {
        let folder = tempfile::tempdir().map_err(text)?;
        fit_of(family, &Mesh::alone(), schedule, &training(folder.path()), n).map_err(text)
    })
}

/// What `make` makes; done once in a process, however many ranks and tests want it.
pub fn once<T: Any + Send + Sync>(key: String, make: impl FnOnce() -> Result<T, String>) -> Result<Arc<T>, String> {
    static DONE: Mutex<BTreeMap<String, Arc<dyn Any + Send + Sync>>> = Mutex::new(BTreeMap::new());
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = done.get(&key) {
        return found.clone().downcast().map_err(|_| format!("{key} is two things"));
    }
    let made = Arc::new(make()?);
    done.insert(key, made.clone());
    Ok(made)
}
