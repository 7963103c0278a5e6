//! Networks: parameters by global layer, initialisation, loading, bad input.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use braidnet_nn::{DepthInit, NetworkError, OdeNet2d, OdeNet2dConfig, OpeningKind};
use burn::tensor::Device;

type Values = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn config(depth_init: DepthInit) -> OdeNet2dConfig {
    OdeNet2dConfig { image: [1, 6, 6], depth_init, ..OdeNet2dConfig::new(8, 3) }
}

fn values(network: &OdeNet2d) -> Values {
    let mut all = Values::new();
    network.visit_parameters(|p| {
        let flat = p.to_torch_layout(p.values.clone()).to_data().iter::<f32>().collect();
        all.insert(p.name, (p.shape, flat));
    });
    all
}

fn init(config: &OdeNet2dConfig, range: std::ops::Range<usize>) -> Values {
    values(&config.init(range, 4, 7, &Device::flex()).unwrap())
}

const PIECEWISE: DepthInit = DepthInit::Piecewise { period: None, noise: 0.0 };

#[test]
fn parameters_depend_on_the_global_layer_not_on_the_part() {
    for depth_init in [DepthInit::Independent, PIECEWISE, DepthInit::Piecewise { period: Some(3), noise: 0.3 }] {
        let config = config(depth_init);
        let whole = init(&config, 0..8);
        let mut parts = init(&config, 0..3);
        parts.extend(init(&config, 3..4));
        parts.extend(init(&config, 4..8));
        assert_eq!(whole, parts, "{depth_init}");
        assert!(whole.contains_key("layers.00007.conv2.weight") && whole.contains_key("open.bias"));
        assert_eq!(whole["close.fc1.weight"].0, [32, 3 * 36]);
    }
}

#[test]
fn layers_outside_the_solver_have_the_names_and_values_that_they_have_inside() {
    let config = config(DepthInit::Piecewise { period: Some(3), noise: 0.3 });
    let whole = init(&config, 0..8);
    for buffer in [1, 2, 3] {
        let buffered = OdeNet2dConfig { buffer, ..config.clone() };
        let solved = 8 - 2 * buffer;
        assert_eq!(buffered.grid().unwrap().n_steps(), solved);
        let mut parts = init(&buffered, 0..1);
        assert!(parts.contains_key("layers.00000.conv1.weight") && parts.contains_key("open.weight"));
        for layer in 1..solved {
            let part = init(&buffered, layer..layer + 1);
            assert!(part.keys().all(|name| !parts.contains_key(name)), "layer {layer}");
            parts.extend(part);
        }
        assert_eq!(whole, parts, "buffer {buffer}");
    }
}

fn distance(all: &Values, a: usize, b: usize) -> f32 {
    let of = |n: usize| &all[&format!("layers.{n:05}.conv1.weight")].1;
    of(a).iter().zip(of(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn piecewise_layers_are_equal_within_a_run_only() {
    let all = init(&config(PIECEWISE), 0..8);
    assert_eq!(distance(&all, 0, 3), 0.0);
    assert!(distance(&all, 3, 4) > 0.01);
    let noisy = init(&config(DepthInit::Piecewise { period: None, noise: 0.1 }), 0..8);
    let apart = distance(&noisy, 0, 3);
    assert!(apart > 0.001 && apart < 0.2 * distance(&noisy, 3, 4), "{apart}");
    let independent = init(&config(DepthInit::Independent), 0..8);
    let loud = init(&config(DepthInit::Piecewise { period: None, noise: 1.0 }), 0..8);
    assert_eq!(independent, loud);
}

#[test]
fn parameters_have_the_usual_bounds() {
    let all = init(&config(DepthInit::Independent), 0..8);
    for (name, fan_in) in [("layers.00002.conv1", 27.0f32), ("close.fc1", 108.0), ("open", 9.0)] {
        for kind in ["weight", "bias"] {
            let largest = all[&format!("{name}.{kind}")].1.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(largest <= fan_in.sqrt().recip(), "{name}.{kind}: {largest}");
            assert!(largest > 0.3 * fan_in.sqrt().recip(), "{name}.{kind}: {largest}");
        }
    }
}

#[test]
fn loading_restores_every_parameter() {
    let config = config(DepthInit::Independent);
    let saved = init(&config, 0..8);
    let other = config.init(0..8, 4, 8, &Device::flex()).unwrap();
    assert_ne!(values(&other), saved);
    let loaded = other.load(|name| saved.get(name).cloned()).unwrap();
    assert_eq!(values(&loaded), saved);
}

#[test]
fn missing_and_misshapen_parameters_are_named() {
    let config = config(DepthInit::Independent);
    let mut saved = init(&config, 0..8);
    let fresh = || config.init(0..8, 4, 8, &Device::flex()).unwrap();
    saved.get_mut("close.fc1.weight").unwrap().0.reverse();
    let error = fresh().load(|name| saved.get(name).cloned()).unwrap_err();
    assert!(matches!(error, NetworkError::WrongShape { ref name, .. } if name == "close.fc1.weight"), "{error}");
    saved.remove("layers.00003.conv2.bias");
    let error = fresh().load(|name| saved.get(name).cloned()).unwrap_err();
    assert_eq!(error, NetworkError::MissingParameter { name: "layers.00003.conv2.bias".to_owned() });
}

#[test]
fn impossible_networks_are_refused() {
    let good = config(DepthInit::Independent);
    let refused = |config: OdeNet2dConfig| config.validate().unwrap_err().to_string();
    assert!(refused(OdeNet2dConfig { layers: 0, ..good.clone() }).contains("number of layers is 0"));
    assert!(refused(OdeNet2dConfig { channels: 0, ..good.clone() }).contains("number of channels is 0"));
    assert!(refused(OdeNet2dConfig { convs: 3, ..good.clone() }).contains("is 3: use 1 or 2"));
    assert!(refused(OdeNet2dConfig { final_time: f64::NAN, ..good.clone() }).contains("final time is NaN"));
    let repeat = OdeNet2dConfig { image: [2, 6, 6], opening: OpeningKind::Repeat, ..good.clone() };
    assert!(refused(repeat).contains("cannot repeat 2 input channels to 3"));
    let noise = DepthInit::Piecewise { period: None, noise: 1.5 };
    assert!(refused(OdeNet2dConfig { depth_init: noise, ..good.clone() }).contains("noise"));
    for buffer in [4, 9, usize::MAX] {
        let buffered = OdeNet2dConfig { buffer, ..good.clone() };
        assert!(buffered.grid().is_err());
        assert!(refused(buffered).contains(&format!("{buffer} buffer layers at either end leave none of 8")));
    }
    let period = DepthInit::Piecewise { period: Some(0), noise: 0.0 };
    assert!(refused(OdeNet2dConfig { depth_init: period, ..good }).contains("period"));
}
