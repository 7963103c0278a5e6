//! Parameters of the opening and the closing layer that are one.

use braidnet_comm::{Communicator, Tag};
use braidnet_nn::{Gradients, Network};
use burn::module::ParamId;
use burn::tensor::{Tensor, TensorData};

use crate::TrainError;

/// Apart from the tags of solver and pipeline.
const TAG: Tag = 1010;

/// Sums the gradients of tied parameters, so that both copies get that of the one parameter they are. Equal at first, they
/// stay equal to the bit: the sum is formed in one order.
///
/// # Errors
/// If a message fails.
///
/// # Communication
/// First and last rank send each other the gradients of their tied parameters; nothing where there are none.
pub fn sum_tied<N: Network>(network: &N, comm: &Communicator, gradients: &mut Gradients) -> Result<(), TrainError> {
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
