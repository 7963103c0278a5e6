//! Coarsening of vectors on an interval, both ends included.

use nalgebra::DVector;

/// Size of the next coarser grid: every other point, and the last one.
fn coarse_size(n: usize) -> usize {
    (n - 1) / 2 + 1
}

/// `c_i = f_(2i) / 2 + (f_(2i+1) + f_(2i-1)) / 4` inside, both ends copied.
pub(super) fn restrict(fine: &DVector<f64>) -> DVector<f64> {
    let n = coarse_size(fine.len());
    DVector::from_fn(n, |i, _| match i {
        0 => fine[0],
        i if i == n - 1 => fine[fine.len() - 1],
        i => 0.5 * fine[2 * i] + 0.25 * fine[2 * i + 1] + 0.25 * fine[2 * i - 1],
    })
}

/// Linear interpolation to `n` points, both ends copied.
pub(super) fn prolong(coarse: &DVector<f64>, n: usize) -> DVector<f64> {
    DVector::from_fn(n, |i, _| match i {
        0 => coarse[0],
        i if i == n - 1 => coarse[coarse.len() - 1],
        i if i % 2 == 1 => 0.5 * coarse[i / 2] + 0.5 * coarse[i.div_ceil(2)],
        i => coarse[i / 2],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_functions_survive_both_ways() {
        let fine = DVector::from_fn(9, |i, _| 3.0 * i as f64 - 1.0);
        let coarse = restrict(&fine);
        assert_eq!(coarse.len(), 5);
        assert!((prolong(&coarse, 9) - fine).norm() < 1e-14);
    }
}
