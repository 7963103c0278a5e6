//! Training steps against the clock.

use std::time::Instant;

use braidnet::prelude::*;
use braidnet::train::Shard;

use crate::{Built, StepTime, Way};

/// Steps before those that count.
const WARM_UP: usize = 2;

/// Times `n` training steps (forward, loss, adjoint, gradients, SGD update) of the first batch on the ranks of `comm`, after two that
/// do not count. A barrier before each step keeps ranks from running ahead. The wait for sums over the data axis counts as waiting.
///
/// # Errors
/// A failed step, or ranks that the way cannot be spread over.
///
/// # Communication
/// Collective.
pub(crate) fn time<N: Network>(
    built: &Built<N>,
    way: &Way,
    comm: &Communicator,
    n: usize,
) -> Result<Vec<StepTime>, TrainError> {
    let mesh = Mesh::new(comm, &way.degrees, built.n_layers())?;
    let mut model = built.make(&way.schedule, mesh.layer())?;
    let mut reducer = GradientReducer::new(model.network(), &way.schedule, mesh.data(), &model.device())?;
    let mut optimizer = Optimizer::new(OptimizerConfig::Sgd { momentum: 0.9 }, 1e-4)?;
    let micro = built.micro(0, mesh.data(), way.n_micro);
    let mut times = Vec::with_capacity(n);
    for step in 0..n + WARM_UP {
        comm.barrier()?;
        let start = Instant::now();
        let shard = Shard { micro: &micro, global: built.batch };
        let report = model.train_step(shard, &built.task, &mut reducer, &mut |_| Ok(()))?;
        let summed = Instant::now();
        let gradients = reducer.finish()?;
        let waiting_for_sums = if mesh.data().size() > 1 { summed.elapsed().as_secs_f64() } else { 0.0 };
        optimizer.step(&mut model, gradients);
        // A GPU may still be at work.
        model.device().sync().map_err(|error| comm.abort(&error.to_string()))?;
        let own = [start.elapsed().as_secs_f64(), report.seconds_waiting + waiting_for_sums];
        let all = comm.all_gather(own.to_vec(), &())?;
        if step >= WARM_UP {
            times.push(of_ranks(&all));
        }
    }
    Ok(times)
}

/// The time of a step whose ranks took so many seconds and waited for so many of them.
fn of_ranks(all: &[Vec<f64>]) -> StepTime {
    let seconds = all.iter().map(|rank| rank[0]).fold(0.0, f64::max);
    let busy: f64 = all.iter().map(|rank| rank[0] - rank[1]).sum();
    StepTime { seconds, waiting: 1.0 - busy / (seconds * all.len() as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_that_end_early_wait_too() {
        let step = of_ranks(&[vec![4.0, 1.0], vec![2.0, 0.0]]);
        assert_eq!(step, StepTime { seconds: 4.0, waiting: 3.0 / 8.0 });
    }
}
