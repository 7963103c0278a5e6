//! The network of a case, made on any ranks for any schedule, and its samples.

use std::ops::Range;

use braidnet::prelude::*;
use braidnet::train::data::Micro;

/// Inputs of a batch and the classes of its rows.
pub struct Batch<I> {
    /// Samples.
    pub size: usize,
    /// Inputs.
    pub input: I,
    /// Classes.
    pub target: Tensor<1, Int>,
}

/// Any samples of a data set, by their numbers.
pub type SamplesFn<I> = Box<dyn Fn(Range<usize>) -> Batch<I>>;
type InitFn<N> = Box<dyn Fn(Range<usize>) -> Result<N, TrainError>>;

/// A network, to be made on any ranks for any schedule, and its samples.
pub struct Built<N: Network> {
    /// Its name and sizes, as a [`Case`](crate::Case) writes them.
    pub name: String,
    /// Samples of a batch, over all data ranks.
    pub batch: usize,
    /// Its layers as time steps.
    pub grid: TimeGrid,
    /// Its coarse operator, as far as partitions must know it.
    pub operator: CoarseOperator,
    /// What it is trained for.
    pub task: Task<Tensor<1, Int>>,
    /// Whether its layers differ in cost.
    pub layers_differ: bool,
    /// The least seconds of a step on its device, where known.
    pub floor: Option<f64>,
    /// Seconds of every layer, by which [`Built::make`] shares layers out; without them by count. The same on all ranks.
    pub costs: Option<Vec<f64>>,
    init: InitFn<N>,
    samples: SamplesFn<N::Input>,
}

impl<N: Network> Built<N> {
    /// A network that `init` makes of a range of layers, for batches of so many of `samples`: trained for classes, with layers that
    /// cost alike.
    pub fn new<E: Into<TrainError>>(
        (name, batch): (String, usize),
        grid: TimeGrid,
        operator: CoarseOperator,
        init: impl Fn(Range<usize>) -> Result<N, E> + 'static,
        samples: SamplesFn<N::Input>,
    ) -> Self {
        let init = Box::new(move |range| init(range).map_err(Into::into));
        let task = Task::classification();
        Self { name, batch, grid, operator, task, layers_differ: false, floor: None, costs: None, init, samples }
    }

    /// Layers, as the solver counts.
    pub fn n_layers(&self) -> usize {
        self.grid.n_steps()
    }

    /// Numbers of all its parameters.
    ///
    /// # Errors
    /// A network that cannot be made.
    ///
    /// # Cost
    /// That of making the whole network.
    pub fn n_parameters(&self) -> Result<usize, TrainError> {
        let mut n = 0;
        (self.init)(0..self.n_layers())?.visit_parameters(|p| n += p.shape.iter().product::<usize>());
        Ok(n)
    }

    /// The network at its initial parameters, the same whatever ranks and schedule, spread over the ranks of `comm`.
    ///
    /// # Errors
    /// More ranks than layers, an invalid schedule, or one that the network cannot do on so many ranks.
    ///
    /// # Communication
    /// None.
    pub fn make(&self, schedule: &Schedule, comm: &Communicator) -> Result<LayerParallel<N>, TrainError> {
        let partition = match &self.costs {
            Some(costs) => schedule.partition_by_cost(&self.grid, comm.size(), self.operator, costs)?,
            None => schedule.partition(&self.grid, comm.size(), self.operator)?,
        };
        let network = (self.init)(partition.layers(comm.rank()))?;
        LayerParallel::new(network, &self.grid, &partition, schedule, comm)
    }

    /// Shares layers out by what they cost, as the ranks of `world` measure it, all at the same time.
    ///
    /// # Errors
    /// More ranks than layers, or a layer that fails.
    ///
    /// # Communication
    /// Collective: as [`LayerParallel::layer_costs`].
    pub fn measure_costs(&mut self, world: &Communicator) -> Result<(), TrainError> {
        let model = self.make(&Schedule::sequential(), world)?;
        self.costs = Some(model.layer_costs(self.batch)?);
        Ok(())
    }

    /// These samples; behind its end the data set begins anew.
    pub fn samples(&self, range: Range<usize>) -> Batch<N::Input> {
        (self.samples)(range)
    }

    /// Batch `index`; 0 is the one measured.
    pub fn nth_batch(&self, index: usize) -> Batch<N::Input> {
        self.samples(index * self.batch..(index + 1) * self.batch)
    }

    /// The part of batch `index` that a rank of the data axis gets, as so many micro-batches at most.
    pub fn micro(&self, index: usize, data: &Communicator, n_micro: usize) -> Vec<Micro<N::Input, Tensor<1, Int>>> {
        let part = |n: usize, parts: usize, i: usize| i * n / parts..(i + 1) * n / parts;
        let share = part(self.batch, data.size(), data.rank());
        let micro = (0..n_micro).map(|i| part(share.len(), n_micro, i)).filter(|range| !range.is_empty());
        let micro = micro.map(|range| {
            let first = share.start + range.start;
            let start = index * self.batch + first;
            let Batch { size, input, target } = self.samples(start..start + range.len());
            Micro { size, first, input: Some(input), target: Some(target) }
        });
        micro.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Case, Visit};

    /// Sizes of a rank's micro-batches, and whether they are the samples of its part of the batch.
    struct Cut<'a>(&'a Communicator);

    impl Visit for Cut<'_> {
        type Out = (Vec<usize>, Vec<i64>, Vec<i64>);

        fn visit<N: Network + 'static>(self, built: Built<N>) -> Result<Self::Out, TrainError> {
            let micro = built.micro(1, self.0, 2);
            let classes = |target: Tensor<1, Int>| target.to_data().iter::<i64>().collect::<Vec<_>>();
            let cut = micro.iter().flat_map(|micro| classes(micro.target.clone().unwrap())).collect();
            Ok((micro.iter().map(|micro| micro.size).collect(), cut, classes(built.nth_batch(1).target)))
        }
    }

    #[test]
    fn micro_batches_of_all_ranks_are_the_batch() {
        for text in ["conv:4x1@5", "gru:4@5", "blocks:1@5", "voxels:9x2@5"] {
            let case: Case = text.parse().unwrap();
            let all = launch(&Launch::ranks(Some(3)), |world| case.visit(2, &Device::flex(), Cut(&world))).unwrap();
            let sizes: Vec<_> = all.iter().map(|rank| rank.0.clone()).collect();
            assert_eq!(sizes, [vec![1], vec![1, 1], vec![1, 1]], "{text}");
            assert_eq!(all.iter().flat_map(|rank| rank.1.clone()).collect::<Vec<_>>(), all[0].2, "{text}");
        }
    }

    #[test]
    fn behind_its_end_a_data_set_begins_anew() {
        struct Again;
        impl Visit for Again {
            type Out = bool;

            fn visit<N: Network + 'static>(self, built: Built<N>) -> Result<bool, TrainError> {
                let targets = [0, 2].map(|index| built.nth_batch(index).target.to_data());
                Ok(targets[0] == targets[1])
            }
        }
        for text in ["conv:4x1@3", "encoder:2@2", "gru:4@5", "blocks:1@3", "voxels:9x2@3"] {
            assert!(text.parse::<Case>().unwrap().visit(2, &Device::flex(), Again).unwrap(), "{text}");
        }
    }
}
