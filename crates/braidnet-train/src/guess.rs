//! Where the solves of a training step start from.

use std::collections::BTreeMap;
use std::sync::Arc;

use braidnet_comm::Communicator;
use braidnet_mgrit::{Mgrit, State};
use braidnet_nn::Network;
use serde::{Deserialize, Serialize};

use crate::{LayerParallel, Task, TrainError};

/// What a solve begins with. On grids of one size a solve whose first down-cycle is skipped forgets its guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitialGuess {
    /// Zeros.
    #[default]
    Zero,
    /// The first state at all points, through the transitions between them.
    Carried,
    /// Of every sample, the mean state of its class at the point, over the training steps so far; zeros until there is one, and in
    /// evaluations, which know no classes. States only. Means are not kept in checkpoints.
    ///
    /// Source: TorchBraid's `MeanInitialGuessStorage`.
    ClassMeans,
}

impl std::fmt::Display for InitialGuess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zero => "zero",
            Self::Carried => "carried",
            Self::ClassMeans => "class means",
        })
    }
}

/// The state at each point, as [`braidnet_mgrit::Guess::From`] counts them, for a batch.
pub type GivenGuess<N> = Arc<dyn Fn(usize, &<N as Network>::Batch) -> <N as Network>::State + Send + Sync>;

/// The running mean states of the samples of every class at this rank's C-points.
pub(crate) struct ClassMeans<S> {
    /// By point and class: the mean of so many samples.
    means: BTreeMap<(usize, usize), (S, f64)>,
}

impl<S> Default for ClassMeans<S> {
    fn default() -> Self {
        Self { means: BTreeMap::new() }
    }
}

impl<S: State> ClassMeans<S> {
    /// The guess at `point` for samples of these classes; `None` before there is a mean of any, `zero` stands for those of the others.
    pub fn guess<N: Network<State = S>>(&self, network: &N, point: usize, classes: &[usize], zero: &S) -> Option<S> {
        let none = network.sample(zero, 0)?;
        let mean = |class: &usize| self.means.get(&(point, *class)).map(|(mean, _)| mean.clone());
        let means: Vec<Option<S>> = classes.iter().map(mean).collect();
        if means.iter().all(Option::is_none) {
            return None;
        }
        network.of_samples(means.into_iter().map(|mean| mean.unwrap_or_else(|| none.clone())).collect())
    }

    /// Takes up the C-point states of a solve for samples of these classes; those that are not finite are left out.
    pub fn take_up<N: Network<State = S>>(&mut self, network: &N, solver: &Mgrit<S>, classes: &[usize]) {
        let finest = solver.hierarchy().finest();
        for point in solver.layout().share(0).points().filter(|point| finest.is_c_point(*point)) {
            let Some(state) = solver.state(point).filter(|state| state.norm_squared().is_finite()) else { continue };
            for (n, class) in classes.iter().enumerate() {
                let Some(sample) = network.sample(state, n) else { return };
                match self.means.get_mut(&(point, *class)) {
                    Some((mean, count)) => {
                        *count += 1.0;
                        mean.scale(1.0 - 1.0 / *count);
                        mean.axpy(1.0 / *count, &sample);
                    }
                    None => {
                        self.means.insert((point, *class), (sample, 1.0));
                    }
                }
            }
        }
    }
}

impl<N: Network> LayerParallel<N> {
    /// Lets forward solves of training start from what `guess` says of a batch, whatever the schedule says; `None`: no longer.
    pub fn set_guess(&mut self, guess: Option<GivenGuess<N>>) {
        self.given_guess = guess;
    }

    /// Says the classes of the samples of the batch to come, for [`InitialGuess::ClassMeans`]; every rank must. Training steps do
    /// so themselves.
    pub fn set_classes(&mut self, classes: Option<Vec<usize>>) {
        self.classes = classes;
    }

    /// Tells all ranks the classes of a batch, where the schedule asks for them.
    ///
    /// # Communication
    /// A broadcast over the layer axis, with [`InitialGuess::ClassMeans`] only.
    pub(crate) fn share_classes<T>(&mut self, task: &Task<T>, target: Option<&T>) -> Result<(), TrainError> {
        if self.solvers.guesses[0] != InitialGuess::ClassMeans {
            return Ok(());
        }
        let own = task.classes.as_ref().zip(target).map(|(classes, target)| classes(target)).unwrap_or_default();
        self.classes = Some(broadcast_from_last(&self.comm, own)?);
        Ok(())
    }
}

fn broadcast_from_last(comm: &Communicator, own: Vec<usize>) -> Result<Vec<usize>, TrainError> {
    let last = comm.size() - 1;
    let own = own.into_iter().map(|class| class as u64).collect::<Vec<_>>();
    let all = comm.broadcast(last, (comm.rank() == last).then_some(own), &())?;
    Ok(all.into_iter().map(|class| class as usize).collect())
}
