//! The controller of inexact gradients: measures now and then how well MGRIT still converges, and takes a more exact
//! schedule where it does not, or a cheaper one where that would do.
//!
//! It is logic alone: somebody else makes the probes and changes the solvers. Every `probe_every` steps
//! ([`Controller::due`]) a batch is solved with [`Controller::probe_schedule`] and one more iteration, for two residual
//! norms each way; what was found goes to [`Controller::observe`], whose [`Decision`] names the rung of the [`Ladder`] to go
//! on with, and the cause.
//!
//! # Rules
//! rho is the factor by which one more iteration reduces the residual. It belongs to a method (levels, coarsening,
//! relaxation), not to its number of iterations: these change what is left of the error, `rho^k`. A sequential solve has
//! none. So a change is judged by the rho of the method it is about:
//!
//! - **Up** by probes of the rung in use. Mean over the last `smoothing` probes of either rho above `rho_up`: one rung up.
//!   Twice the iterations do not lower rho, so where it stays above `rho_up` the next rung follows, after `dwell` probes.
//! - **To the last rung**, at once and whatever the dwell, where a rho is above 1, or a rho or the gradient error is not
//!   finite: more of what makes it worse is no help.
//! - **Down** by what the rung below would do. A probe is *calm* if each rho is below `rho_down`; after `patience_down`
//!   calm probes in a row, one rung down.
//!
//! | rung in use | a probe measures | what it decides |
//! |---|---|---|
//! | `base` | `base` | up |
//! | `iterations x2` | itself: the same rho as `base` | up, down |
//! | `FCF` | itself; once calm, `iterations x2` | up; down |
//! | `sequential forward` | itself (backward only); once calm, the rung below | up; down |
//! | `sequential` | `sequential forward` | down |
//!
//! "Once calm" is: after `patience_down` calm probes of the rung itself, and where the dwell would allow a descent. The probes
//! then look at the rung below until one is not calm. Such a probe never leads up, as nothing that is in use was measured:
//! so the backward solve on exact states is not judged by its behaviour on states of a diverging forward solve.
//!
//! - A rho at the round-off floor never leads up and interrupts the mean; it is calm, as the solve has converged.
//! - A rho that should be there and is not (`None`) interrupts the mean and is not calm.
//! - `max_gradient_error` acts in the same way, with half of it for a calm probe. It depends on the number of iterations,
//!   so `iterations x2` too looks at the rung below then.
//! - `max_mismatch` is about evaluations ([`Controller::observe_mismatch`]), not probes: one rung up where the scores by the
//!   schedule's forward pass and by the exact one are further apart.
//! - Two changes are `dwell` probes apart. Before a descent it is twice as many for each earlier descent that was taken
//!   back soon, up to 32 times: a rung that only looks good from above is tried less and less often. A descent that
//!   lasts four times as long makes up for all.
//!
//! # Communication
//! None. All ranks must pass the same numbers: a solve's norms are equal along the layer axis, but not along the data
//! axis, where they are to be agreed on (the larger, with NaN above all).
//!
//! # Reference
//! Jiang et al., Layer-parallel training for transformers, arXiv 2601.09026, watches the same ratio and goes one way.

mod config;
mod controller;
mod decision;
mod judge;
mod ladder;
mod measured;
#[cfg(test)]
mod tests;

pub use config::{ControlConfig, ControlError, ControlKind};
pub use controller::Controller;
pub use decision::{Cause, Decision, Held, Quantity};
pub use ladder::Ladder;
pub use measured::{Measured, is_round_off};
