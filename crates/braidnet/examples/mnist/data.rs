//! The digits, read once per process and only by ranks that need them.

use std::sync::{Arc, OnceLock};

use anyhow::bail;
use braidnet::data::DataError;
use braidnet::prelude::*;

use crate::Options;

type Loaded<T> = OnceLock<Result<T, String>>;

/// Images and labels of both sets.
pub struct Data<'a> {
    options: &'a Options,
    split: Loaded<[Arc<ImageSet>; 2]>,
}

/// Sizes that every rank must know: training and test samples, rows, columns, classes.
pub type Sizes = [usize; 5];

impl<'a> Data<'a> {
    pub fn new(options: &'a Options) -> Self {
        Self { options, split: OnceLock::new() }
    }

    /// Reads or generates everything.
    pub fn load_all(&self) -> anyhow::Result<&[Arc<ImageSet>; 2]> {
        let load = || self.load().map(|split| [split.train, split.test].map(Arc::new)).map_err(|e| format!("{e:#}"));
        match self.split.get_or_init(load) {
            Ok(split) => Ok(split),
            Err(error) => bail!("{error}"),
        }
    }

    fn load(&self) -> Result<Split, DataError> {
        let options = self.options;
        let Some(folder) = &options.data else {
            let (n_train, n_test) = (options.train_samples.unwrap_or(5000), options.test_samples.unwrap_or(1000));
            return Ok(DigitsConfig { n_train, n_test, seed: options.training.seed }.generate());
        };
        let Split { train, test } = mnist::load(folder)?;
        Ok(Split { train: first(train, options.train_samples)?, test: first(test, options.test_samples)? })
    }

    /// Training and test samples as a rank of `mesh` needs them, and the sizes. The first layer ranks feed images, the last ones
    /// labels; the ranks between them read nothing.
    pub fn samples(&self, mesh: &Mesh, device: &Device) -> anyhow::Result<([DigitSamples; 2], Sizes)> {
        let (is_first, is_last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
        let split = if is_first || is_last { Some(self.load_all()?) } else { None };
        let sizes = split.map(|[train, test]| [train.len(), test.len(), train.rows(), train.cols(), train.classes()]);
        let sizes = mesh.world().broadcast(0, sizes.map(|sizes| sizes.map(|n| n as u64).to_vec()), &())?;
        let [n_train, n_test, rows, cols, classes] = sizes.iter().map(|n| *n as usize).collect::<Vec<_>>()[..] else {
            bail!("rank 0 sent {} sizes of the data, expected 5", sizes.len());
        };
        let samples = |at: usize, n| {
            let set = split.map(|split| Arc::clone(&split[at]));
            let inputs = set.clone().filter(|_| is_first).map(|set| images(set, device));
            let targets = set.filter(|_| is_last).map(|set| labels(set, device));
            Samples { n, inputs, targets }
        };
        Ok(([samples(0, n_train), samples(1, n_test)], [n_train, n_test, rows, cols, classes]))
    }
}

/// Images with their classes.
pub type DigitSamples = Samples<Tensor<4>, Tensor<1, Int>>;

fn images(set: Arc<ImageSet>, device: &Device) -> Feed<Tensor<4>> {
    let (device, rows, cols) = (device.clone(), set.rows(), set.cols());
    Feed::new(InMemory(Images(set)), move |images: Vec<Vec<f32>>| {
        let n = images.len();
        Tensor::from_data(TensorData::new(images.concat(), [n, 1, rows, cols]), &device)
    })
}

fn labels(set: Arc<ImageSet>, device: &Device) -> Feed<Tensor<1, Int>> {
    let device = device.clone();
    Feed::new(InMemory(Labels(set)), move |labels: Vec<i64>| {
        let n = labels.len();
        Tensor::from_data(TensorData::new(labels, [n]), &device)
    })
}

/// The first `n` images of a set, or all.
fn first(set: ImageSet, n: Option<usize>) -> Result<ImageSet, DataError> {
    match n {
        Some(n) if n < set.len() => {
            let pixels = (0..n).flat_map(|i| set.image(i).iter().copied()).collect();
            let labels = (0..n).map(|i| set.label(i)).collect();
            ImageSet::new(pixels, set.rows(), set.cols(), labels, set.classes())
        }
        _ => Ok(set),
    }
}
