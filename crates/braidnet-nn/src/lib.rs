//! Networks on burn whose layers are time steps.
//!
//! A network ([`OdeNet`]) is an opening layer, ODE layers `u + dt F(u)` and a closing layer. It has states, and takes
//! inputs, of a [`StateSpace`], which also says what layers need of a batch besides the state (sizes, masks, randomness), which shape
//! states have from point to point ([`ByPoint`]), and how they get to coarser grids.
//!
//! - [`OdeBlock`] is what the solver of [`braidnet_mgrit`] sees: on a batch ([`BlockOn`]) it implements `Propagator` and
//!   `Differentiable` for any right-hand side `F` ([`RightHandSide`]); a [`CoarseOperator`] says what a coarse step does with
//!   the layers it stands for. Layers at either end can stay outside ([`Depth::buffer`]).
//! - [`OdeNet2d`] is an ODENet on images, [`OdeNet3d`] one on voxels; [`BlockNet`] has blocks of ODE layers with norms ([`NormKind`]) and,
//!   between them, layers of another kind ([`Transition`]). [`transformer`] has encoders, decoders and encoder-decoders. Their right-hand
//!   sides are linearised by hand; [`Autograd`] does it for any module that can be evaluated.
//! - [`gru`] has recurrent networks, whose layers are the steps of a sequence and share their parameters.
//! - [`SpaceCoarsening`] lets coarse levels have images or voxels of half the extents.
//! - [`Network`] is what training asks of a network besides its layers. Running statistics of batch norms come with the gradients
//!   ([`Gradient::is_statistic`]), and [`absorb_statistics`] has them taken up.
//!
//! Nothing here knows ranks: a part is simply the layers `first..first + n` of a longer network. Parameters have global names
//! (`layers.00017.sa.q.weight`, or `shared.cells.0.h.weight` of what all layers share), and initial values from (seed, global layer)
//! alone.
//!
//! The vocabulary that all crates share is in `docs/conventions.md`.

mod autograd;
mod block;
mod block_net;
mod block_on;
mod closing;
mod coarse;
mod conv;
mod conv3d;
mod conv_rhs;
mod depth;
mod error;
mod gpu;
mod gradients;
mod grid_space;
pub mod gru;
mod host;
mod init;
mod linear;
mod linearization;
mod network;
mod norm;
mod ode_net;
mod odenet2d;
mod odenet3d;
mod opening;
mod packing;
mod parameters;
mod rhs;
mod space_coarsening;
mod stack;
mod stage;
mod state;
mod states;
mod together;
pub mod transformer;
mod transition;

pub use braidnet_cubecl::{MemoryLimits, memory_limits};

pub use autograd::{Autograd, Forward, Recorded};
pub use block::OdeBlock;
pub use block_net::{BlockNet, BlockNetConfig};
pub use block_on::BlockOn;
pub use closing::{Dense, Pooled};
pub use coarse::CoarseOperator;
pub use conv_rhs::{ConvRhs, ConvTape, OneConv, TwoConv};
pub use conv3d::{Conv3dRhs, Conv3dTape};
pub use depth::Depth;
pub use error::NetworkError;
pub use gradients::{Gradient, Gradients};
pub use grid_space::{GridSpace, ImageSpace, Samples, VoxelSpace};
pub use init::DepthInit;
pub use linearization::OdeLinearization;
pub use network::{Closed, Network, OpeningPullback};
pub use norm::{MOMENTUM, Norm, NormKind, absorb_statistics};
pub use ode_net::{ClosingLayer, OdeNet, OpeningLayer};
pub use odenet2d::{OdeNet2d, OdeNet2dConfig};
pub use odenet3d::{OdeNet3d, OdeNet3dConfig};
pub use opening::{NormedConv, Opening, OpeningKind, Repeat};
pub use packing::Packing;
pub use parameters::{Parameter, load_parameters, map_parameters, visit_parameters};
pub use rhs::{At, BatchOf, ByPoint, Layers, Noise, Pass, PendingRhs, RhsTape, RightHandSide, StateOf, StateSpace};
pub use space_coarsening::{Restriction, SpaceCoarsening};
pub use state::TensorState;
pub use transition::{BlockLayer, BlockTape, Pooling, Transition, TransitionTape};
