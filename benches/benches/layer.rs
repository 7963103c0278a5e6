//! One layer: forward, linearise, pullback, pullback with gradients; 28x28, batch 50.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use benches::BATCH;
use braidnet::comm::keep_freed_memory;
use braidnet::grid::{Coarsening, Hierarchy};
use braidnet::mgrit::{Differentiable, Linearization, Output, Propagator};
use braidnet::nn::{Samples, TensorState};
use braidnet::prelude::*;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn layer(c: &mut Criterion) {
    keep_freed_memory();
    for channels in [3, 4, 12] {
        let config = OdeNet2dConfig::new(4, channels);
        let network = config.init(0..4, 1, 0, &Device::flex()).unwrap();
        let hierarchy = Hierarchy::new(&config.grid().unwrap(), &Coarsening::none()).unwrap();
        let step = hierarchy.finest().step(1);
        let values: Vec<f32> = (0..BATCH * channels * 784).map(|i| (i as f32 * 0.11).sin()).collect();
        let data = TensorData::new(values, [BATCH, channels, 28, 28]);
        let u = TensorState(Tensor::<4>::from_data(data, &Device::flex()));
        let samples = Samples { n: BATCH, is_training: true };
        let block = network.block(&samples);
        let tape = || block.linearize(&step, &mut u.clone(), Output::Used).unwrap();

        let mut group = c.benchmark_group(format!("layer, conv 3x3 twice, {channels} channels"));
        group.sample_size(20);
        group.bench_function("forward", |b| {
            b.iter(|| block.step(std::slice::from_ref(&step), std::slice::from_mut(&mut u.clone())).unwrap());
        });
        group.bench_function("linearise", |b| b.iter(|| black_box(tape())));
        let fixed = tape();
        group.bench_function("pullback", |b| b.iter(|| fixed.pullback(&step, &mut u.clone()).unwrap()));
        group.bench_function("pullback with gradients", |b| {
            b.iter_batched(
                tape,
                |tape| tape.pullback_with_gradients(&step, &mut u.clone(), Output::Used).unwrap()().unwrap(),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, layer);
criterion_main!(benches);
