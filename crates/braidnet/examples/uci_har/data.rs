//! The motion signals, read once per process and only by ranks that need them.

use std::sync::{Arc, OnceLock};

use anyhow::{bail, ensure};
use braidnet::data::DataError;
use braidnet::data::motion::{self, CHANNELS, MotionData, MotionSet};
use braidnet::prelude::*;
use burn_dataset::InMemDataset;

use crate::Options;

/// Windows with their activities.
pub type Windows = Samples<Sequences, Tensor<1, Int>>;

/// Training and test set.
type Sets = [Arc<MotionSet>; 2];

/// Where windows come from.
pub struct Data<'a> {
    options: &'a Options,
    sets: OnceLock<Result<Sets, String>>,
}

/// Sizes that every rank must know.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Training and test windows.
    pub n: [usize; 2],
    /// Steps of each of them.
    pub steps: usize,
}

impl<'a> Data<'a> {
    pub fn new(options: &'a Options) -> Self {
        Self { options, sets: OnceLock::new() }
    }

    /// Generates or reads everything, for all ranks of this process; says how many steps a window has.
    pub fn load(&self) -> anyhow::Result<usize> {
        Ok(self.sets()?[0].steps)
    }

    fn sets(&self) -> anyhow::Result<&Sets> {
        match self.sets.get_or_init(|| self.read().map_err(|error| error.to_string())) {
            Ok(sets) => Ok(sets),
            Err(error) => bail!("{error}"),
        }
    }

    fn read(&self) -> Result<Sets, DataError> {
        let Options { data, train_samples, test_samples, training, .. } = self.options;
        let MotionData { mut train, mut test } = match data {
            None => {
                let n = [train_samples.unwrap_or(2000), test_samples.unwrap_or(600)];
                motion::generated(training.seed, n[0], n[1], self.options.known_steps().unwrap_or_default())
            }
            Some(folder) => motion::load(folder)?,
        };
        train.limit(train_samples.unwrap_or(usize::MAX));
        test.limit(test_samples.unwrap_or(usize::MAX));
        Ok([train, test].map(Arc::new))
    }

    /// The sizes, which the first rank of `world` finds out for all.
    pub fn sizes(&self, world: &Communicator) -> anyhow::Result<Sizes> {
        let known = if world.rank() == 0 {
            let [train, test] = self.sets()?;
            Some([train.len(), test.len(), train.steps].map(|n| n as u64).to_vec())
        } else {
            None
        };
        let sizes: Vec<usize> = world.broadcast(0, known, &())?.iter().map(|n| *n as usize).collect();
        let [train, test, steps] = sizes[..] else {
            bail!("rank 0 sent {} sizes of the data, expected 3", sizes.len());
        };
        ensure!(train > 0 && test > 0, "{train} training and {test} test windows: at least 1 of each is needed");
        Ok(Sizes { n: [train, test], steps })
    }

    /// Both sets as a rank of `mesh` needs them. The first layer ranks read and feed signals, the last ones activities; the
    /// ranks between them read nothing.
    pub fn samples(&self, mesh: &Mesh, sizes: &Sizes, device: &Device) -> anyhow::Result<[Windows; 2]> {
        let (is_first, is_last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
        let sets = if is_first || is_last { Some(self.sets()?) } else { None };
        let mut samples = sizes.n.map(|n| Samples { n, inputs: None, targets: None });
        for (samples, set) in samples.iter_mut().zip(sets.into_iter().flatten()) {
            samples.inputs = is_first.then(|| signals(set, device));
            samples.targets = is_last.then(|| activities(set, device));
        }
        Ok(samples)
    }
}

fn signals(set: &Arc<MotionSet>, device: &Device) -> Feed<Sequences> {
    let (set, device) = (Arc::clone(set), device.clone());
    Feed::new(indices(&set), move |indices: Vec<usize>| {
        let values: Vec<f32> = indices.iter().flat_map(|i| set.sample(*i).0).copied().collect();
        let shape = [indices.len(), set.steps, CHANNELS];
        Sequences::from(Tensor::<3>::from_data(TensorData::new(values, shape), &device))
    })
}

fn activities(set: &Arc<MotionSet>, device: &Device) -> Feed<Tensor<1, Int>> {
    let (set, device) = (Arc::clone(set), device.clone());
    Feed::new(indices(&set), move |indices: Vec<usize>| {
        let labels: Vec<i64> = indices.iter().map(|i| i64::from(set.labels[*i])).collect();
        Tensor::from_data(TensorData::new(labels, [indices.len()]), &device)
    })
}

fn indices(set: &MotionSet) -> InMemory<InMemDataset<usize>> {
    InMemory(InMemDataset::new((0..set.len()).collect()))
}
