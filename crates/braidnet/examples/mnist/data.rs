//! The digits, read once per process and only by ranks that need them.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::bail;
use braidnet::data::DataError;
use braidnet::data::mnist::Part;
use braidnet::prelude::*;

use crate::Options;

/// Training and test set.
type Sets = [Arc<ImageSet>; 2];
type Loaded = OnceLock<Result<Sets, String>>;

/// Images with their classes.
pub type DigitSamples = Samples<Tensor<4>, Tensor<1, Int>>;

/// Where images and labels come from.
pub struct Data<'a> {
    options: &'a Options,
    images: Loaded,
    labels: Loaded,
}

/// Sizes that every rank must know.
pub struct Sizes {
    /// Training and test samples.
    pub n: [usize; 2],
    pub rows: usize,
    pub cols: usize,
}

impl<'a> Data<'a> {
    pub fn new(options: &'a Options) -> Self {
        Self { options, images: OnceLock::new(), labels: OnceLock::new() }
    }

    /// Generates or reads everything, for all ranks of this process.
    pub fn load_all(&self) -> anyhow::Result<()> {
        let split = match &self.options.data {
            None => self.generate(),
            Some(folder) => mnist::load(folder)?,
        };
        let sets = self.cut([split.train, split.test])?;
        let _ = self.images.set(Ok(sets.clone()));
        let _ = self.labels.set(Ok(sets));
        Ok(())
    }

    fn generate(&self) -> Split {
        let Options { train_samples, test_samples, training, .. } = self.options;
        let (n_train, n_test) = (train_samples.unwrap_or(5000), test_samples.unwrap_or(1000));
        DigitsConfig { n_train, n_test, seed: training.seed }.generate()
    }

    /// The sets, read by `read` unless they are there.
    fn sets<'b>(
        &self,
        loaded: &'b Loaded,
        read: fn(&Path, Part) -> Result<ImageSet, DataError>,
    ) -> anyhow::Result<&'b Sets> {
        let load = || match &self.options.data {
            None => {
                let Split { train, test } = self.generate();
                self.cut([train, test])
            }
            Some(folder) => self.cut([read(folder, Part::Train)?, read(folder, Part::Test)?]),
        };
        match loaded.get_or_init(|| load().map_err(|error: DataError| error.to_string())) {
            Ok(sets) => Ok(sets),
            Err(error) => bail!("{error}"),
        }
    }

    fn cut(&self, [train, test]: [ImageSet; 2]) -> Result<Sets, DataError> {
        let train = first(train, self.options.train_samples)?;
        Ok([train, first(test, self.options.test_samples)?].map(Arc::new))
    }

    /// Training and test samples as a rank of `mesh` needs them, and the sizes. The first layer ranks read and feed images, the
    /// last ones labels; the ranks between them read nothing.
    pub fn samples(&self, mesh: &Mesh, device: &Device) -> anyhow::Result<([DigitSamples; 2], Sizes)> {
        let (is_first, is_last) = (mesh.layer_rank() == 0, mesh.layer_rank() + 1 == mesh.shape().layer_ranks);
        let images_of = if is_first { Some(self.sets(&self.images, mnist::load_images)?) } else { None };
        let labels_of = if is_last { Some(self.sets(&self.labels, mnist::load_labels)?) } else { None };
        let sizes = images_of.map(|[train, test]| [train.len(), test.len(), train.rows(), train.cols()]);
        let sizes = mesh.world().broadcast(0, sizes.map(|sizes| sizes.map(|n| n as u64).to_vec()), &())?;
        let [n_train, n_test, rows, cols] = sizes.iter().map(|n| *n as usize).collect::<Vec<_>>()[..] else {
            bail!("rank 0 sent {} sizes of the data, expected 4", sizes.len());
        };
        let samples = |at: usize, n| {
            let inputs = images_of.map(|sets| images(Arc::clone(&sets[at]), device));
            let targets = labels_of.map(|sets| labels(Arc::clone(&sets[at]), device));
            Samples { n, inputs, targets }
        };
        Ok(([samples(0, n_train), samples(1, n_test)], Sizes { n: [n_train, n_test], rows, cols }))
    }
}

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
