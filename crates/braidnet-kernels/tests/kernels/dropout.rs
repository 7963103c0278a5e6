//! Dropout: how many elements fall, that no pattern is left, and that only key and position matter.

use std::collections::HashSet;

use braidnet_kernels::{Dropout, key};
use proptest::prelude::*;

/// 1 where an element is kept.
fn kept(probability: f32, key: u64, first_row: u64, rows: usize, columns: usize) -> Vec<f32> {
    let mut x = vec![1.0; rows * columns];
    Dropout { probability, key }.apply(first_row, columns, &mut x);
    x.iter().map(|&x| f32::from(x != 0.0)).collect()
}

/// How far `count` of `n` elements is from `n p`, in standard deviations.
fn deviations(count: f64, n: usize, p: f64) -> f64 {
    (count - n as f64 * p) / (n as f64 * p * (1.0 - p)).sqrt()
}

/// The same for the elements kept in both `a` and `b`, which fall with probability `p` each.
fn overlap(a: &[f32], b: &[f32], p: f64) -> f64 {
    deviations(a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum(), a.len(), (1.0 - p).powi(2))
}

#[test]
fn the_fraction_kept_and_its_scale() {
    for probability in [0.01f32, 0.1, 0.5, 0.9] {
        let mut x = vec![2.0; 1000 * 777];
        Dropout { probability, key: 11 }.apply(5, 777, &mut x);
        let scaled = 2.0 * (1.0 / (1.0 - probability));
        assert!(x.iter().all(|&x| x == 0.0 || x == scaled));
        let dropped = x.iter().filter(|&&x| x == 0.0).count();
        assert!(deviations(dropped as f64, x.len(), f64::from(probability)).abs() < 4.0, "{probability}: {dropped}");
    }
}

#[test]
fn nothing_and_everything() {
    let mut x = [1.5; 100];
    Dropout { probability: 0.0, key: 3 }.apply(0, 10, &mut x);
    assert_eq!(x, [1.5; 100]);
    Dropout { probability: 1.0, key: 3 }.apply(0, 10, &mut x);
    assert_eq!(x, [0.0; 100]);
    Dropout { probability: 0.5, key: 3 }.apply(0, 0, &mut []);
}

#[test]
fn a_nan_is_not_hidden() {
    let mut x = [f32::NAN; 100];
    Dropout { probability: 0.5, key: 3 }.apply(0, 10, &mut x);
    assert!(x.iter().all(|x| x.is_nan()));
}

#[test]
fn rows_and_columns_fall_evenly() {
    let (rows, columns) = (400, 300);
    let x = kept(0.3, 7, 0, rows, columns);
    // The sum of squares of n standard deviations has mean n and variance 2 n.
    let chi_square = |sums: Vec<f64>, n: usize| {
        let total: f64 = sums.iter().map(|&sum| deviations(sum, n, 0.7).powi(2)).sum();
        (total - sums.len() as f64) / (2.0 * sums.len() as f64).sqrt()
    };
    let of_rows = x.chunks(columns).map(|row| row.iter().map(|&x| f64::from(x)).sum()).collect();
    let of_columns = (0..columns).map(|j| x.iter().skip(j).step_by(columns).map(|&x| f64::from(x)).sum()).collect();
    assert!(chi_square(of_rows, columns).abs() < 4.0);
    assert!(chi_square(of_columns, rows).abs() < 4.0);
}

#[test]
fn neighbours_rows_and_keys_are_independent() {
    let (rows, columns) = (300, 512);
    let x = kept(0.5, 7, 0, rows, columns);
    let n = x.len();
    for shift in [1, 2, 3, 16, columns - 1, columns, columns + 1, 2 * columns, 64 * columns] {
        assert!(overlap(&x[shift..], &x[..n - shift], 0.5).abs() < 4.5, "shift {shift}");
    }
    for other in [0, 6, 8, 7 << 32, u64::MAX, key(&[7])] {
        assert!(overlap(&x, &kept(0.5, other, 0, rows, columns), 0.5).abs() < 4.5, "key {other}");
    }
}

#[test]
fn keys_depend_on_every_part_its_place_and_their_number() {
    let mut keys = HashSet::new();
    let mut parts = 0;
    for seed in 0..10 {
        for layer in 0..10 {
            for step in 0..10 {
                parts += 3;
                keys.extend([
                    key(&[seed, layer, step]),
                    key(&[seed, layer, step, 0]),
                    key(&[seed << 40, layer, step, 1]),
                ]);
            }
        }
    }
    assert_eq!(keys.len(), parts);
    assert_ne!(key(&[]), key(&[0]));
}

#[test]
fn the_mask_is_the_same_everywhere() {
    // A change of these values changes every training run with dropout.
    let bits = kept(0.5, key(&[1, 2, 3]), 4, 2, 16).iter().fold(0u32, |bits, &x| bits << 1 | x as u32);
    assert_eq!((key(&[1, 2, 3]), bits), (14_986_807_719_678_709_643, 3_982_741_784));
}

proptest! {
    /// Whoever does whichever rows, the elements that fall are the same.
    #[test]
    fn any_split_of_the_rows(
        rows in 0usize..20, columns in 1usize..80, cut in 0usize..20, seed: u64, first in 0..1u64 << 40,
    ) {
        let whole = kept(0.4, seed, first, rows, columns);
        let cut = cut.min(rows);
        let mut parts = kept(0.4, seed, first, cut, columns);
        parts.extend(kept(0.4, seed, first + cut as u64, rows - cut, columns));
        prop_assert_eq!(whole, parts);
    }
}
