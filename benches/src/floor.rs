//! What a training step takes at least: the time that a device needs for its bytes, or for its operations.

use std::time::Instant;

use braidnet::burn::tensor::Distribution;
use braidnet::prelude::*;

/// What a step of exact training cannot do without, on one rank.
///
/// Operations: two per multiply-add of the convolutions, matrix products and attention of all layers, forward and twice that backward.
/// Bytes: of every layer the state that the backward pass needs, written once and read once; of every parameter the
/// value, read forward, read backward and written by the update, and its momentum, read and written. All in single
/// precision. Opening and closing layers count by their parameters only; whatever else an implementation moves could stay on the chip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Floating-point operations.
    pub operations: f64,
    /// Bytes between the device's memory and its cores.
    pub bytes: f64,
}

/// What a device was measured to do at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Floating-point operations per second, in a matrix product in single precision.
    pub operations: f64,
    /// Bytes per second, read and written by an elementwise operation on a large tensor.
    pub bytes: f64,
}

impl Work {
    /// Of layers whose forward passes take so many multiply-adds and which have so many numbers in a state, and of all parameters.
    pub fn new(multiply_adds: f64, state: usize, n_layers: usize, n_parameters: usize) -> Self {
        let number = size_of::<f32>() as f64;
        let states = 2.0 * (n_layers * state) as f64 * number;
        Self { operations: 3.0 * 2.0 * multiply_adds, bytes: states + 5.0 * n_parameters as f64 * number }
    }

    /// Seconds that a device of these rates needs at least.
    pub fn floor(&self, rates: &Rates) -> f64 {
        (self.bytes / rates.bytes).max(self.operations / rates.operations)
    }
}

/// Tensors grow until a call takes so many seconds: starting it is then nothing beside it.
const LONG: f64 = 0.02;
/// How often a size is measured; the fastest counts.
const REPEATS: usize = 5;
/// Numbers of the first and of the largest tensor, which has 1 GiB.
const NUMBERS: [usize; 2] = [1 << 20, 1 << 28];
/// Rows of the first and of the largest square matrix.
const ROWS: [usize; 2] = [128, 1 << 13];

impl Rates {
    /// Measures them, on tensors that grow until a call takes 20 ms or they are as large as is sensible.
    ///
    /// # Errors
    /// A device that fails, in its words.
    pub fn measure(device: &Device) -> Result<Self, String> {
        let bytes = of_large(NUMBERS, |numbers| {
            let values = Tensor::<1>::zeros([numbers], device);
            let moved = 2 * numbers * size_of::<f32>();
            Ok((moved as f64, fastest(device, || values.clone().add_scalar(1.0))?))
        })?;
        let operations = of_large(ROWS, |rows| {
            let any = || Tensor::<2>::random([rows, rows], Distribution::Uniform(-1.0, 1.0), device);
            let (left, right) = (any(), any());
            let done = 2.0 * (rows as f64).powi(3);
            Ok((done, fastest(device, || left.clone().matmul(right.clone()))?))
        })?;
        Ok(Self { operations, bytes })
    }
}

/// Work per second at the first size, from `first` to `last`, at which it takes long. `measure` tells a size's work and seconds.
fn of_large([first, last]: [usize; 2], measure: impl Fn(usize) -> Result<(f64, f64), String>) -> Result<f64, String> {
    let mut size = first;
    loop {
        let (work, seconds) = measure(size)?;
        if seconds >= LONG || size >= last {
            return Ok(work / seconds);
        }
        size *= 2;
    }
}

/// Seconds of the fastest of some calls; the first one, for which kernels are compiled and chosen, does not count.
fn fastest<T>(device: &Device, call: impl Fn() -> T) -> Result<f64, String> {
    let mut fastest = f64::INFINITY;
    for number in 0..=REPEATS {
        device.sync().map_err(|error| error.to_string())?;
        let start = Instant::now();
        let made = call();
        device.sync().map_err(|error| error.to_string())?;
        if number > 0 {
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
        drop(made);
    }
    Ok(fastest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_larger_of_two_times() {
        // Ten layers of a hundred numbers and a thousand parameters: 8000 + 20000 bytes; 6000 operations.
        let work = Work::new(1000.0, 100, 10, 1000);
        assert_eq!(work, Work { operations: 6000.0, bytes: 28_000.0 });
        assert_eq!(work.floor(&Rates { operations: 1000.0, bytes: 28_000.0 }), 6.0);
        assert_eq!(work.floor(&Rates { operations: 6000.0, bytes: 2800.0 }), 10.0);
    }

    #[test]
    fn sizes_grow_until_a_call_takes_long() {
        // A tenth of a microsecond per unit of work, and as much again to start it.
        let measure = |size: usize| Ok((size as f64, 1e-7 * (size as f64 + 1.0)));
        let rate = of_large([1, 1 << 30], measure).unwrap();
        assert!((rate / 1e7 - 1.0).abs() < 1e-5, "{rate}");
        assert_eq!(of_large([1, 1], measure).unwrap(), 1.0 / 2e-7);
        assert_eq!(of_large([1, 2], |_| Err("lost".to_owned())), Err("lost".to_owned()));
    }

    #[test]
    fn the_processor_has_rates() {
        let rates = Rates::measure(&Device::flex()).unwrap();
        assert!(rates.bytes.is_finite() && rates.bytes > 0.0 && rates.operations.is_finite() && rates.operations > 0.0);
    }
}
