//! The pictures: generated or listed once per process, and only by ranks that need them.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;

use anyhow::{bail, ensure};
use braidnet::data::DataError;
use braidnet::data::pictures::Pictures;
use braidnet::data::textures::{self, Textures};
use braidnet::data::tiny_imagenet::TinyImageNet;
use braidnet::prelude::*;

use crate::Options;
use crate::pictures::{classes, inputs};

/// Pictures with their classes.
pub type PictureSamples = Samples<Tensor<4>, Tensor<1, Int>>;

/// Where pictures come from.
pub struct Data<'a> {
    options: &'a Options,
    loaded: OnceLock<Result<Loaded, String>>,
}

struct Loaded {
    /// Training and test set.
    sets: [Arc<dyn Pictures>; 2],
    /// What was wrong with the pictures that are left out.
    broken: Vec<DataError>,
}

/// Sizes that every rank must know.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Training and test pictures.
    pub n: [usize; 2],
    pub classes: usize,
}

impl<'a> Data<'a> {
    pub fn new(options: &'a Options) -> Self {
        Self { options, loaded: OnceLock::new() }
    }

    /// Generates or lists everything, for all ranks of this process.
    pub fn load(&self) -> anyhow::Result<()> {
        self.loaded().map(drop)
    }

    fn loaded(&self) -> anyhow::Result<&Loaded> {
        match self.loaded.get_or_init(|| self.read().map_err(|error| error.to_string())) {
            Ok(loaded) => Ok(loaded),
            Err(error) => bail!("{error}"),
        }
    }

    fn read(&self) -> anyhow::Result<Loaded> {
        if let Some(folder) = &self.options.data {
            return self.files(folder);
        }
        let Options { train_samples, test_samples, classes, training, .. } = self.options;
        let classes = classes.unwrap_or(10);
        let [n_train, n_test] =
            [train_samples.unwrap_or(500), test_samples.unwrap_or(200)].map(|n| n.div_ceil(classes.max(1)));
        let Textures { train, test } = textures::generated(training.seed, n_train, n_test, classes)?;
        Ok(Loaded { sets: [Arc::new(train), Arc::new(test)], broken: Vec::new() })
    }

    /// The pictures of a folder without the broken ones; all are decoded once to find these.
    fn files(&self, folder: &Path) -> anyhow::Result<Loaded> {
        let Options { train_samples, test_samples, skip_broken, dry_run, .. } = self.options;
        let TinyImageNet { mut train, mut test } = TinyImageNet::open(folder)?;
        let (threads, mut broken) = (available_parallelism().map_or(1, usize::from), Vec::new());
        for (set, n) in [(&mut train, train_samples), (&mut test, test_samples)] {
            if let Some(n) = n {
                set.limit(n.div_ceil(set.classes().len()));
            }
            if !dry_run {
                broken.extend(set.check(threads));
            }
        }
        match broken.first() {
            Some(first) if broken.len() > skip_broken.unwrap_or(0) => {
                let n = broken.len();
                bail!("{first}; broken pictures in all: {n}, which --skip-broken {n} leaves out")
            }
            _ => Ok(Loaded { sets: [Arc::new(train), Arc::new(test)], broken }),
        }
    }

    /// Prints which pictures are left out, on a rank that has them.
    pub fn report(&self) -> anyhow::Result<()> {
        let broken = &self.loaded()?.broken;
        for picture in broken {
            println!("left out: {picture}");
        }
        if !broken.is_empty() {
            println!("left out in all: {}", broken.len());
        }
        Ok(())
    }

    /// The sizes, which the first rank of `world` finds out for all.
    pub fn sizes(&self, world: &Communicator) -> anyhow::Result<Sizes> {
        let known = if world.rank() == 0 {
            let [train, test] = &self.loaded()?.sets;
            Some([train.len(), test.len(), train.classes().len()].map(|n| n as u64).to_vec())
        } else {
            None
        };
        let sizes: Vec<usize> = world.broadcast(0, known, &())?.iter().map(|n| *n as usize).collect();
        let [train, test, classes] = sizes[..] else {
            bail!("rank 0 sent {} sizes of the data, expected 3", sizes.len());
        };
        ensure!(train > 0 && test > 0, "{train} training and {test} test pictures: at least 1 of each is needed");
        Ok(Sizes { n: [train, test], classes })
    }

    /// Both sets as a rank of `mesh` needs them. The first layer ranks decode and feed pictures, the last ones classes; the
    /// ranks between them read nothing.
    pub fn samples(&self, mesh: &Mesh, sizes: &Sizes, device: &Device) -> anyhow::Result<[PictureSamples; 2]> {
        let (is_first, is_last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
        let loaded = if is_first || is_last { Some(self.loaded()?) } else { None };
        let mut samples = sizes.n.map(|n| Samples { n, inputs: None, targets: None });
        let sets = loaded.into_iter().flat_map(|loaded| &loaded.sets);
        for ((samples, set), augments) in samples.iter_mut().zip(sets).zip([!self.options.no_augment, false]) {
            samples.inputs = is_first.then(|| inputs(set, augments, device));
            samples.targets = is_last.then(|| classes(set, device));
        }
        Ok(samples)
    }
}
