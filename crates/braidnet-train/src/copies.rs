//! Parameters that several ranks have a copy of: those that layers share, and those of the opening and the closing layer that are
//! one.

use std::collections::HashMap;

use braidnet_comm::{Communicator, ReduceOp, Tag};
use braidnet_nn::{Gradient, Gradients, Network};
use burn::module::ParamId;
use burn::tensor::{Tensor, TensorData};

use crate::TrainError;

/// Apart from the tags of solver and pipeline.
const TAG: Tag = 1010;

/// Whether a parameter of this name is one that layers share ([`Network::shares_parameters`]).
pub(crate) fn is_shared(name: &str) -> bool {
    name.starts_with("shared.")
}

/// Sums the gradients of parameters that several ranks have a copy of, so that each gets that of the one parameter they are. Equal
/// at first, copies stay equal to the bit: each sum is formed in one order.
///
/// # Errors
/// If a message fails.
///
/// # Communication
/// Where layers share parameters, one all-reduce of their gradients over the layer axis. Where those of the opening and the closing layer are
/// tied, first and last rank send each other theirs. Else nothing.
pub fn sum_copies<N: Network>(network: &N, comm: &Communicator, gradients: &mut Gradients) -> Result<(), TrainError> {
    if network.shares_parameters() && comm.size() > 1 {
        sum_shared(network, comm, gradients)?;
    }
    sum_tied(network, comm, gradients)
}

/// Sums the gradients of shared parameters over the ranks; a rank without one counts as zero.
fn sum_shared<N: Network>(network: &N, comm: &Communicator, gradients: &mut Gradients) -> Result<(), TrainError> {
    let mut own: HashMap<ParamId, Tensor<1>> = gradients.iter().map(|g| (g.id, g.values.clone())).collect();
    let (mut flat, mut places) = (Vec::new(), Vec::new());
    network.visit_parameters(|p| {
        if !is_shared(&p.name) {
            return;
        }
        let first = flat.len();
        match own.remove(&p.id) {
            Some(values) => flat.extend(values.into_data().iter::<f32>()),
            None => flat.resize(first + p.shape.iter().product::<usize>(), 0.0),
        }
        places.push((p.id, first..flat.len(), p.values.device()));
    });
    comm.all_reduce(&mut flat, ReduceOp::Sum)?;
    let ids: Vec<ParamId> = places.iter().map(|(id, ..)| *id).collect();
    gradients.retain(|g| !ids.contains(&g.id));
    gradients.extend(places.into_iter().map(|(id, range, device)| {
        let values = flat[range].to_vec();
        let n = values.len();
        Gradient::new(id, Tensor::<1>::from_data(TensorData::new(values, [n]), &device))
    }));
    Ok(())
}

/// Sums the gradients of tied parameters, so that both copies get that of the one parameter they are. Equal at first, they
/// stay equal to the bit: the sum is formed in one order.
fn sum_tied<N: Network>(network: &N, comm: &Communicator, gradients: &mut Gradients) -> Result<(), TrainError> {
    let tied = network.tied();
    if tied.is_empty() {
        return Ok(());
    }
    let (rank, last) = (comm.rank(), comm.size() - 1);
    let [opening, closing] = [0, 1].map(|end| find(network, tied.iter().map(|names| &names[end])));
    if last == 0 {
        for (a, b) in opening.into_iter().zip(closing) {
            let sum = of(gradients, a).zip(of(gradients, b)).map(|(a, b)| a + b);
            set(gradients, a, sum.clone());
            set(gradients, b, sum);
        }
        return Ok(());
    }
    if rank != 0 && rank != last {
        return Ok(());
    }
    let (own, other) = if rank == 0 { (opening, last) } else { (closing, 0) };
    for id in own {
        let Some(values) = of(gradients, id) else { continue };
        let (device, n) = (values.device(), values.dims()[0]);
        comm.send(other, TAG, values.to_data().iter::<f32>().collect::<Vec<_>>())?;
        let theirs: Vec<f32> = comm.receive(other, TAG)?.wait(&())?;
        let theirs = Tensor::from_data(TensorData::new(theirs, [n]), &device);
        set(gradients, id, Some(if rank == 0 { values + theirs } else { theirs + values }));
    }
    Ok(())
}

/// The parameters with such names that are here.
fn find<'a, N: Network>(network: &N, names: impl Iterator<Item = &'a String>) -> Vec<ParamId> {
    let names: Vec<_> = names.collect();
    let mut found = vec![None; names.len()];
    network.visit_parameters(|p| {
        if let Some(n) = names.iter().position(|name| **name == p.name) {
            found[n] = Some(p.id);
        }
    });
    found.into_iter().flatten().collect()
}

fn of(gradients: &Gradients, id: ParamId) -> Option<Tensor<1>> {
    gradients.iter().find(|g| g.id == id).map(|g| g.values.clone())
}

fn set(gradients: &mut Gradients, id: ParamId, values: Option<Tensor<1>>) {
    if let (Some(gradient), Some(values)) = (gradients.iter_mut().find(|g| g.id == id), values) {
        gradient.values = values;
    }
}
