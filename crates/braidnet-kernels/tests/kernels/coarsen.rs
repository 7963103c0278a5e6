use braidnet_kernels::{Axis, Stencil};
use proptest::prelude::*;

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    (0..n).map(|i| ((i as u64 * 7919 + seed * 104_729) % 2000) as f32 / 1000.0 - 1.0).collect()
}

/// By the definition, position by position.
fn restricted(stencil: Stencil, Axis { before, n, behind }: Axis, u: &[f32]) -> Vec<f64> {
    let at = |b: usize, i: usize, k: usize| if i < n { f64::from(u[(b * n + i) * behind + k]) } else { 0.0 };
    let mut c = Vec::new();
    for b in 0..before {
        for j in 0..n / 2 {
            for k in 0..behind {
                let sides = at(b, 2 * j, k) + at(b, 2 * j + 2, k);
                c.push(f64::from(stencil.centre) * at(b, 2 * j + 1, k) + f64::from(stencil.side) * sides);
            }
        }
    }
    c
}

proptest! {
    #[test]
    fn restriction_is_as_defined_and_interpolation_its_transpose(
        before in 0usize..4, n in 0usize..20, behind in 1usize..40, side in 0.0f32..1.0, seed in 0u64..100,
    ) {
        let (axis, stencil) = (Axis { before, n, behind }, Stencil { centre: 0.5, side });
        let (u, c) = (numbers(before * n * behind, seed), numbers(before * (n / 2) * behind, seed + 1));
        let mut coarse = vec![f32::NAN; c.len()];
        stencil.restrict(axis, &u, &mut coarse);
        for (found, expected) in coarse.iter().zip(restricted(stencil, axis, &u)) {
            prop_assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
        let mut fine = vec![f32::NAN; u.len()];
        stencil.interpolate(axis, &c, &mut fine);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let (left, right) = (dot(&coarse, &c), dot(&u, &fine));
        prop_assert!((left - right).abs() < 1e-4 * (1.0 + left.abs()), "{left} {right}");
    }
}
