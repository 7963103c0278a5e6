//! A rank's layers and optimizer as parts of a checkpoint, and back: by global layer, so any layout can go on from any other.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use braidnet_checkpoint::{Checkpoint, NamedTensor, Part, PartName, Scalar};
use braidnet_nn::{Network, Parameter};
use burn::tensor::{Tensor, TensorData};

use crate::copies::is_shared;
use crate::optimizer::OptimizerState;
use crate::{Optimizer, TrainError};

/// Parts of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Layers with parameters of their own.
    pub layers: Range<usize>,
    /// The opening layer, and what layers share.
    pub opening: bool,
    /// The closing layer.
    pub closing: bool,
}

impl Parts {
    pub fn names(&self) -> impl Iterator<Item = PartName> + use<> {
        let opening = self.opening.then_some(PartName::Open);
        let closing = self.closing.then_some(PartName::Close);
        opening.into_iter().chain(self.layers.clone().map(PartName::Layer)).chain(closing)
    }
}

/// The part that a parameter belongs to, by its global name.
fn part_of(name: &str) -> Option<PartName> {
    if is_shared(name) {
        return Some(PartName::Open);
    }
    let end = if name.starts_with("layers.") { name.match_indices('.').nth(1)?.0 } else { name.find('.')? };
    name[..end].parse().ok()
}

/// This rank's parameters and optimizer moments, in PyTorch's names and layouts.
///
/// # Errors
/// [`TrainError::Record`] if the optimizer's state cannot be had, [`TrainError::NotFiniteToSave`].
pub(crate) fn take<N: Network>(network: &N, optimizer: &Optimizer, parts: &Parts) -> Result<Vec<Part>, TrainError> {
    let mut parts: BTreeMap<PartName, Part> = parts.names().map(|name| (name, Part::new(name))).collect();
    let mut by_id = HashMap::new();
    network.visit_parameters(|p| {
        if let Some(part) = part_of(&p.name).and_then(|name| parts.get_mut(&name)) {
            part.parameters.push(parameter(&p));
        }
        by_id.insert(p.id.val().to_string(), p);
    });
    let OptimizerState { tensors, scalars } = optimizer.state()?;
    for (name, data) in tensors {
        let Some((p, field)) = name.split_once('.').and_then(|(id, field)| Some((by_id.get(id)?, field))) else {
            continue;
        };
        let n = data.num_elements();
        let values =
            Tensor::<1>::from_data(TensorData::new(data.iter::<f32>().collect::<Vec<_>>(), [n]), &p.values.device());
        let shape = if n == p.shape.iter().product::<usize>() { p.shape.clone() } else { data.shape().to_vec() };
        if let Some(part) = part_of(&p.name).and_then(|name| parts.get_mut(&name)) {
            part.moments.push(named(format!("{}.{field}", p.name), &shape, p, values));
        }
    }
    for (name, value) in scalars {
        let Some((p, field)) = name.split_once('.').and_then(|(id, field)| Some((by_id.get(id)?, field))) else {
            continue;
        };
        if let Some(part) = part_of(&p.name).and_then(|name| parts.get_mut(&name)) {
            part.scalars.insert(format!("{}.{field}", p.name), to_scalar(value));
        }
    }
    let parts: Vec<Part> = parts.into_values().collect();
    check_finite(&parts)?;
    Ok(parts)
}

/// That nothing is saved that no run could go on from: an update can overflow although loss and gradients were finite.
fn check_finite(parts: &[Part]) -> Result<(), TrainError> {
    for tensor in parts.iter().flat_map(|part| part.parameters.iter().chain(&part.moments)) {
        if tensor.to_f32()?.iter().any(|value| !value.is_finite()) {
            return Err(TrainError::NotFiniteToSave { name: tensor.name.clone() });
        }
    }
    Ok(())
}

/// A parameter in PyTorch's layout.
pub(crate) fn parameter(p: &Parameter) -> NamedTensor {
    named(p.name.clone(), &p.shape, p, p.values.clone())
}

fn named(name: String, shape: &[usize], p: &Parameter, values: Tensor<1>) -> NamedTensor {
    let has_its_shape = shape == p.shape;
    let values = if has_its_shape { p.to_torch_layout(values) } else { values };
    NamedTensor::from_f32(name, shape, &values.into_data().iter::<f32>().collect::<Vec<_>>())
}

/// The network and the optimizer with what a checkpoint holds of these layers.
///
/// # Errors
/// A file that is not as the checkpoint's index says, or a parameter that is missing or of another shape.
pub(crate) fn restore<N: Network>(
    network: N,
    optimizer: &mut Optimizer,
    parts: &Parts,
    checkpoint: &Checkpoint,
) -> Result<N, TrainError> {
    let mut parameters = HashMap::new();
    let (mut moments, mut scalars) = (Vec::new(), Vec::new());
    for name in parts.names() {
        let part = checkpoint.read_part(name)?;
        for tensor in part.parameters {
            parameters.insert(tensor.name.clone(), (tensor.shape.clone(), tensor.to_f32()?));
        }
        moments.extend(part.moments);
        scalars.extend(part.scalars);
    }
    let folder = checkpoint.folder().to_owned();
    let network =
        network.load(|name| parameters.remove(name)).map_err(|source| TrainError::Restore { folder, source })?;
    let mut by_name = HashMap::new();
    network.visit_parameters(|p| {
        by_name.insert(p.name.clone(), p);
    });
    // `layers.00017.conv1.weight.momentum.velocity`: the parameter's name is the longest one that fits.
    let owner = |name: &str| {
        let ends = name.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();
        ends.into_iter().rev().find_map(|at| Some((by_name.get(&name[..at])?, name[at + 1..].to_owned())))
    };
    let mut state = OptimizerState { tensors: Vec::new(), scalars: Vec::new() };
    for tensor in moments {
        let Some((p, field)) = owner(&tensor.name) else { continue };
        state.tensors.push((format!("{}.{field}", p.id.val()), moment_data(&tensor, p)?));
    }
    for (name, value) in scalars {
        let Some((p, field)) = owner(&name) else { continue };
        state.scalars.push((format!("{}.{field}", p.id.val()), from_scalar(value)));
    }
    optimizer.load_state(state)?;
    Ok(network)
}

/// A moment in burn's layout.
///
/// # Errors
/// If it has not as many numbers as its parameter.
fn moment_data(tensor: &NamedTensor, p: &Parameter) -> Result<TensorData, TrainError> {
    if tensor.shape.iter().product::<usize>() != p.shape.iter().product::<usize>() {
        let reason = format!("{} has the shape {:?}, its parameter {:?}", tensor.name, tensor.shape, p.shape);
        return Err(TrainError::Record { reason });
    }
    let data = TensorData::new(tensor.to_f32()?, tensor.shape.clone());
    Ok(match tensor.shape[..] {
        [rows, columns] if p.transposed && tensor.shape == p.shape => {
            let flat = Tensor::<2>::from_data(data, &p.values.device());
            flat.transpose().reshape([columns, rows]).into_data()
        }
        _ => data,
    })
}

fn to_scalar(value: burn_pack::Scalar) -> Scalar {
    match value {
        burn_pack::Scalar::Int(v) => Scalar::I64(v),
        burn_pack::Scalar::UInt(v) => Scalar::U64(v),
        burn_pack::Scalar::Float(v) => Scalar::F64(v),
        burn_pack::Scalar::Bool(v) => Scalar::Bool(v),
    }
}

fn from_scalar(value: Scalar) -> burn_pack::Scalar {
    match value {
        Scalar::I64(v) => burn_pack::Scalar::Int(v),
        Scalar::U64(v) => burn_pack::Scalar::UInt(v),
        Scalar::F64(v) => burn_pack::Scalar::Float(v),
        Scalar::Bool(v) => burn_pack::Scalar::Bool(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_know_their_part() {
        assert_eq!(part_of("layers.00017.conv1.weight"), Some(PartName::Layer(17)));
        assert_eq!(part_of("open.bias"), Some(PartName::Open));
        assert_eq!(part_of("close.head.weight"), Some(PartName::Close));
        assert_eq!(part_of("shared.cells.0.x.weight"), Some(PartName::Open));
        assert_eq!(part_of("odd.weight"), None);
    }

    #[test]
    fn what_is_not_finite_is_not_saved() {
        let part = |value| Part {
            moments: vec![NamedTensor::from_f32("open.bias.momentum.velocity", &[2], &[1.0, value])],
            ..Part::new(PartName::Open)
        };
        assert!(check_finite(&[part(2.0)]).is_ok());
        for value in [f32::NAN, f32::INFINITY] {
            let message = check_finite(&[part(2.0), part(value)]).unwrap_err().to_string();
            assert!(message.contains("open.bias.momentum.velocity is not finite"), "{message}");
        }
    }

    #[test]
    fn parts_are_named_in_their_order() {
        let names = |layers, opening, closing| Parts { layers, opening, closing }.names().collect::<Vec<_>>();
        assert_eq!(names(0..1, true, false), [PartName::Open, PartName::Layer(0)]);
        assert_eq!(names(1..3, false, true), [PartName::Layer(1), PartName::Layer(2), PartName::Close]);
        assert_eq!(names(0..0, true, true), [PartName::Open, PartName::Close]);
    }
}
