//! From pictures to what the network takes, on the loader's thread.

use std::sync::Arc;

use braidnet::data::pictures::{Augmentation, CHANNELS, Normalisation, Pictures, SIDE};
use braidnet::prelude::*;
use braidnet::train::data::{LoadError, Order, Reader, Source};
use burn_dataset::InMemDataset;

/// Pictures by their index.
type Indices = InMemory<InMemDataset<usize>>;

/// Normalised pictures, which are decoded when they are wanted.
struct Decoded {
    pictures: Arc<dyn Pictures>,
    indices: Indices,
    augments: bool,
}

/// Those of an epoch.
struct DecodedReader<'a> {
    pictures: &'a dyn Pictures,
    indices: Box<dyn Reader<usize> + Send + 'a>,
    /// Seed and epoch of random crops and flips.
    augmented: Option<(u64, u64)>,
}

/// A feed of pictures; with `augments`, cropped and flipped anew in every epoch of training, never in evaluations.
pub fn inputs(pictures: &Arc<dyn Pictures>, augments: bool, device: &Device) -> Feed<Tensor<4>> {
    let (pictures, device) = (Arc::clone(pictures), device.clone());
    let indices = indices(pictures.as_ref());
    Feed::new(Decoded { pictures, indices, augments }, move |pictures: Vec<Vec<f32>>| {
        let shape = [pictures.len(), CHANNELS, SIDE, SIDE];
        Tensor::from_data(TensorData::new(pictures.concat(), shape), &device)
    })
}

/// A feed of their classes.
pub fn classes(pictures: &Arc<dyn Pictures>, device: &Device) -> Feed<Tensor<1, Int>> {
    let (pictures, device) = (Arc::clone(pictures), device.clone());
    Feed::new(indices(pictures.as_ref()), move |indices: Vec<usize>| {
        let labels: Vec<i64> = indices.iter().map(|index| pictures.label(*index) as i64).collect();
        Tensor::from_data(TensorData::new(labels, [indices.len()]), &device)
    })
}

fn indices(pictures: &dyn Pictures) -> Indices {
    InMemory(InMemDataset::new((0..pictures.len()).collect()))
}

impl Source<Vec<f32>> for Decoded {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn epoch<'a>(&'a self, order: Order) -> Result<Box<dyn Reader<Vec<f32>> + Send + 'a>, LoadError> {
        let augmented = match order {
            Order::Shuffled { seed, epoch } if self.augments => Some((seed, epoch)),
            _ => None,
        };
        let indices = self.indices.epoch(order)?;
        Ok(Box::new(DecodedReader { pictures: self.pictures.as_ref(), indices, augmented }))
    }
}

impl Reader<Vec<f32>> for DecodedReader<'_> {
    fn skip(&mut self, n: usize) -> Result<(), LoadError> {
        self.indices.skip(n)
    }

    fn read(&mut self, n: usize, out: &mut Vec<Vec<f32>>) -> Result<(), LoadError> {
        let mut chosen = Vec::with_capacity(n);
        self.indices.read(n, &mut chosen)?;
        for index in chosen {
            let bytes = self.pictures.decode(index);
            let bytes = bytes.map_err(|source| LoadError::Sample { index, source: Box::new(source) })?;
            let varied = |(seed, epoch)| Augmentation::random(seed, epoch, index as u64).apply(&bytes);
            let bytes = self.augmented.map(varied).unwrap_or(bytes);
            out.push(Normalisation::default().apply(&bytes));
        }
        Ok(())
    }
}
