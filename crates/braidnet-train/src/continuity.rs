//! A penalty on parameters that jump from layer to layer.

use std::collections::{BTreeMap, HashMap};

use braidnet_comm::{Communicator, Tag};
use braidnet_nn::{Gradients, Network};
use burn::module::ParamId;
use burn::tensor::{Tensor, TensorData};

use crate::{LayerParallel, TrainError};

/// Apart from the tags of solver, pipeline, copies of parameters and states read.
const UP: Tag = 1020;
const DOWN: Tag = 1021;

/// `gamma / (2 dt) sum_n ||theta_(n+1) - theta_n||^2` over the ODE layers: the discrete form of `gamma / 2` times the
/// integral of `||d theta / dt||^2`. Layers of different kinds share the parameters of equal name and shape.
///
/// Reference: Guenther et al., Layer-parallel training of deep residual neural networks, SIMODS 2020.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Continuity {
    /// Weight `gamma` of the penalty.
    pub gamma: f64,
    /// Length of a layer's step.
    pub dt: f64,
}

/// The parameters of one layer by name within it.
type Layer = BTreeMap<String, (ParamId, Vec<usize>, Tensor<1>)>;

impl Continuity {
    /// The penalty, this rank's part of it (the pairs whose first layer it has), and its gradient added to `gradients`, which are
    /// to be complete: summed over micro-batches and data ranks.
    ///
    /// # Errors
    /// If a message fails.
    ///
    /// # Communication
    /// Neighbours on the layer axis send each other the parameters of the layers at their border.
    pub fn add<N: Network>(&self, model: &LayerParallel<N>, gradients: &mut Gradients) -> Result<f64, TrainError> {
        let mut layers: BTreeMap<usize, Layer> = BTreeMap::new();
        model.network().visit_parameters(|p| {
            let place = p.name.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
            let place = place.filter(|_| !p.is_statistic);
            if let Some((layer, name)) = place.and_then(|(layer, name)| Some((layer.parse().ok()?, name.to_owned()))) {
                layers.entry(layer).or_default().insert(name, (p.id, p.shape, p.values));
            }
        });
        let ends = layers.first_key_value().zip(layers.last_key_value());
        let Some(((_, first), (_, last))) = ends else { return Ok(0.0) };
        let (before, after) = exchange(model.comm(), first, last)?;
        let mut pulls: HashMap<ParamId, Tensor<1>> = HashMap::new();
        let mut penalty = 0.0;
        let all: Vec<&Layer> = before.iter().chain(layers.values()).chain(&after).collect();
        let n_before = before.iter().len();
        for (n, pair) in all.windows(2).enumerate() {
            let [a, b] = pair else { continue };
            for (name, (id_a, shape, value_a)) in *a {
                let Some((id_b, _, value_b)) = b.get(name).filter(|(_, other, _)| other == shape) else { continue };
                let jump = value_b.clone() - value_a.clone();
                if n >= n_before {
                    penalty += (jump.clone() * jump.clone()).sum().into_scalar::<f64>();
                }
                let pull = jump * (self.gamma / self.dt);
                add(&mut pulls, *id_a, pull.clone().neg());
                add(&mut pulls, *id_b, pull);
            }
        }
        for gradient in gradients.iter_mut() {
            if let Some(pull) = pulls.remove(&gradient.id) {
                gradient.values.inplace(|g| g + pull);
            }
        }
        Ok(0.5 * self.gamma / self.dt * penalty)
    }
}

fn add(pulls: &mut HashMap<ParamId, Tensor<1>>, id: ParamId, pull: Tensor<1>) {
    match pulls.get_mut(&id) {
        Some(sum) => sum.inplace(|sum| sum + pull),
        None => {
            pulls.insert(id, pull);
        }
    }
}

/// The last layer of the rank before and the first layer of the rank behind.
fn exchange(comm: &Communicator, first: &Layer, last: &Layer) -> Result<(Option<Layer>, Option<Layer>), TrainError> {
    let (rank, size) = (comm.rank(), comm.size());
    let (has_before, has_after) = (rank > 0, rank + 1 < size);
    if has_after {
        send(comm, rank + 1, UP, last)?;
    }
    if has_before {
        send(comm, rank - 1, DOWN, first)?;
    }
    let device = first.values().next().map(|(_, _, values)| values.device()).unwrap_or_default();
    let before = has_before.then(|| receive(comm, rank - 1, UP, &device)).transpose()?;
    let after = has_after.then(|| receive(comm, rank + 1, DOWN, &device)).transpose()?;
    Ok((before, after))
}

/// Names and shapes as text, and all values one after the other.
fn send(comm: &Communicator, to: usize, tag: Tag, layer: &Layer) -> Result<(), TrainError> {
    let names: Vec<(&String, &Vec<usize>)> = layer.iter().map(|(name, (_, shape, _))| (name, shape)).collect();
    let names = serde_json::to_string(&names).map_err(|e| TrainError::Record { reason: e.to_string() })?;
    let values: Vec<f32> = layer.values().flat_map(|(_, _, v)| v.to_data().iter::<f32>().collect::<Vec<_>>()).collect();
    comm.send(to, tag, names)?;
    Ok(comm.send(to, tag, values)?)
}

fn receive(comm: &Communicator, from: usize, tag: Tag, device: &burn::tensor::Device) -> Result<Layer, TrainError> {
    let names: String = comm.receive(from, tag)?.wait(&())?;
    let values: Vec<f32> = comm.receive(from, tag)?.wait(&())?;
    let names: Vec<(String, Vec<usize>)> =
        serde_json::from_str(&names).map_err(|e| TrainError::Record { reason: e.to_string() })?;
    let mut rest = &values[..];
    let each = names.into_iter().map(|(name, shape)| {
        let (own, behind) = rest.split_at(shape.iter().product::<usize>().min(rest.len()));
        rest = behind;
        let values = Tensor::from_data(TensorData::new(own.to_vec(), [own.len()]), device);
        // The neighbour's parameter is nobody's here: an identity that no gradient has.
        (name, (ParamId::new(), shape, values))
    });
    Ok(each.collect())
}
