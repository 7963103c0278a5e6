//! Samples for every network, each by its number.

use braidnet::data::pictures::{self, Pictures};
use braidnet::data::voxels::VoxelSet;
use braidnet::data::{DataError, solids, textures};
use braidnet::prelude::*;

use crate::{Batch, SamplesFn};

/// Words in a sentence.
pub const SENTENCE: usize = 64;
/// Classes of a word.
pub const WORD_CLASSES: usize = 49;

fn targets(classes: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let shape = [classes.len()];
    Tensor::from_data(TensorData::new(classes, shape), device)
}

fn inputs<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Images of 28x28 with a sine over the pixels of all of them, and ten classes in turn.
pub fn waves(n: usize, device: &Device) -> SamplesFn<Tensor<4>> {
    let device = device.clone();
    Box::new(move |range| {
        let size = range.len();
        let pixels = range.clone().flat_map(|i| (i % n * 784..).take(784)).map(|p| (p as f32 * 0.37).sin());
        let input = inputs(pixels.collect(), [size, 1, 28, 28], &device);
        Batch { size, input, target: targets(range.map(|i| (i % n % 10) as i64).collect(), &device) }
    })
}

/// Sentences of words drawn by a generator, and classes of the words that depend on two of them.
pub fn sentences(n: usize, device: &Device) -> SamplesFn<Tensor<2, Int>> {
    let sentence = |i: usize| -> Vec<i64> {
        let mut state = i as u64 + 1;
        let word = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i64 % 60
        };
        (0..SENTENCE).map(word).collect()
    };
    let device = device.clone();
    Box::new(move |range| {
        let size = range.len();
        let words: Vec<Vec<i64>> = range.map(|i| sentence(i % n)).collect();
        let classes = |words: &Vec<i64>| -> Vec<i64> {
            let before = std::iter::once(&0).chain(words);
            words.iter().zip(before).map(|(word, before)| (word + before % 3) % WORD_CLASSES as i64).collect()
        };
        let target = targets(words.iter().flat_map(classes).collect(), &device);
        let input = Tensor::from_data(TensorData::new(words.concat(), [size, SENTENCE]), &device);
        Batch { size, input, target }
    })
}

/// Windows of generated motion.
pub fn windows(length: usize, n: usize, device: &Device) -> SamplesFn<Sequences> {
    use braidnet::data::motion::{CHANNELS, generated};
    let set = generated(0, n, 1, length).train;
    let device = device.clone();
    Box::new(move |range| {
        let (size, each) = (range.len(), length * CHANNELS);
        let of = |i: usize| set.signals[i % n * each..(i % n + 1) * each].iter().copied();
        let input = inputs(range.clone().flat_map(of).collect(), [size, length, CHANNELS], &device);
        let target = targets(range.map(|i| i64::from(set.labels[i % n])).collect(), &device);
        Batch { size, input: input.into(), target }
    })
}

/// Generated pictures of 64x64.
///
/// # Errors
/// Classes that there are not.
pub fn pictures(classes: usize, n: usize, device: &Device) -> Result<SamplesFn<Tensor<4>>, TrainError> {
    let set = textures::generated(0, n.div_ceil(classes), 0, classes).map_err(failed)?.train;
    let device = device.clone();
    Ok(Box::new(move |range| {
        let shape = [range.len(), pictures::CHANNELS, pictures::SIDE, pictures::SIDE];
        let pixels = range.clone().flat_map(|i| set.picture(i % n)).map(|byte| f32::from(*byte) / 127.5 - 1.0);
        let input = inputs(pixels.collect(), shape, &device);
        Batch { size: range.len(), input, target: targets(range.map(|i| set.label(i % n) as i64).collect(), &device) }
    }))
}

/// Generated solids, `side` voxels along an edge.
///
/// # Errors
/// A side that cannot be.
pub fn solids(side: usize, n: usize, device: &Device) -> Result<SamplesFn<Tensor<5>>, TrainError> {
    let set = solids::generated(0, n.div_ceil(solids::CLASSES), 0, side).map_err(failed)?.train;
    let voxels: Vec<Vec<u8>> = (0..n).map(|i| set.voxels(i)).collect::<Result<_, _>>().map_err(failed)?;
    let device = device.clone();
    Ok(Box::new(move |range| {
        let values = range.clone().flat_map(|i| voxels[i % n].iter()).map(|voxel| f32::from(*voxel));
        let input = inputs(values.collect(), [range.len(), 1, side, side, side], &device);
        Batch { size: range.len(), input, target: targets(range.map(|i| set.label(i % n) as i64).collect(), &device) }
    }))
}

fn failed(error: DataError) -> TrainError {
    TrainError::BadTarget { reason: error.to_string() }
}
