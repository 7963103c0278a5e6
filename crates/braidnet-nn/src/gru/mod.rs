//! Recurrent networks whose time axis is the layer axis.
//!
//! A [`GruNet`] solves a sequence of hundreds or thousands of steps as other networks solve their layers. All steps share their
//! parameters: every rank has a copy, equal by construction, and gradients are summed over the steps of a rank and over the ranks.
//!
//! - The state is `[cells, batch, hidden]`; in one step the new state of a cell feeds the one above it.
//! - [`GruForm::Implicit`]: `h' = (h + dt (1-z) n) / (1 + dt (1-z))`, stable for every `dt`; [`GruForm::Explicit`]:
//!   `h' = h + dt (1-z) (n - h)`, the classic cell for `dt = 1`. Gates `r, z = sig(W_x x + W_h h + b)`,
//!   `n = tanh(W_x x + b + r (W_h h + b))`.
//! - A coarse step is taken in parts ([`GruConfig::coarse_parts`]). A part that stands for `m` fine steps has the gates of the first,
//!   either with `m dt` for `dt` ([`GruCoarse::Rediscretised`]) or applied `m` times ([`GruCoarse::Frozen`]), and the input of the first
//!   or the mean of them ([`GruConfig::coarse_input`]); it is pulled back with the gates of the middle one.
//! - `W_x x` is formed once per batch for all steps of a rank, as one product; so is its gradient. The steps of all intervals of a rank
//!   are one call on the rows of all their states.
//!
//! Reference: Moon and Cyr, Parallel training of GRU networks with a multi-grid solver for long sequences, ICLR 2022.

mod batch;
mod block;
mod cell;
mod config;
mod network;
mod pointwise;
mod prepared;
mod rows;
mod tape;

pub use batch::{GruBatch, Sequences, Steps};
pub use block::GruSteps;
pub use braidnet_kernels::{GruCoarse, GruForm};
pub use cell::GruCell;
pub use config::{GruConfig, GruInputs, GruOutputs};
pub use network::{GruHead, GruNet};
pub use tape::GruTape;
