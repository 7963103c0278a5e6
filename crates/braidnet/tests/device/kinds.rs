//! Small networks of every kind, and batches for them.

use std::ops::Range;

use braidnet::nn::{NormKind, Pooling};
use braidnet::prelude::*;
use braidnet::train::CastState;

/// Samples of a batch.
pub const SAMPLES: usize = 3;
/// The longest coarse step, for initialisations that ask for it.
const RUN: usize = 2;
const SEED: u64 = 3;

/// A kind of network with all its sizes.
pub trait Kind: Sync {
    type Net: Network<State: CastState>;

    fn grid(&self) -> TimeGrid;
    /// The layers `range`, as the solver counts.
    fn part(&self, range: Range<usize>, device: &Device) -> Self::Net;
    /// Inputs of batch `n`, and the classes of all rows of the output.
    fn batch(&self, n: usize, device: &Device) -> (<Self::Net as Network>::Input, Tensor<1, Int>);
}

/// Something to check of every kind.
pub trait Check {
    fn check<K: Kind>(&self, what: &str, kind: &K);
}

/// Convolutions; a head tied to the embedding, and layers at the ends that the solver does not count; parameters that all layers
/// share; running statistics, and layers of several widths.
pub fn for_every_kind(check: &impl Check) {
    check.check("convolutions", &convolutions());
    let decoder = TransformerConfig {
        heads: 2,
        tied: true,
        buffer: 1,
        coarse: CoarseOperator::FirstLayer,
        depth_init: DepthInit::Independent,
        ..TransformerConfig::decoder(6, 8, 9)
    };
    check.check("decoder", &decoder);
    let gru = GruConfig { final_time: 3.2, coarse_parts: 1, ..GruConfig::new(4, 3, 6, 2, 4) };
    check.check("gru", &gru);
    let blocks = BlockNetConfig {
        image: [1, 6, 6],
        norm: Some(NormKind::Batch),
        // A mean, as the largest of numbers that round to the same may be another one.
        pooling: Pooling::Average,
        coarse: CoarseOperator::FirstLayer,
        depth_init: DepthInit::Independent,
        ..BlockNetConfig::new(vec![3, 2], 2)
    };
    check.check("blocks", &blocks);
}

/// Layers of two convolutions.
pub fn convolutions() -> OdeNet2dConfig {
    let depth_init = DepthInit::Independent;
    OdeNet2dConfig { image: [1, 6, 6], hidden: 8, depth_init, ..OdeNet2dConfig::new(8, 2) }
}

/// Numbers between -1 and 1 that depend on `seed`.
pub fn numbers<const D: usize>(shape: [usize; D], seed: usize, device: &Device) -> Tensor<D> {
    let value = |i: usize| ((7 * i + 29 * seed) as f32 * 0.37).sin();
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Classes or tokens below `below` that depend on `seed`.
fn ids<const D: usize>(shape: [usize; D], seed: usize, below: usize, device: &Device) -> Tensor<D, Int> {
    let id = |i: usize| ((5 * i * i + 3 * i + 7 * seed) % below) as i64;
    let values: Vec<i64> = (0..shape.iter().product()).map(id).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

impl Kind for OdeNet2dConfig {
    type Net = OdeNet2d;

    fn grid(&self) -> TimeGrid {
        self.grid().unwrap()
    }

    fn part(&self, range: Range<usize>, device: &Device) -> OdeNet2d {
        self.init(range, RUN, SEED, device).unwrap()
    }

    fn batch(&self, n: usize, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let [channels, rows, columns] = self.image;
        let images = numbers([SAMPLES, channels, rows, columns], n, device);
        (images, ids([SAMPLES], n, self.classes, device))
    }
}

impl Kind for BlockNetConfig {
    type Net = BlockNet;

    fn grid(&self) -> TimeGrid {
        self.grid().unwrap()
    }

    fn part(&self, range: Range<usize>, device: &Device) -> BlockNet {
        self.init(range, RUN, SEED, device).unwrap()
    }

    fn batch(&self, n: usize, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let [channels, rows, columns] = self.image;
        let images = numbers([SAMPLES, channels, rows, columns], n, device);
        (images, ids([SAMPLES], n, self.classes, device))
    }
}

impl Kind for TransformerConfig {
    type Net = Transformer;

    fn grid(&self) -> TimeGrid {
        self.grid().unwrap()
    }

    fn part(&self, range: Range<usize>, device: &Device) -> Transformer {
        self.init(range, RUN, SEED, device).unwrap()
    }

    fn batch(&self, n: usize, device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
        const LENGTH: usize = 5;
        let tokens = ids([SAMPLES, LENGTH], n, self.vocabulary, device);
        (tokens, ids([SAMPLES * LENGTH], n + 1, self.classes, device))
    }
}

impl Kind for GruConfig {
    type Net = GruNet;

    fn grid(&self) -> TimeGrid {
        self.grid().unwrap()
    }

    fn part(&self, range: Range<usize>, device: &Device) -> GruNet {
        self.init(range, SEED, device).unwrap()
    }

    fn batch(&self, n: usize, device: &Device) -> (Sequences, Tensor<1, Int>) {
        let features = numbers([SAMPLES, self.length, self.inputs.width()], n, device);
        (features.into(), ids([SAMPLES], n, self.classes, device))
    }
}
