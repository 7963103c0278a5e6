//! The shapes, listed once per process and only by ranks that need them. Their voxels are made, or read, on the loader's threads.

use std::sync::{Arc, OnceLock};
use std::thread;

use anyhow::{bail, ensure};
use braidnet::data::modelnet::{self, ModelSet};
use braidnet::data::solids;
use braidnet::data::voxels::{VoxelSet, VoxelSplit, broken};
use braidnet::prelude::*;
use burn_dataset::InMemDataset;

use crate::Options;
use crate::grids::{Grids, first_of_each_class};

/// Shapes with their kinds.
pub type Shapes = Samples<Tensor<5>, Tensor<1, Int>>;

/// What a folder has, or is made up.
struct Listed {
    parts: [Arc<dyn VoxelSet>; 2],
    /// The same, where they are files.
    files: Option<[Arc<ModelSet>; 2]>,
}

/// Samples of training and test set.
type Used = [Arc<Vec<usize>>; 2];

/// Where shapes come from.
pub struct Data<'a> {
    options: &'a Options,
    listed: OnceLock<Result<Listed, String>>,
    used: OnceLock<Result<Used, String>>,
}

/// What every rank must know.
#[derive(Debug, Clone)]
pub struct Sizes {
    pub classes: usize,
    /// Samples in training and test set, the unused ones too.
    listed: [usize; 2],
    used: Used,
}

impl Sizes {
    /// Training and test samples.
    pub fn n(&self) -> [usize; 2] {
        [self.used[0].len(), self.used[1].len()]
    }
}

impl<'a> Data<'a> {
    pub fn new(options: &'a Options) -> Self {
        Self { options, listed: OnceLock::new(), used: OnceLock::new() }
    }

    /// Lists everything and looks for broken files, for all ranks of this process.
    pub fn load(&self) -> anyhow::Result<()> {
        self.used().map(drop)
    }

    fn listed(&self) -> anyhow::Result<&Listed> {
        kept(&self.listed, || self.list())
    }

    /// The samples to use: so many of each class, but for broken ones.
    fn used(&self) -> anyhow::Result<&Used> {
        kept(&self.used, || self.choose())
    }

    fn list(&self) -> anyhow::Result<Listed> {
        let Options { data, cache, side, train_per_class, test_per_class, training, .. } = self.options;
        Ok(match data {
            None => {
                let n = [train_per_class.unwrap_or(200), test_per_class.unwrap_or(40)];
                let VoxelSplit { train, test } = solids::generated(training.seed, n[0], n[1], *side)?;
                Listed { parts: [Arc::new(train), Arc::new(test)], files: None }
            }
            Some(folder) => {
                let split = modelnet::open(folder, *side, self.options.fill(), cache.as_deref())?;
                let [train, test] = [Arc::new(split.train), Arc::new(split.test)];
                let files = Some([Arc::clone(&train), Arc::clone(&test)]);
                Listed { parts: [train, test], files }
            }
        })
    }

    fn choose(&self) -> anyhow::Result<Used> {
        let (listed, Options { train_per_class, test_per_class, .. }) = (self.listed()?, self.options);
        let limits = [train_per_class, test_per_class].map(|n| n.unwrap_or(usize::MAX));
        let mut used = [0, 1].map(|part| first_of_each_class(&*listed.parts[part], limits[part]));
        if let Some(files) = listed.files.as_ref().filter(|_| !self.options.dry_run) {
            self.leave_out_broken(files, &mut used)?;
        }
        Ok(used.map(Arc::new))
    }

    /// Reads all files that are to be used, so that a broken one shows now and not hours later; with a cache, it is full then.
    fn leave_out_broken(&self, files: &[Arc<ModelSet>; 2], used: &mut [Vec<usize>; 2]) -> anyhow::Result<()> {
        let (most, threads) = (self.options.skip_broken, thread::available_parallelism().map_or(1, usize::from));
        let mut left = most.unwrap_or(0);
        for (set, used) in files.iter().zip(used) {
            let broken = broken(&**set, used, left, threads);
            for (_, error) in broken.iter().take(left) {
                eprintln!("left out: {error}");
            }
            match (broken.get(left), most) {
                (Some((_, error)), None) => bail!("{error}; --skip-broken N leaves out up to N such files"),
                (Some((_, error)), Some(most)) => {
                    bail!("{error}; these are more broken files than --skip-broken {most} leaves out")
                }
                (None, _) => left -= broken.len(),
            }
            used.retain(|sample| broken.iter().all(|(other, _)| other != sample));
        }
        let unkept: usize = files.iter().map(|set| set.unkept()).sum();
        if unkept > 0 {
            eprintln!("warning: {unkept} grids could not be kept in the cache and are made again in every epoch");
        }
        Ok(())
    }

    /// What every rank must know, which the first rank of `world` finds out for all.
    pub fn sizes(&self, world: &Communicator) -> anyhow::Result<Sizes> {
        let known = if world.rank() == 0 {
            let (used, parts) = (self.used()?, &self.listed()?.parts);
            let head = [parts[0].class_names().len(), parts[0].len(), parts[1].len(), used[0].len()];
            Some(head.iter().chain(&*used[0]).chain(&*used[1]).map(|n| *n as u64).collect::<Vec<_>>())
        } else {
            None
        };
        let known: Vec<usize> = world.broadcast(0, known, &())?.iter().map(|n| *n as usize).collect();
        let Some((&[classes, train, test, n_train], used)) = known.split_first_chunk::<4>() else {
            bail!("rank 0 sent {} numbers about the data, expected at least 4", known.len());
        };
        let Some((used_train, used_test)) = used.split_at_checked(n_train) else {
            bail!("rank 0 sent {} samples, expected at least {n_train}", used.len());
        };
        let sizes =
            Sizes { classes, listed: [train, test], used: [used_train, used_test].map(|s| Arc::new(s.to_vec())) };
        let [train, test] = sizes.n();
        ensure!(train > 0 && test > 0, "{train} training and {test} test samples: at least 1 of each is needed");
        Ok(sizes)
    }

    /// Both sets as a rank of `mesh` needs them. The first layer ranks feed voxels, the last ones classes; the ranks between
    /// them read nothing.
    pub fn samples(&self, mesh: &Mesh, sizes: &Sizes, device: &Device) -> anyhow::Result<[Shapes; 2]> {
        let (is_first, is_last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
        let mut samples = sizes.n().map(|n| Samples { n, inputs: None, targets: None });
        if !is_first && !is_last {
            return Ok(samples);
        }
        for (part, (samples, set)) in samples.iter_mut().zip(&self.listed()?.parts).enumerate() {
            let (got, expected) = (set.len(), sizes.listed[part]);
            ensure!(got == expected, "{got} models found, but {expected} by rank 0: all ranks need the same folder");
            let grids = Grids { set: Arc::clone(set), used: Arc::clone(&sizes.used[part]) };
            samples.targets = is_last.then(|| classes(&grids, device));
            samples.inputs = is_first.then(|| voxels(grids, device));
        }
        Ok(samples)
    }
}

/// What is in `cell`, made by `make` unless it is there.
fn kept<T>(cell: &OnceLock<Result<T, String>>, make: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<&T> {
    match cell.get_or_init(|| make().map_err(|error| error.to_string())) {
        Ok(value) => Ok(value),
        Err(error) => bail!("{error}"),
    }
}

fn voxels(grids: Grids, device: &Device) -> Feed<Tensor<5>> {
    let (side, device) = (grids.set.side(), device.clone());
    Feed::new(InMemory(grids), move |grids: Vec<Vec<u8>>| {
        let shape = [grids.len(), 1, side, side, side];
        let values: Vec<f32> = grids.iter().flatten().map(|voxel| f32::from(*voxel)).collect();
        Tensor::from_data(TensorData::new(values, shape), &device)
    })
}

fn classes(grids: &Grids, device: &Device) -> Feed<Tensor<1, Int>> {
    let labels: Vec<i64> = grids.used.iter().map(|sample| grids.set.label(*sample) as i64).collect();
    let device = device.clone();
    Feed::new(InMemory(InMemDataset::new(labels)), move |labels: Vec<i64>| {
        let n = labels.len();
        Tensor::from_data(TensorData::new(labels, [n]), &device)
    })
}
