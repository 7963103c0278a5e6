//! The softmax of attention against a plain one in double precision, and its pullback against differences.

use braidnet_kernels::Attention;
use proptest::prelude::*;

use crate::common::{along, assert_close, dot, slope, values, wide};

/// Whether the score at `index` counts.
fn counts(attention: &Attention<'_>, index: usize) -> bool {
    let (row, key) = (index / attention.keys, index % attention.keys);
    let sequence = row / (attention.heads * attention.queries);
    let masked = attention.masked.is_some_and(|masked| masked[sequence * attention.keys + key]);
    !masked && (!attention.causal || key <= row % attention.queries)
}

fn reference(attention: &Attention<'_>, scores: &[f64], scale: f64) -> Vec<f64> {
    let mut p: Vec<f64> = scores
        .iter()
        .enumerate()
        .map(|(i, score)| if counts(attention, i) { (score * scale).exp() } else { 0.0 })
        .collect();
    for row in p.chunks_mut(attention.keys) {
        let total: f64 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= if total > 0.0 { total } else { 1.0 });
    }
    p
}

/// Shape, causal, and the masked keys of every sequence, all of them for some.
fn shapes() -> impl Strategy<Value = ([usize; 4], bool, Option<Vec<bool>>, u64)> {
    let shape = (1usize..4, 1usize..4, 0usize..20, 1usize..90).prop_map(|(b, h, q, k)| [b, h, q, k]);
    (shape, any::<bool>(), any::<bool>(), 0u8..4, any::<u64>()).prop_map(|(shape, causal, mask, density, seed)| {
        let keys = values(seed ^ 1, shape[0] * shape[3]);
        let masked = keys.iter().map(|&x| x < [-3.0, -1.0, 2.0, 3.0][usize::from(density)]).collect();
        (shape, causal, mask.then_some(masked), seed)
    })
}

proptest! {
    #[test]
    fn matches_the_formula((shape, causal, masked, seed) in shapes(), scale in 0.05f32..2.0) {
        let [batch, heads, queries, keys] = shape;
        let attention = Attention { batch, heads, queries, keys, causal, masked: masked.as_deref() };
        let mut p = values(seed, shape.iter().product());
        let expected = reference(&attention, &wide(&p), f64::from(scale));
        // What a masked score holds has no effect.
        p.iter_mut().enumerate().filter(|(i, _)| !counts(&attention, *i)).for_each(|(_, score)| *score = f32::NAN);
        attention.softmax(&mut p, scale);
        assert_close(&p, &expected, 2e-6);
        for i in (0..p.len()).filter(|&i| !counts(&attention, i)) {
            prop_assert_eq!(p[i], 0.0, "element {}", i);
        }
    }

    #[test]
    fn pullback_matches_differences((shape, causal, masked, seed) in shapes(), scale in 0.05f32..2.0) {
        let [batch, heads, queries, keys] = shape;
        let attention = Attention { batch, heads, queries, keys, causal, masked: masked.as_deref() };
        let n = shape.iter().product();
        let (scores, cotangent, direction) = (values(seed, n), values(seed ^ 2, n), wide(&values(seed ^ 3, n)));
        let (mut p, mut ds) = (scores.clone(), cotangent.clone());
        attention.softmax(&mut p, scale);
        attention.softmax_pullback(&p, &mut ds, scale);
        let at = |h| {
            let p = reference(&attention, &along(&wide(&scores), h, &direction), f64::from(scale));
            dot(&p, &wide(&cotangent))
        };
        let expected = slope(at);
        let actual = dot(&wide(&ds), &direction);
        prop_assert!((actual - expected).abs() < 1e-4 * (1.0 + n as f64).sqrt(), "{actual}, not {expected}");
        prop_assert!((0..n).all(|i| counts(&attention, i) || ds[i] == 0.0));
    }

    /// A row alone and a row among others have the same bits, whatever is computed together.
    #[test]
    fn rows_do_not_know_of_each_other(queries in 1usize..200, keys in 1usize..130, seed in any::<u64>()) {
        let scores = values(seed, queries * keys);
        let mut all = scores.clone();
        Attention { batch: 1, heads: 1, queries, keys, causal: false, masked: None }.softmax(&mut all, 0.5);
        let row = seed as usize % queries;
        let mut one = scores[row * keys..][..keys].to_vec();
        Attention { batch: 1, heads: 1, queries: 1, keys, causal: false, masked: None }.softmax(&mut one, 0.5);
        prop_assert_eq!(&all[row * keys..][..keys], &one[..]);
    }
}

const ONE_ROW: Attention<'static> = Attention { batch: 1, heads: 1, queries: 1, keys: 4, causal: false, masked: None };

#[test]
fn huge_scores_do_not_overflow() {
    let mut scores = [3e38, -3e38, 3e38, 0.0];
    ONE_ROW.softmax(&mut scores, 1.0);
    assert_eq!(scores, [0.5, 0.0, 0.5, 0.0]);
}

#[test]
fn minus_infinity_counts_as_masked_and_nan_is_not_hidden() {
    let mut scores = [f32::NEG_INFINITY; 4];
    ONE_ROW.softmax(&mut scores, 1.0);
    assert_eq!(scores, [0.0; 4]);
    let mut scores = [f32::NEG_INFINITY, f32::NAN, f32::NEG_INFINITY, f32::NEG_INFINITY];
    ONE_ROW.softmax(&mut scores, 1.0);
    assert!(scores.iter().all(|p| p.is_nan()));
}

#[test]
fn masks_belong_to_their_sequence() {
    let masked = [false, true, true, true];
    let attention = Attention { batch: 2, heads: 1, queries: 1, keys: 2, causal: false, masked: Some(&masked) };
    let mut scores = [1.0; 4];
    attention.softmax(&mut scores, 1.0);
    assert_eq!(scores, [1.0, 0.0, 0.0, 0.0]);
    let mut dp = [5.0; 4];
    attention.softmax_pullback(&scores, &mut dp, 1.0);
    assert_eq!(dp, [0.0; 4]);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "scores")]
fn a_wrong_length_panics_in_debug_builds() {
    ONE_ROW.softmax(&mut [0.0; 5], 1.0);
}
