//! Solves in 16 bits: near those in single precision, or refused in words.

use braidnet::device::DeviceSpec;
use braidnet::prelude::*;
use braidnet::train::Precision;
use burn::tensor::FloatDType;

use crate::given::{device, given};
use crate::kinds::{Check, Kind, for_every_kind};
use crate::train::{Setting, between_losses, between_parameters, train};

/// Largest relative distance of losses from those of single precision, in units of the type's round-off.
const LOSS_UNITS: f64 = 4.0;
/// In bf16 and f16, largest relative distance of the first step's gradients, in such units. A ReLU jumps where rounding changes a
/// sign, which counts for more units the smaller they are; later steps add such jumps up.
const GRADIENT_UNITS: [f64; 2] = [12.0, 40.0];
const LOW: [(Precision, FloatDType); 2] = [(Precision::Bf16, FloatDType::BF16), (Precision::F16, FloatDType::F16)];

struct Rounds {
    device: DeviceSpec,
}

impl Check for Rounds {
    fn check<K: Kind>(&self, what: &str, kind: &K) {
        let device = device(self.device, 0);
        let schedule = Schedule::layer_parallel(SolveConfig { max_iters: 2, ..SolveConfig::new(2) });
        let of = |precision| {
            let schedule = schedule.clone();
            train(kind, &Setting { device: self.device, schedule, ranks: 2, stacked: true, precision })
        };
        let single = of(Precision::F32).unwrap();
        for ((precision, dtype), most) in LOW.into_iter().zip(GRADIENT_UNITS) {
            let low = of(precision);
            if !device.supports_dtype(dtype) {
                let message = low.unwrap_err().to_string();
                println!("{message}");
                assert!(message.contains(&format!("has no arithmetic in {precision}")), "{message}");
                continue;
            }
            let low = low.unwrap();
            // The first step of gradient descent is the gradient.
            let apart = [between_losses(&low.losses, &single.losses), between_parameters(&low, &single, 1)];
            let units = apart.map(|distance| distance / precision.unit_roundoff());
            println!("losses and first gradients {units:.3?} units of {precision} apart: {what}");
            assert!(units[1] > 0.05, "{what}, {precision}: {units:?} units: not computed in the type");
            // Also false of what is no number.
            assert!(units[0] <= LOSS_UNITS && units[1] <= most, "{what}, {precision}: {units:?} units");
        }
    }
}

#[test]
fn solves_in_16_bits_round_or_are_refused() {
    let Some(device) = given() else { return };
    for_every_kind(&Rounds { device });
}
