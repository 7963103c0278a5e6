//! Layers in 16 bits: what is large, or small, in between, does not spoil what comes out.
#![allow(missing_docs, clippy::unwrap_used)]

use braidnet_kernels::Activation;
use braidnet_mgrit::{Output, Propagator};
use braidnet_nn::gru::{GruConfig, Sequences};
use braidnet_nn::transformer::TransformerConfig;
use braidnet_nn::{
    At, BlockNetConfig, Network, NormKind, Pass, RhsTape, RightHandSide, StateOf, TensorState, map_parameters,
};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};

fn numbers<const D: usize>(dims: [usize; D], size: f64) -> Tensor<D> {
    let values: Vec<f32> = (0..dims.iter().product()).map(|i| (i as f32 * 1.7).sin() * size as f32).collect();
    Tensor::from_data(TensorData::new(values, dims), &Device::flex())
}

/// A module whose parameters are rounded to f16, in f16 and in single precision.
fn pair<M: burn::module::Module>(module: &M) -> [M; 2] {
    let cast = |module: M, dtype| -> M {
        let all: Result<M, std::convert::Infallible> =
            map_parameters(module, "", |p| Ok(Some(p.values.clone().cast(dtype))));
        all.unwrap()
    };
    let low = cast(module.clone(), FloatDType::F16);
    [low.clone(), cast(low, FloatDType::F32)]
}

fn distance<const D: usize>(got: Tensor<D>, expected: Tensor<D>) -> f64 {
    let norm = |x: Tensor<D>| x.clone().mul(x).sum().into_scalar::<f64>().sqrt();
    norm(got.cast(FloatDType::F32) - expected.clone()) / norm(expected)
}

/// That `F(u)` and a pullback in f16 are those of single precision but for rounding.
fn agrees<R, const D: usize>(layer: &R, u: Tensor<D>, at: At<'_, braidnet_nn::BatchOf<R>>)
where
    R: RightHandSide,
    StateOf<R>: Into<TensorState<D>> + From<TensorState<D>>,
{
    let u = u.cast(FloatDType::F16);
    let [low, single] = pair(layer);
    let of = |layer: &R, u: Tensor<D>| {
        let (f, tape) = layer.linearize(TensorState(u.clone()).into(), at, Output::Used);
        let delta = TensorState(u.clone() / u.clone().abs().max().into_scalar::<f64>());
        let back = tape.pullback(delta.into()).unwrap();
        [f, back].map(|state| Into::<TensorState<D>>::into(state).0)
    };
    let single = of(&single, u.clone().cast(FloatDType::F32));
    for (got, expected) in of(&low, u).into_iter().zip(single) {
        let error = distance(got, expected);
        // Where rounding changes a sign, a ReLU jumps.
        assert!(error < 0.1, "{error}");
    }
}

#[test]
fn large_states_survive_layer_norm_and_activations() {
    for activation in [Activation::Gelu, Activation::GeluTanh] {
        let config = TransformerConfig {
            activation,
            heads: 2,
            d_ff: 8,
            max_length: 4,
            ..TransformerConfig::encoder(1, 8, 5, 3)
        };
        let net = config.init(0..1, 1, 0, &Device::flex()).unwrap();
        let batch = net.batch(&Tensor::from_data([[1, 2, 3, 4]], &Device::flex()), Pass::Training(None));
        let (layer, rhs) = net.block.layers().next().unwrap();
        for size in [1.0, 2000.0] {
            agrees(rhs, numbers([1, 4, 8], size), At { layers: layer.into(), dt: 1.0, batch: &batch });
        }
    }
}

#[test]
fn large_states_survive_norms_of_channels() {
    for norm in [NormKind::Batch, NormKind::Group(2), NormKind::Layer] {
        let config = BlockNetConfig { image: [1, 6, 6], norm: Some(norm), ..BlockNetConfig::new(vec![1], 4) };
        let net = config.init(0..1, 1, 0, &Device::flex()).unwrap();
        let batch = net.batch(&numbers([2, 1, 6, 6], 1.0), Pass::Training(None));
        let (layer, rhs) = net.block.layers().next().unwrap();
        for size in [1.0, 2000.0] {
            agrees(rhs, numbers([2, 4, 6, 6], size), At { layers: layer.into(), dt: 1.0, batch: &batch });
        }
    }
}

#[test]
fn a_recurrent_network_in_16_bits_reads_features_of_32() {
    let config = GruConfig::new(3, 2, 4, 1, 2);
    let [low, single] = pair(&config.init(0..3, 0, &Device::flex()).unwrap());
    let input: Sequences = numbers([2, 3, 2], 1.0).into();
    let after = |net: &braidnet_nn::gru::GruNet, dtype| {
        let batch = net.prepare(net.batch(&input, Pass::Training(None)));
        let grid = config.grid().unwrap();
        let hierarchy = braidnet_grid::Hierarchy::new(&grid, &braidnet_grid::Coarsening::none()).unwrap();
        let mut u = TensorState(net.zero_states(&batch).at(0).0.clone().cast(dtype));
        net.block(&batch).step(&[hierarchy.finest().step(0)], std::slice::from_mut(&mut u)).unwrap();
        u.0
    };
    let error = distance(after(&low, FloatDType::F16), after(&single, FloatDType::F32));
    assert!(error < 0.01, "{error}");
}
