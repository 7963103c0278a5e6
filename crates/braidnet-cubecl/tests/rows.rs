//! What transformer layers have besides products, against the kernels of the processor.

#![allow(clippy::expect_used)]

mod common;

use braidnet_cubecl::{
    Normed, activate, activate_with_derivative, layer_norm, layer_norm_pullback, softmax, softmax_pullback,
};
use braidnet_kernels as on_processor;
use braidnet_kernels::{Activation, Attention};
use burn::tensor::{Tensor, TensorData};
use common::{assert_close, devices, filled, numbers};

const EPSILON: f32 = 1e-5;

/// Of one layer and three, of rows shorter and longer than a cube, and of lengths that it does not divide.
#[test]
fn rows_are_normalised_and_pulled_back() {
    for device in devices() {
        for [layers, rows, columns] in [[1, 1, 1], [1, 5, 3], [3, 4, 128], [2, 3, 300]] {
            let x = filled([layers * rows, columns], 1, device) * 3.0 + 0.5;
            let [weight, bias] = [2, 3].map(|seed| filled([layers * columns], seed, device));
            let delta: Tensor<2> = filled([layers * rows, columns], 4, device);
            let Normed { y, tape } = layer_norm(&x, &weight, &bias, EPSILON, true).expect("on the device");
            let (n, inverse_std) = tape.expect("asked for");
            let alone = layer_norm(&x, &weight, &bias, EPSILON, false).expect("on the device");
            assert!(alone.tape.is_none());
            assert_eq!(numbers(&alone.y), numbers(&y));
            let back = layer_norm_pullback(&delta, &weight, &n, &inverse_std).expect("on the device");
            let [x, weight, bias, delta] = [numbers(&x), numbers(&weight), numbers(&bias), numbers(&delta)];
            let (mut own_y, mut own_n, mut own_s) = (x.clone(), x.clone(), vec![0.0; layers * rows]);
            let mut own_back = x.clone();
            for layer in 0..layers {
                let (of, at) = (layer * columns..(layer + 1) * columns, layer * rows * columns..);
                let at = at.start..at.start + rows * columns;
                let s = layer * rows..(layer + 1) * rows;
                let tape = Some((&mut own_n[at.clone()], &mut own_s[s.clone()]));
                let (w, b) = (&weight[of.clone()], &bias[of]);
                on_processor::layer_norm(&x[at.clone()], w, b, EPSILON, &mut own_y[at.clone()], tape);
                let (n, s, out) = (&own_n[at.clone()], &own_s[s], &mut own_back[at.clone()]);
                on_processor::layer_norm_pullback(&delta[at], w, n, s, out);
            }
            assert_close(&numbers(&y), &own_y);
            assert_close(&numbers(&n), &own_n);
            assert_close(&numbers(&inverse_std), &own_s);
            if columns > 1 {
                assert_close(&numbers(&back), &own_back);
            }
        }
    }
}

#[test]
fn scores_become_weights_of_the_keys_that_count() {
    for device in devices() {
        for ([batch, heads, queries, keys], causal, padded) in [
            ([1, 1, 1, 1], false, false),
            ([2, 3, 4, 5], false, false),
            ([2, 2, 5, 5], true, false),
            ([2, 2, 3, 70], false, true),
            ([3, 1, 40, 40], true, true),
        ] {
            let scores = filled([batch, heads, queries, keys], 1, device) * 20.0;
            let delta = filled([batch, heads, queries, keys], 2, device);
            // All keys of the last sample are padding.
            let padding: Vec<bool> =
                (0..batch * keys).map(|n| n % 3 == 1 || n / keys + 1 == batch && batch > 1).collect();
            let mask =
                TensorData::new(padding.iter().map(|m| f32::from(u8::from(*m))).collect::<Vec<_>>(), [batch, keys]);
            let mask = padded.then(|| Tensor::<2>::from_data(mask, device));
            let p = softmax(&scores, 0.5, causal, mask.as_ref()).expect("on the device");
            let back = softmax_pullback(&p, &delta, 0.5).expect("on the device");
            let attention = Attention { batch, heads, queries, keys, causal, masked: padded.then_some(&padding[..]) };
            let (mut own, mut own_back) = (numbers(&scores), numbers(&delta));
            attention.softmax(&mut own, 0.5);
            attention.softmax_pullback(&own, &mut own_back, 0.5);
            let found = numbers(&p);
            assert_close(&found, &own);
            assert!(
                found.iter().zip(&own).all(|(found, own)| *own != 0.0 || *found == 0.0),
                "a key that does not count"
            );
            assert_close(&numbers(&back), &own_back);
        }
    }
}

#[test]
fn a_row_of_minus_infinity_is_zero_and_one_with_a_nan_is_nan() {
    for device in devices() {
        let rows = [[f32::NEG_INFINITY; 3], [0.0, f32::NAN, 0.0]];
        let p = softmax(&Tensor::<4>::from_floats([[rows]], device), 1.0, false, None).expect("on the device");
        let found = numbers(&p);
        assert_eq!(found[..3], [0.0; 3]);
        assert!(found[3..].iter().all(|p| p.is_nan()), "{found:?}");
    }
}

#[test]
fn elements_are_activated() {
    for device in devices() {
        let x = filled([7, 61], 1, device) * 6.0;
        let extremes = Tensor::from_floats([[0.0, -0.0, 60.0, -60.0, 1e4, -1e4, f32::NAN, 1e-20]], device);
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Elu] {
            for x in [&x, &extremes] {
                let (y, slope) = activate_with_derivative(activation, x).expect("on the device");
                let alone = activate(activation, x).expect("on the device");
                let (mut own, mut own_slope) = (numbers(x), numbers(x));
                activation.apply_with_derivative(&mut own, &mut own_slope);
                for (found, own) in [(&y, &own), (&slope, &own_slope), (&alone, &own)] {
                    let pairs: Vec<_> = numbers(found).into_iter().zip(own.iter().copied()).collect();
                    let is_close =
                        |(a, b): &(f32, f32)| a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-6 * b.abs().max(1.0);
                    let far: Vec<_> = pairs.iter().filter(|pair| !is_close(pair)).collect();
                    assert!(far.is_empty(), "{activation:?}: {far:?}");
                }
            }
        }
    }
}
