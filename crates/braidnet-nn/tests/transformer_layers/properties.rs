//! What holds for every size: sequences do not see each other, the future or padding.

use std::sync::Arc;

use braidnet_mgrit::Output;
use braidnet_nn::transformer::{Activation, EncoderLayer, LayerConfig, SequenceBatch};
use braidnet_nn::{At, RhsTape, RightHandSide, TensorState};
use burn::tensor::{DType, Device, Tensor};
use proptest::prelude::*;

use crate::*;

/// Samples, length, heads, features of a head, hidden features.
type Sizes = (usize, usize, usize, usize, usize);

fn sizes() -> impl Strategy<Value = (Sizes, bool, Vec<bool>)> {
    let sizes = (1usize..4, 1usize..8, 1usize..5, 4usize..19, 1usize..40);
    (sizes, any::<bool>()).prop_flat_map(|(sizes, causal)| {
        (Just(sizes), Just(causal), prop::collection::vec(any::<bool>(), sizes.0 * sizes.1))
    })
}

fn layer(sizes: Sizes, causal: bool) -> EncoderLayer {
    let (_, _, heads, width, d_ff) = sizes;
    let config =
        LayerConfig { d_model: heads * width, heads, d_ff, activation: Activation::Gelu, dropout: 0.2, causal };
    in_double(EncoderLayer::new(&config, &Device::flex()).unwrap(), 1)
}

/// `F(u)`, and `delta` pulled back.
fn both(rhs: &EncoderLayer, u: &Tensor<3>, padding: Arc<[bool]>, noise: Noise) -> [Tensor<3>; 2] {
    let [samples, length, _] = u.dims();
    let batch = SequenceBatch { samples, length, padding: Some(padding), noise: Some(noise) };
    let (f, tape) =
        rhs.linearize(TensorState(u.clone()), At { layers: 2.into(), dt: 1.0, batch: &batch }, Output::Used);
    // The cotangent is what the values are, so that it splits as they do.
    [f.0, tape.pullback(TensorState(u.clone())).unwrap().0]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_paths_agree_and_sequences_stand_alone((sizes, causal, padding) in sizes()) {
        let (samples, length, heads, width, _) = sizes;
        let (rhs, u) = (layer(sizes, causal), random([samples, length, heads * width], 2));
        let whole = both(&rhs, &u, padding.clone().into(), NOISE);
        let single = both(&in_single(rhs.clone()), &u.clone().cast(DType::F32), padding.clone().into(), NOISE);
        for (single, double) in single.into_iter().zip(&whole) {
            // Looser than elsewhere: the fewer features, the smaller a variance may be, and the steeper its norm.
            close(&single.cast(DType::F64), double, 1e-4, "single precision");
        }
        for n in 0..samples {
            let noise = Noise { first_sample: NOISE.first_sample + n as u64, ..NOISE };
            let own = padding[n * length..][..length].into();
            let alone = both(&rhs, &u.clone().narrow(0, n, 1), own, noise);
            for (alone, whole) in alone.iter().zip(&whole) {
                close(alone, &whole.clone().narrow(0, n, 1), 1e-12, "alone");
            }
        }
    }

    #[test]
    fn nobody_sees_padding_or_the_future((sizes, causal, padding) in sizes(), now in 0usize..8) {
        let (samples, length, heads, width, _) = sizes;
        let (rhs, u) = (layer(sizes, causal), random([samples, length, heads * width], 2));
        let is_hidden = |n: usize| padding[n] || (causal && n % length > now);
        let hidden: Vec<f64> = (0..samples * length).map(|n| f64::from(u8::from(is_hidden(n)))).collect();
        let hidden = Tensor::<3>::from_data(
            TensorData::new(hidden, [samples, length, 1]),
            (&Device::flex(), DType::F64),
        );
        let seen = (hidden.clone() - 1.0) * -1.0;
        let changed = u.clone() + hidden * random([samples, length, heads * width], 3);
        let [before, _] = both(&rhs, &u, padding.clone().into(), NOISE);
        let [after, _] = both(&rhs, &changed, padding.into(), NOISE);
        close(&(after * seen.clone()), &(before * seen), 1e-12, "what is seen");
    }
}
