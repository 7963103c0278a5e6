//! What a probe says.

use super::controller::State;
use super::decision::{Cause, Quantity};
use super::measured::Reading;
use super::{ControlConfig, Controller};

impl Controller {
    /// A probe of the rung in use.
    pub(super) fn judge(&mut self, readings: &[Reading; 3]) -> Cause {
        let is_calm = self.is_calm(readings);
        let State { recent, calm, rung, .. } = &mut self.state;
        *calm = if is_calm { calm.saturating_add(1) } else { 0 };
        let (calm, rung) = (*calm, *rung);
        for (recent, reading) in recent.iter_mut().zip(readings) {
            match reading {
                Reading::Value(value) if value.is_finite() => recent.push(*value),
                _ => recent.clear(),
            }
            let excess = recent.len().saturating_sub(self.config.smoothing);
            recent.drain(..excess);
        }
        let diverges = Quantity::ALL.into_iter().zip(readings).find_map(|(what, reading)| match reading {
            Reading::Value(value) if value.is_nan() || *value > self.limits(what).last => {
                Some(Cause::Diverges { what, value: *value })
            }
            _ => None,
        });
        let is_ready = rung > 0 && calm >= self.config.patience_down && !self.must_look(rung);
        match diverges.or_else(|| self.high()) {
            Some(cause) => cause,
            None if readings.iter().all(|r| matches!(r, Reading::Absent | Reading::Unknown)) => Cause::NotMeasured,
            None if is_ready => Cause::Calm { probes: calm, rho_down: self.config.rho_down },
            None => Cause::Steady,
        }
    }

    /// The first quantity whose mean is too high.
    fn high(&self) -> Option<Cause> {
        let probes = self.config.smoothing;
        Quantity::ALL.into_iter().zip(&self.state.recent).filter(|(_, recent)| recent.len() == probes).find_map(
            |(what, recent)| {
                let (mean, limit) = (recent.iter().sum::<f64>() / probes as f64, self.limits(what).up);
                (mean > limit).then_some(Cause::High { what, mean, probes, limit })
            },
        )
    }

    /// A probe of the rung below the one in use.
    pub(super) fn judge_below(&mut self, readings: &[Reading; 3]) -> Cause {
        if self.is_calm(readings) {
            self.state.calm_below = self.state.calm_below.saturating_add(1);
            let probes = self.state.calm_below;
            let is_ready = probes >= self.config.patience_down;
            return if is_ready { Cause::Calm { probes, rho_down: self.config.rho_down } } else { Cause::Steady };
        }
        (self.state.calm, self.state.calm_below) = (0, 0);
        let high = Quantity::ALL.into_iter().zip(readings).find_map(|(what, reading)| match reading {
            Reading::Value(value) if !reading.is_calm(self.limits(what).down) => {
                Some(Cause::BelowHigh { what, value: *value, limit: self.limits(what).down })
            }
            _ => None,
        });
        high.unwrap_or(Cause::NotMeasured)
    }

    fn is_calm(&self, readings: &[Reading; 3]) -> bool {
        Quantity::ALL.into_iter().zip(readings).all(|(what, reading)| reading.is_calm(self.limits(what).down))
    }

    fn limits(&self, what: Quantity) -> Limits {
        let ControlConfig { rho_down, rho_up, max_gradient_error, .. } = self.config;
        match what {
            Quantity::RhoForward | Quantity::RhoBackward => Limits { down: rho_down, up: rho_up, last: 1.0 },
            Quantity::GradientError => {
                let up = max_gradient_error.unwrap_or(f64::INFINITY);
                Limits { down: up / 2.0, up, last: f64::MAX }
            }
        }
    }
}

/// Limits of one quantity: calm below `down`, a rung up above `up`, the last rung above `last`.
struct Limits {
    down: f64,
    up: f64,
    last: f64,
}
