//! Sums and products of rows against plain loops.

use braidnet_kernels::{add_to_rows, axpy, column_sums, mul};
use proptest::prelude::*;

use crate::common::{assert_close, values};

proptest! {
    #[test]
    fn column_sums_match(rows in 0usize..40, columns in 0usize..90, seed in any::<u64>()) {
        let x = values(seed, rows * columns);
        let mut out = vec![f32::NAN; columns];
        column_sums(&x, columns, &mut out);
        let expected: Vec<f64> =
            (0..columns).map(|j| (0..rows).map(|i| f64::from(x[i * columns + j])).sum()).collect();
        assert_close(&out, &expected, 1e-4);
    }

    #[test]
    fn the_others_match_to_the_bit(rows in 0usize..10, columns in 0usize..90, a in -3f32..3.0, seed in any::<u64>()) {
        let n = rows * columns;
        let (x, y, row) = (values(seed, n), values(seed ^ 1, n), values(seed ^ 2, columns));
        let (mut sum, mut combination, mut product) = (y.clone(), y.clone(), y.clone());
        add_to_rows(&mut sum, &row);
        axpy(&mut combination, a, &x);
        mul(&mut product, &x);
        for i in 0..n {
            prop_assert_eq!(sum[i], y[i] + row[i % columns]);
            prop_assert_eq!(combination[i], y[i] + a * x[i]);
            prop_assert_eq!(product[i], y[i] * x[i]);
        }
    }
}
