//! Encoders, decoders and encoder-decoders, with padding and dropout.

use braidnet_nn::transformer::{Activation, EncoderDecoderConfig, Positions, SourceTarget, TransformerConfig};
use braidnet_nn::{CoarseOperator, Noise, Pass};
use proptest::prelude::*;

use crate::solve::{Setup, agree, setups};
use crate::*;

const ALL: &[CoarseOperator] = &[
    CoarseOperator::FirstLayer,
    CoarseOperator::Midpoint,
    CoarseOperator::Centred,
    CoarseOperator::Sum,
    CoarseOperator::Mean,
];

/// What is varied in a layer.
#[derive(Debug, Clone, Copy)]
struct Choices {
    heads: usize,
    activation: Activation,
    dropout: f64,
    pad: Option<u32>,
}

fn choices() -> impl Strategy<Value = Choices> {
    let activations = vec![Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Elu];
    let dropout = prop_oneof![Just(0.0), Just(0.3)];
    let pad = prop_oneof![Just(None), Just(Some(0))];
    (1usize..3, prop::sample::select(activations), dropout, pad).prop_map(|(heads, activation, dropout, pad)| Choices {
        heads,
        activation,
        dropout,
        pad,
    })
}

fn passes() -> impl Strategy<Value = Pass> {
    let noise = Some(Noise { seed: 7, step: 3, first_sample: 10 });
    prop_oneof![3 => Just(Pass::Training(noise)), 1 => Just(Pass::Evaluation)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn networks_on_sequences(setup in setups(ALL), choices in choices(), causal: bool, pass in passes()) {
        let Setup { layers, buffer, coarse, .. } = setup;
        let Choices { heads, activation, dropout, pad } = choices;
        let config = TransformerConfig {
            heads, d_ff: 5, max_length: 5, final_time: 2.0, causal, activation, dropout, pad, coarse, buffer, positions: Positions::Learned,
            ..TransformerConfig::encoder(layers, 6, 5, 3)
        };
        let network = config.init(0..config.grid().unwrap().n_steps(), 4, 1, &Device::flex()).unwrap();
        agree(network, |_| tokens([3, 5], 5, 2), &config.grid().unwrap(), &setup, pass);
    }

    #[test]
    fn networks_on_pairs(setup in setups(&ALL[..4]), choices in choices(), split: bool, pass in passes()) {
        let Setup { layers, buffer, coarse, .. } = setup;
        let Choices { heads, activation, dropout, pad } = choices;
        let config = EncoderDecoderConfig {
            layers: [layers / 2, layers - layers / 2],
            heads, d_ff: 5, max_lengths: [5, 4], final_time: 2.0, split, activation, dropout, pad, coarse, buffer, positions: Positions::Learned,
            ..EncoderDecoderConfig::new(1, 6, [5, 6])
        };
        let network = config.init(0..config.grid().unwrap().n_steps(), 4, 1, &Device::flex()).unwrap();
        let input = |_| SourceTarget { source: tokens([3, 5], 5, 2), target: tokens([3, 4], 6, 3) };
        agree(network, input, &config.grid().unwrap(), &setup, pass);
    }
}
