//! What the controller decides, and why.

use std::fmt::{Display, Formatter, Result};

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Convergence factor of the forward solve.
    RhoForward,
    /// Convergence factor of the adjoint solve.
    RhoBackward,
    /// Relative error of the gradient.
    GradientError,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::RhoForward, Self::RhoBackward, Self::GradientError];
}

impl Display for Quantity {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::RhoForward => "rho of the forward solve",
            Self::RhoBackward => "rho of the backward solve",
            Self::GradientError => "gradient error",
        })
    }
}

/// What a probe says of the rung. Printed, it is half a sentence for a log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// An iteration makes it worse, or something is not finite: to the last rung.
    Diverges {
        /// What.
        what: Quantity,
        /// Its value.
        value: f64,
    },
    /// Too slow or too wrong: one rung up.
    High {
        /// What.
        what: Quantity,
        /// Mean over the last probes.
        mean: f64,
        /// How many probes.
        probes: usize,
        /// The mean is above this.
        limit: f64,
    },
    /// The network evaluates otherwise than it is trained: one rung up.
    Mismatch {
        /// Distance of the scores.
        value: f64,
        /// It is not within this.
        limit: f64,
    },
    /// The rung below would do: one rung down.
    Calm {
        /// For so many probes in a row.
        probes: usize,
        /// Each rho was below this, or at round-off.
        rho_down: f64,
    },
    /// The rung below, which was probed, would not do: stay.
    BelowHigh {
        /// What.
        what: Quantity,
        /// Its value there.
        value: f64,
        /// Calm is below this.
        limit: f64,
    },
    /// Nothing to do.
    Steady,
    /// The probe found nothing to go by.
    NotMeasured,
}

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Diverges { what, value } if value.is_finite() => write!(f, "{what} {value:.3} > 1"),
            Self::Diverges { what, value } => write!(f, "{what} is {value}"),
            Self::High { what, mean, probes: 1, limit } => write!(f, "{what} {mean:.3} > {limit}"),
            Self::High { what, mean, probes, limit } => {
                write!(f, "{what} {mean:.3} (mean of {probes} probes) > {limit}")
            }
            Self::Mismatch { value, limit } => {
                write!(f, "scores as scheduled and exact differ by {value:.4} > {limit}")
            }
            Self::Calm { probes, rho_down } => write!(f, "rho below {rho_down} or at round-off for {probes} probes"),
            Self::BelowHigh { what, value, limit } => write!(f, "{what} {value:.3}, not below {limit}"),
            Self::Steady => write!(f, "within the limits"),
            Self::NotMeasured => write!(f, "nothing was measured"),
        }
    }
}

/// Why a cause for a change did not change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The last change is too near.
    Dwell {
        /// It can be followed after so many more probes.
        left: usize,
    },
    /// The controller only watches.
    Fixed,
}

impl Display for Held {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Dwell { left: 1 } => write!(f, "the last change is near: 1 more probe"),
            Self::Dwell { left } => write!(f, "the last change is near: {left} more probes"),
            Self::Fixed => write!(f, "the control is fixed"),
        }
    }
}

/// What follows from one probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Updates done when it was made.
    pub step: u64,
    /// The rung before.
    pub from: usize,
    /// The rung from now on.
    pub to: usize,
    /// The rung whose schedule was probed: `from`, or the one below it.
    pub probed: usize,
    /// Why.
    pub cause: Cause,
    /// Why `cause` is not followed, if it is not.
    pub held: Option<Held>,
}

impl Decision {
    /// Whether the schedule changes.
    pub fn is_change(&self) -> bool {
        self.from != self.to
    }
}
