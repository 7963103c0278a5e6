//! Relative errors.

/// Norm, relative to that of all gradients, below which a gradient in double precision is zero.
const ROUND_OFF: f64 = 1e-12;

/// Whether `error` is larger than `than`; a NaN is the worst of all.
pub fn is_worse(error: f64, than: f64) -> bool {
    error.is_nan() || error > than
}

/// Relative error of a gradient. One that is zero but for the file's round-off (that of the bias of keys is: attention does
/// not depend on it) has nothing to be relative to but the norm of `all` gradients.
pub fn gradient_error(a: &[f64], b: &[f64], all: f64) -> f64 {
    if norm(b) > ROUND_OFF * all || a.len() != b.len() {
        return relative_error(a, b);
    }
    norm(a) / all
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// `||a - b|| / ||b||`, or `||a||` where `b` is zero; infinite for different lengths.
pub fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let difference = norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>());
    let size = norm(b);
    if size == 0.0 { difference } else { difference / size }
}
