//! Training steps against the clock.

use std::time::Instant;

use braidnet::device::{Launches, count_launches};
use braidnet::prelude::*;
use braidnet::train::Shard;
use braidnet::train::data::Micro;

use crate::{Built, StepTime, Way};

/// Fewest and most steps before those that count.
const WARM_UP: [usize; 2] = [2, 20];
/// A step that takes this part of the one before has not settled: kernels are compiled, and chosen by timing, at first use.
const STILL_FASTER: f64 = 0.9;

/// What was measured of training steps.
pub(crate) struct Timed {
    /// Of every step that counts.
    pub steps: Vec<StepTime>,
    /// Kernels that a step starts in the process of the first rank, known there; `None` in a build without GPUs.
    pub launches: Option<Launches>,
}

/// Times `n` training steps (forward, loss, adjoint, gradients, SGD update) of the first batch on the ranks of `comm`, after some that
/// do not count: at least two, and until they become no faster. A barrier before each step keeps ranks from running ahead. The wait
/// for sums over the data axis counts as waiting. A device has done all its work before either reading of the clock.
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
) -> Result<Timed, TrainError> {
    let mut running = Running::new(built, way, comm)?;
    let launches = running.warm_up()?;
    let steps = (0..n).map(|_| running.step()).collect::<Result<_, _>>()?;
    Ok(Timed { steps, launches })
}

/// A network in training on the ranks of a communicator.
struct Running<'a, N: Network> {
    built: &'a Built<N>,
    comm: &'a Communicator,
    mesh: Mesh,
    model: LayerParallel<N>,
    reducer: GradientReducer,
    optimizer: Optimizer,
    micro: Vec<Micro<N::Input, Tensor<1, Int>>>,
}

impl<'a, N: Network> Running<'a, N> {
    fn new(built: &'a Built<N>, way: &Way, comm: &'a Communicator) -> Result<Self, TrainError> {
        let mesh = Mesh::new(comm, &way.degrees, built.n_layers())?;
        let model = built.make(&way.schedule, mesh.layer())?;
        let reducer = GradientReducer::new(model.network(), &way.schedule, mesh.data(), &model.device())?;
        let optimizer = Optimizer::new(OptimizerConfig::Sgd { momentum: 0.9 }, 1e-4)?;
        let micro = built.micro(0, mesh.data(), way.n_micro);
        Ok(Self { built, comm, mesh, model, reducer, optimizer, micro })
    }

    /// Steps until they become no faster; what the last of them launched. All ranks do as many.
    fn warm_up(&mut self) -> Result<Option<Launches>, TrainError> {
        let [least, most] = WARM_UP;
        let (mut before, mut launches) = (f64::INFINITY, None);
        for number in 1..=most {
            // One count for all threads of the process.
            let step = if self.comm.rank() == 0 {
                let (step, counted) = count_launches(|| self.step());
                launches = counted;
                step?
            } else {
                self.step()?
            };
            if number >= least && step.seconds > STILL_FASTER * before {
                break;
            }
            before = step.seconds;
        }
        Ok(launches)
    }

    /// One step, and how long all ranks took.
    fn step(&mut self) -> Result<StepTime, TrainError> {
        self.sync()?;
        self.comm.barrier()?;
        let start = Instant::now();
        let shard = Shard { micro: &self.micro, global: self.built.batch };
        let report = self.model.train_step(shard, &self.built.task, &mut self.reducer, &mut |_| Ok(()))?;
        let summed = Instant::now();
        let gradients = self.reducer.finish()?;
        let waiting_for_sums = if self.mesh.data().size() > 1 { summed.elapsed().as_secs_f64() } else { 0.0 };
        self.optimizer.step(&mut self.model, gradients);
        self.sync()?;
        let own = [start.elapsed().as_secs_f64(), report.seconds_waiting + waiting_for_sums];
        Ok(of_ranks(&self.comm.all_gather(own.to_vec(), &())?))
    }

    /// Waits until the device has done what it was given; on the processor nothing is left to do.
    fn sync(&self) -> Result<(), TrainError> {
        Ok(self.model.device().sync().map_err(|error| self.comm.abort(&error.to_string()))?)
    }
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
