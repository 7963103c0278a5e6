//! A few steps of training on a device, and how far two runs are apart.

use std::collections::BTreeMap;

use braidnet::device::DeviceSpec;
use braidnet::nn::Gradients;
use braidnet::prelude::*;
use braidnet::train::Precision;

use crate::given::device;
use crate::kinds::{Kind, SAMPLES};

/// Steps of a run.
pub const STEPS: usize = 4;

/// How a run is done.
#[derive(Debug, Clone)]
pub struct Setting {
    pub device: DeviceSpec,
    pub schedule: Schedule,
    pub ranks: usize,
    /// Layers of several intervals side by side.
    pub stacked: bool,
    pub precision: Precision,
}

/// Parameters by name.
pub type Values = BTreeMap<String, Vec<f32>>;

/// What a run did.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The loss of every step.
    pub losses: Vec<f64>,
    /// Before the first step and behind every one.
    pub parameters: Vec<Values>,
}

/// Trains a network by gradient descent with momentum.
pub fn train<K: Kind>(kind: &K, setting: &Setting) -> Result<Trained, LaunchError> {
    let ranks = launch(&Launch::ranks(setting.ranks), |comm| on_rank(kind, setting, &comm))?;
    let mut all = Trained { losses: Vec::new(), parameters: vec![Values::new(); STEPS + 1] };
    for of_rank in ranks {
        all.losses.extend(of_rank.losses);
        for (all, own) in all.parameters.iter_mut().zip(of_rank.parameters) {
            all.extend(own);
        }
    }
    Ok(all)
}

/// This rank's part; losses on the last one.
fn on_rank<K: Kind>(kind: &K, setting: &Setting, comm: &Communicator) -> Result<Trained, TrainError> {
    let device = device(setting.device, comm.rank());
    let mut model = model(kind, setting, comm, &device)?;
    model.set_precision(setting.precision)?;
    let mut optimizer = Optimizer::new(OptimizerConfig::Sgd { momentum: 0.9 }, 0.05)?;
    let (mut losses, mut parameters) = (Vec::new(), vec![values(model.network())]);
    for n in 0..STEPS {
        let (loss, gradients) = gradients(kind, &mut model, n, &device)?;
        losses.extend(loss);
        optimizer.step(&mut model, gradients);
        parameters.push(values(model.network()));
    }
    Ok(Trained { losses, parameters })
}

/// This rank's part of the network.
pub fn model<K: Kind>(
    kind: &K,
    setting: &Setting,
    comm: &Communicator,
    device: &Device,
) -> Result<LayerParallel<K::Net>, TrainError> {
    let grid = kind.grid();
    let partition = Partition::even(grid.n_steps(), comm.size())?;
    let network = kind.part(partition.layers(comm.rank()), device).stacked(setting.stacked);
    LayerParallel::new(network, &grid, &partition, &setting.schedule, comm)
}

/// Loss, on the last rank, and gradients of batch `n`.
pub fn gradients<K: Kind>(
    kind: &K,
    model: &mut LayerParallel<K::Net>,
    n: usize,
    device: &Device,
) -> Result<(Option<f64>, Gradients), TrainError> {
    let (input, target) = kind.batch(n, device);
    let forward = model.forward(SAMPLES, Some(&input))?;
    let Backward { loss, gradients, .. } = forward.loss(|logits| cross_entropy(logits, target))?.backward()?;
    Ok((loss, gradients))
}

/// The parameters of a rank's part.
pub fn values<N: Network>(network: &N) -> Values {
    let mut all = Values::new();
    network.visit_parameters(|p| {
        all.insert(p.name, p.values.into_data().iter::<f32>().collect());
    });
    all
}

/// The largest relative distance of two runs' losses, a NaN if there is one.
pub fn between_losses(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let each = a.iter().zip(b).map(|(a, b)| (a - b).abs() / b.abs());
    each.fold(0.0, |most, distance| if distance <= most { most } else { distance })
}

/// The distance of two runs' parameters behind so many steps, relative to how far the second run has moved them.
pub fn between_parameters(a: &Trained, b: &Trained, steps: usize) -> f64 {
    distance(&a.parameters[steps], &b.parameters[steps]) / distance(&b.parameters[steps], &b.parameters[0])
}

/// The norm of the difference.
fn distance(a: &Values, b: &Values) -> f64 {
    assert!(a.keys().eq(b.keys()) && !a.is_empty(), "the same parameters");
    let pairs = a.values().flatten().zip(b.values().flatten());
    pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}
