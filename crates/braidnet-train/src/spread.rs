//! How different the layers of a coarse step are.

use std::collections::BTreeMap;

use braidnet_comm::ReduceOp;
use braidnet_nn::Network;

use crate::{LayerParallel, TrainError};

/// Mean over all coarse steps of `||theta_first - theta_last|| / ||theta_first||`, first and last layer of the step's run.
///
/// Near 0 the network acts like one with as many layers as there are coarse steps. Runs across rank borders are left
/// out; `None` if there is no run of at least two layers on any rank.
///
/// # Errors
/// If a message fails.
///
/// # Communication
/// Collective: one all-reduce.
pub fn spread_within_runs<N: Network>(model: &LayerParallel<N>) -> Result<Option<f64>, TrainError> {
    let mut layers: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    model.network.visit_parameters(|p| {
        let layer = p.name.strip_prefix("layers.").and_then(|rest| rest.split('.').next()?.parse().ok());
        if let Some(layer) = layer.filter(|_| !p.is_statistic) {
            layers.entry(layer).or_default().extend(p.values.to_data().iter::<f64>());
        }
    });
    let before = model.network.buffer_layers();
    let (mut sum, mut runs) = (0.0, 0.0);
    if let Some(coarse) = model.solvers.adjoint.hierarchy().levels().get(1) {
        for j in 0..coarse.n_steps() {
            let fine = coarse.step(j).fine;
            let ends = (layers.get(&(before + fine.start)), layers.get(&(before + fine.end - 1)));
            if let (2.., (Some(first), Some(last))) = (fine.len(), ends) {
                let distance: f64 = first.iter().zip(last).map(|(a, b)| (a - b) * (a - b)).sum();
                let size: f64 = first.iter().map(|a| a * a).sum();
                sum += (distance / size).sqrt();
                runs += 1.0;
            }
        }
    }
    let mut sums = [sum, runs];
    model.comm.all_reduce(&mut sums, ReduceOp::Sum)?;
    Ok((sums[1] > 0.0).then(|| sums[0] / sums[1]))
}
