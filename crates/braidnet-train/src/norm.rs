//! The norm of all gradients, and clipping by it.

use std::collections::{HashMap, HashSet};

use braidnet_comm::Communicator;
use braidnet_nn::{Gradients, Network};
use burn::tensor::Tensor;

use crate::TrainError;
use crate::copies::is_shared;

/// The 2-norm of the gradients of all parameters of all layer ranks, each parameter counted once.
///
/// Squares are added up in the order of the layers, so the result has the same bits for any number of layer ranks.
///
/// # Errors
/// If a message fails.
///
/// # Communication
/// Collective over the layer axis: one all-gather of one number per parameter.
///
/// # Cost
/// The sums are formed where the gradients are and read at once: the device is waited for once, not once per parameter.
pub fn gradient_norm<N: Network>(network: &N, gradients: &Gradients, layer: &Communicator) -> Result<f64, TrainError> {
    let by_id: HashMap<_, _> = gradients.iter().filter(|g| !g.is_statistic).map(|g| (g.id, &g.values)).collect();
    let mut sums: Vec<Tensor<1>> = Vec::new();
    let copies: HashSet<String> = network.tied().into_iter().map(|[_, closing]| closing).collect();
    network.visit_parameters(|p| {
        if copies.contains(&p.name) || (is_shared(&p.name) && layer.rank() > 0) {
            return;
        }
        let zero = || Tensor::zeros([1], &p.values.device());
        sums.push(by_id.get(&p.id).map_or_else(zero, |g| ((*g).clone() * (*g).clone()).sum()));
    });
    let squares: Vec<f64> = match sums.is_empty() {
        true => Vec::new(),
        false => Tensor::cat(sums, 0).into_data().iter().collect(),
    };
    let all = layer.all_gather(squares, &())?;
    Ok(all.iter().flatten().sum::<f64>().sqrt())
}

/// Scales gradients of norm `norm` down to `limit`, as PyTorch's `clip_grad_norm_`; whether they were longer.
pub fn clip(gradients: &mut Gradients, norm: f64, limit: f64) -> bool {
    let factor = limit / (norm + 1e-6);
    if factor >= 1.0 {
        return false;
    }
    for gradient in gradients.iter_mut().filter(|gradient| !gradient.is_statistic) {
        gradient.values.inplace(|g| g * factor);
    }
    true
}
