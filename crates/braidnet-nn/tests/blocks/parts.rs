//! Parameters of networks of blocks: by global layer, whatever the part; initial values.

use std::collections::BTreeMap;
use std::ops::Range;

use braidnet_nn::{BlockNetConfig, DepthInit, NormKind};

use crate::*;

type Values = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

const NOISY: DepthInit = DepthInit::Piecewise { period: Some(2), noise: 0.3 };

/// Layers `o o o o o t o o o o t o o`.
fn config(depth_init: DepthInit) -> BlockNetConfig {
    BlockNetConfig { image: [3, 8, 8], classes: 5, depth_init, ..BlockNetConfig::new(vec![5, 4, 2], 2) }
}

fn init(config: &BlockNetConfig, range: Range<usize>) -> Values {
    let mut all = Values::new();
    config.init(range, 3, 7, &Device::flex()).unwrap().visit_parameters(|p| {
        let flat = p.to_torch_layout(p.values.clone()).to_data().iter::<f32>().collect();
        assert!(all.insert(p.name, (p.shape, flat)).is_none());
    });
    all
}

#[test]
fn parts_have_the_parameters_of_the_whole() {
    for depth_init in [DepthInit::Independent, NOISY, DepthInit::Piecewise { period: None, noise: 0.0 }] {
        for norm in [None, Some(NormKind::Batch), Some(NormKind::Group(1))] {
            let config = BlockNetConfig { norm, ..config(depth_init) };
            let whole = init(&config, 0..13);
            let mut parts = Values::new();
            for range in [0..2, 2..5, 5..6, 6..11, 11..13] {
                let part = init(&config, range);
                assert!(part.keys().all(|name| !parts.contains_key(name)));
                parts.extend(part);
            }
            assert_eq!(whole, parts, "{depth_init}, {norm:?}");
            for buffer in [1, 6] {
                let buffered = BlockNetConfig { buffer, ..config.clone() };
                assert_eq!(init(&buffered, 0..13 - 2 * buffer), whole, "{depth_init}, {norm:?}, buffer {buffer}");
            }
        }
    }
}

#[test]
fn names_and_shapes() {
    let all = init(&config(NOISY), 0..13);
    let shape = |name: &str| all[name].0.clone();
    assert_eq!(shape("open.conv.weight"), [2, 3, 3, 3]);
    assert_eq!(shape("open.norm.running_var"), [2]);
    assert_eq!(shape("layers.00004.conv2.weight"), [2, 2, 3, 3]);
    assert_eq!(shape("layers.00005.conv.weight"), [4, 2, 3, 3]);
    assert_eq!(shape("layers.00005.norm.bias"), [4]);
    assert_eq!(shape("layers.00006.norm2.running_mean"), [4]);
    assert_eq!(shape("layers.00010.conv.weight"), [8, 4, 3, 3]);
    assert_eq!(shape("layers.00012.conv1.weight"), [8, 8, 3, 3]);
    assert_eq!(shape("close.fc.weight"), [5, 8]);
    assert!(all.keys().filter(|name| name.contains("conv")).all(|name| !name.ends_with("bias")));
    let without = init(&BlockNetConfig { norm: None, ..config(NOISY) }, 0..13);
    assert!(without.contains_key("open.bias") && without.contains_key("layers.00006.conv2.bias"));
    assert!(!without.contains_key("layers.00005.conv.bias"), "transitions have none");
    assert!(without.keys().all(|name| !name.contains("norm")));
}

#[test]
fn norms_begin_as_they_should() {
    for (name, (_, values)) in init(&config(NOISY), 0..13) {
        let expected = match name.rsplit('.').next().unwrap() {
            "weight" if name.contains("norm") => 1.0,
            "bias" if name.contains("norm") => 0.0,
            "running_mean" => 0.0,
            "running_var" => 1.0,
            _ => continue,
        };
        assert!(values.iter().all(|value| *value == expected), "{name}");
    }
}

/// Largest difference between the first convolutions of two layers.
fn distance(all: &Values, a: usize, b: usize) -> f32 {
    let of = |n: usize| &all[&format!("layers.{n:05}.conv1.weight")].1;
    of(a).iter().zip(of(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Whether each layer begins a run, by neighbours within a block.
fn changes(all: &Values, block: Range<usize>) -> Vec<bool> {
    block.clone().skip(1).map(|n| distance(all, n - 1, n) > 0.0).collect()
}

#[test]
fn runs_begin_anew_in_every_block() {
    let runs = |period| init(&config(DepthInit::Piecewise { period, noise: 0.0 }), 0..13);
    let twos = runs(Some(2));
    assert_eq!(changes(&twos, 0..5), [false, true, false, true]);
    assert_eq!(changes(&twos, 6..10), [false, true, false]);
    assert_eq!(changes(&twos, 11..13), [false]);
    // The longest coarse step, 3.
    let threes = runs(None);
    assert_eq!(changes(&threes, 0..5), [false, false, true, false]);
    assert_eq!(changes(&threes, 6..10), [false, false, true]);
    let long = runs(Some(100));
    assert_eq!([changes(&long, 0..5), changes(&long, 6..10)].concat(), [false; 7]);
}

/// Streams of one number would begin alike but for the bound, which is smaller by `sqrt(2)` where there are twice the channels.
#[test]
fn runs_of_different_blocks_differ() {
    for period in [Some(1), Some(100)] {
        let all = init(&config(DepthInit::Piecewise { period, noise: 0.0 }), 0..13);
        let first = |n: usize| all[&format!("layers.{n:05}.conv1.weight")].1[..4].to_vec();
        let scaled = |n: usize, scale: f32| first(n).iter().map(|x| x * scale).collect::<Vec<_>>();
        let pairs = [(0, 6, 2.0f32), (6, 11, 2.0), (0, 11, 4.0), (4, 6, 2.0)];
        for (a, b, ratio) in pairs {
            let apart = first(a).iter().zip(scaled(b, ratio.sqrt())).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart > 1e-3, "layers {a} and {b}: {apart}");
        }
    }
}

#[test]
fn noise_leaves_layers_of_a_run_alike() {
    let noisy = init(&config(DepthInit::Piecewise { period: Some(5), noise: 0.1 }), 0..13);
    let apart = distance(&noisy, 0, 4);
    let independent = init(&config(DepthInit::Independent), 0..13);
    assert!(apart > 1e-3 && apart < 0.5 * distance(&independent, 0, 4), "{apart}");
    let loud = init(&config(DepthInit::Piecewise { period: Some(5), noise: 1.0 }), 0..13);
    assert_eq!(loud, independent);
}

#[test]
fn parameters_can_be_loaded_statistics_with_them() {
    let saved = init(&config(NOISY), 0..13);
    let saved: Values = saved
        .into_iter()
        .map(|(name, (shape, values))| (name, (shape, values.into_iter().map(|x| x + 0.5).collect())))
        .collect();
    for range in [0..13, 4..7] {
        let mut n = 0;
        let network = config(NOISY).init(range, 3, 8, &Device::flex()).unwrap();
        network.load(|name| saved.get(name).cloned()).unwrap().visit_parameters(|p| {
            n += 1;
            assert_eq!(p.is_statistic, p.name.contains("running_"), "{}", p.name);
            let flat: Vec<f32> = p.to_torch_layout(p.values.clone()).to_data().iter::<f32>().collect();
            assert_eq!(flat, saved[&p.name].1, "{}", p.name);
        });
        assert!(n > 10);
    }
}
