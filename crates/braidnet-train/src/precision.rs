//! Mixed precision: states and the layers' parameters in 16 bits, everything that sums in 32.
//!
//! A rank's master network stays in single precision: what the optimizer updates, checkpoints hold and reducers know. Solves work
//! with a copy of it whose layers have parameters of the low type, made anew after every update. The opening and the closing layer,
//! with the layers at the ends that the solver does not count, and the loss are those of the master network, on states that are
//! cast on their way. Gradients of layers are cast to single precision before anything is added to them.
//!
//! Reference: Micikevicius et al., Mixed precision training, ICLR 2018.

use braidnet_mgrit::Tolerance;
use braidnet_nn::TensorState;
use braidnet_nn::transformer::PairState;
use burn::tensor::FloatDType;
use serde::{Deserialize, Serialize};

use crate::{Schedule, SolveConfig, TrainError};

/// The type of states and of the layers' parameters while solves work with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision: 24 bits, from 1e-38 to 3e38.
    #[default]
    F32,
    /// 8 bits, with the range of single precision.
    Bf16,
    /// 11 bits, from 6e-8 to 65504. The adjoint is scaled by [`Precision::loss_scale`], and gradients back.
    F16,
}

impl Precision {
    /// Largest relative error of a number that is rounded to the type.
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::EPSILON) / 2.0,
            Self::Bf16 => 1.0 / 256.0,
            Self::F16 => 1.0 / 2048.0,
        }
    }

    /// What takes so many bytes in single precision.
    pub(crate) fn n_bytes(self, in_single: usize) -> usize {
        if self == Self::F32 { in_single } else { in_single / 2 }
    }

    /// What the adjoint is multiplied with, so that small derivatives are not rounded to 0: a power of 2, which rounds nothing
    /// itself. 1 where the type has the range of single precision.
    pub fn loss_scale(self) -> f64 {
        if self == Self::F16 { 1024.0 } else { 1.0 }
    }

    /// The type, where it is not that of the master network.
    pub(crate) fn low(self) -> Option<FloatDType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(FloatDType::BF16),
            Self::F16 => Some(FloatDType::F16),
        }
    }

    /// That something, by name, computes in the type.
    pub(crate) fn check(
        self,
        device: impl FnOnce() -> String,
        computes: impl Fn(FloatDType) -> bool,
    ) -> Result<(), TrainError> {
        match self.low() {
            Some(dtype) if !computes(dtype) => Err(TrainError::NoArithmetic { device: device(), precision: self }),
            _ => Ok(()),
        }
    }

    /// What to say of each tolerance of `schedule` that residuals of this type do not reach by converging: at about 4 units
    /// of round-off of the first one they are noise, which goes interval by interval, as the exact states proceed.
    pub fn unreachable(self, schedule: &Schedule) -> Vec<String> {
        let unit = STALLS * self.unit_roundoff();
        let solves = [("forward", &schedule.forward), ("backward", &schedule.backward)];
        let of = |(direction, solve): (&str, &SolveConfig)| match solve.tolerance? {
            Tolerance::Relative(tolerance) if tolerance < unit && !solve.is_sequential() => Some(format!(
                "the {direction} solve is to reduce its residual to {tolerance:e} of the first one, but in {self} it is noise from \
                 about {unit:.0e} on: use a larger tolerance, or a fixed number of iterations"
            )),
            Tolerance::Absolute(tolerance) if tolerance < unit && !solve.is_sequential() => Some(format!(
                "the {direction} solve is to reduce its residual to {tolerance:e}, but in {self} it is noise from about {unit:.0e} of \
                 the first one on: unless that one is small, use a larger tolerance, or a fixed number of iterations"
            )),
            _ => None,
        };
        solves.into_iter().filter_map(of).collect()
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

/// Units of round-off at which residuals were seen to stop converging, over the first one: `docs/precision.md`.
const STALLS: f64 = 4.0;

/// A state that can be had in numbers of another type.
pub trait CastState {
    /// The state, each number rounded to the nearest of the type.
    fn cast(self, dtype: FloatDType) -> Self;
}

impl<const D: usize> CastState for TensorState<D> {
    fn cast(self, dtype: FloatDType) -> Self {
        Self(self.0.cast(dtype))
    }
}

impl CastState for PairState {
    fn cast(self, dtype: FloatDType) -> Self {
        let half = |half: Option<TensorState<3>>| half.map(|half| half.cast(dtype));
        Self { x: half(self.x), y: half(self.y) }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, Tensor};

    use super::*;

    #[test]
    fn a_device_without_arithmetic_in_a_type_is_refused_by_both_names() {
        let check = |precision: Precision| precision.check(|| "Vulkan(0)".to_owned(), |dtype| dtype == FloatDType::F16);
        assert!(check(Precision::F32).is_ok() && check(Precision::F16).is_ok());
        let message = check(Precision::Bf16).unwrap_err().to_string();
        assert!(message.contains("Vulkan(0)") && message.contains("bf16"), "{message}");
    }

    #[test]
    fn the_unit_of_round_off_is_what_one_and_it_round_to() {
        let device = Device::flex();
        for precision in [Precision::Bf16, Precision::F16] {
            let unit = precision.unit_roundoff();
            let rounded = |x: f64| {
                let x = Tensor::<1>::from_data([x], (&device, DType::F64));
                x.cast(precision.low().unwrap()).into_scalar::<f64>()
            };
            assert_eq!([rounded(1.0 + 0.99 * unit), rounded(1.0 + 1.01 * unit)], [1.0, 1.0 + 2.0 * unit]);
        }
    }
}
