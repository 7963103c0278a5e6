//! Networks on burn whose layers are time steps.
//!
//! A network is an opening layer, a block of ODE layers `u + dt F(u)` and a closing layer. The block is what the
//! solver of [`braidnet_mgrit`] sees: [`OdeBlock`] implements its `Propagator` and `Differentiable` for any
//! right-hand side `F` ([`RightHandSide`]). [`ConvRhs`] has its linearisation written by hand; [`Autograd`] gives
//! one to any module that can be evaluated. [`OdeNet2d`] puts it together. Nothing here knows ranks: a block is
//! simply the layers `first..first + n` of a longer network.
//!
//! The vocabulary that all crates share is in `docs/conventions.md`.

mod autograd;
mod block;
mod closing;
mod coarse;
mod conv;
mod conv_rhs;
mod error;
mod gradients;
mod image_space;
mod init;
mod linearization;
mod network;
mod ode_net;
mod odenet2d;
mod opening;
mod parameters;
mod rhs;
mod state;
pub mod transformer;

pub use autograd::{Autograd, Forward, Recorded};
pub use block::{BlockOn, OdeBlock};
pub use closing::Dense;
pub use coarse::CoarseOperator;
pub use conv_rhs::{ConvRhs, ConvTape, OneConv, TwoConv};
pub use error::NetworkError;
pub use gradients::{Gradient, Gradients};
pub use image_space::{ImageSpace, Samples};
pub use init::DepthInit;
pub use linearization::OdeLinearization;
pub use network::{Closed, Network, OpeningPullback};
pub use ode_net::{ClosingLayer, Depth, OdeNet, OpeningLayer};
pub use odenet2d::{OdeNet2d, OdeNet2dConfig};
pub use opening::{Opening, OpeningKind, Repeat};
pub use parameters::{Parameter, load_parameters, map_parameters, visit_parameters};
pub use rhs::{At, BatchOf, Noise, PendingRhs, RhsTape, RightHandSide, StateOf, StateSpace};
pub use state::TensorState;
