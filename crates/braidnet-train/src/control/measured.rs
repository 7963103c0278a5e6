//! What a probe hands to the controller.

use super::ControlConfig;
use super::decision::Quantity;
use crate::{Schedule, SolveConfig};

/// Findings of one probe, all of them with [`Controller::probe_schedule`](super::Controller::probe_schedule).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    /// Convergence factor of the forward solve; NaN or infinite if the solve broke down, `None` if it is sequential.
    pub rho_forward: Option<f64>,
    /// Convergence factor of the adjoint solve, likewise.
    pub rho_backward: Option<f64>,
    /// The last residual of the forward solve is round-off, so that its rho says nothing.
    pub at_floor_forward: bool,
    /// The last residual of the adjoint solve is round-off.
    pub at_floor_backward: bool,
    /// Relative distance from the exact gradient, if it was measured.
    pub gradient_error: Option<f64>,
    /// Cosine of the angle with the exact gradient, if it was measured. Not judged.
    pub cosine: Option<f64>,
}

/// How many times the round-off of one evaluation a residual may be: the residual is a difference of two states, each the
/// end of a few layers.
const FLOOR: f64 = 4.0;

/// Whether a residual is round-off: `||r|| <= C eps ||u|| sqrt(n)` with C = 4.
///
/// Each element of a state is a sum of up to about `n_elements` products, whose round-off grows with the square root of
/// their number. Both norms are over the same points; `n_elements` is the size of one sample's state at one of
/// them, and `eps` that of the numbers computed with (`f32::EPSILON`). What is not finite is no round-off.
pub fn is_round_off(residual_norm: f64, state_norm: f64, n_elements: usize, eps: f64) -> bool {
    state_norm.is_finite() && residual_norm <= FLOOR * eps * state_norm * (n_elements as f64).sqrt()
}

/// One quantity of a probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reading {
    /// The schedule has nothing to measure there.
    Absent,
    /// It has, but it was not measured.
    Unknown,
    /// Converged to round-off.
    Floor,
    /// A number, which may be NaN or infinite.
    Value(f64),
}

impl Reading {
    /// Whether it is no reason against fewer iterations.
    pub fn is_calm(self, below: f64) -> bool {
        match self {
            Self::Absent | Self::Floor => true,
            Self::Unknown => false,
            Self::Value(value) => value < below,
        }
    }
}

impl Measured {
    /// The readings of a probe with `schedule`, in the order of [`Quantity::ALL`].
    pub(super) fn readings(&self, schedule: &Schedule, config: &ControlConfig) -> [Reading; 3] {
        let rho = |solve: &SolveConfig, rho, at_floor| match (rho, at_floor) {
            _ if solve.is_sequential() => Reading::Absent,
            (Some(value), _) if !f64::is_finite(value) => Reading::Value(value),
            (_, true) => Reading::Floor,
            (Some(value), false) => Reading::Value(value),
            (None, false) => Reading::Unknown,
        };
        let error = match self.gradient_error {
            _ if schedule.is_exact() => Reading::Absent,
            Some(value) => Reading::Value(value),
            None if config.max_gradient_error.is_some() => Reading::Unknown,
            None => Reading::Absent,
        };
        Quantity::ALL.map(|what| match what {
            Quantity::RhoForward => rho(&schedule.forward, self.rho_forward, self.at_floor_forward),
            Quantity::RhoBackward => rho(&schedule.backward, self.rho_backward, self.at_floor_backward),
            Quantity::GradientError => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_off_is_relative_and_finite() {
        let eps = f64::from(f32::EPSILON);
        for scale in [1e-3, 1.0, 1e5] {
            assert!(is_round_off(79.0 * eps * scale, scale, 400, eps));
            assert!(!is_round_off(81.0 * eps * scale, scale, 400, eps));
        }
        assert!(is_round_off(0.0, 0.0, 1, eps));
        for (r, u) in [(f64::NAN, 1.0), (1.0, f64::NAN), (f64::INFINITY, f64::INFINITY), (1.0, f64::INFINITY)] {
            assert!(!is_round_off(r, u, 400, eps), "{r} {u}");
        }
    }

    #[test]
    fn only_what_the_schedule_solves_by_mgrit_is_read() {
        let solve = SolveConfig::new(4);
        let found = Measured {
            rho_forward: Some(0.9),
            rho_backward: Some(0.2),
            at_floor_backward: true,
            ..Measured::default()
        };
        let config = ControlConfig::default();
        let watched = ControlConfig { max_gradient_error: Some(0.1), ..config.clone() };
        let both = Schedule::layer_parallel(solve.clone());
        assert_eq!(found.readings(&both, &config), [Reading::Value(0.9), Reading::Floor, Reading::Absent]);
        assert_eq!(found.readings(&both, &watched)[2], Reading::Unknown);
        let mixed = Schedule { backward: solve, ..Schedule::sequential() };
        assert_eq!(found.readings(&mixed, &config)[0], Reading::Absent);
        assert_eq!(found.readings(&Schedule::sequential(), &watched), [Reading::Absent; 3]);
        assert_eq!(Measured::default().readings(&both, &config)[..2], [Reading::Unknown; 2]);
        let broken = Measured { rho_backward: Some(f64::NAN), ..found };
        assert!(matches!(broken.readings(&both, &config)[1], Reading::Value(rho) if rho.is_nan()));
    }
}
