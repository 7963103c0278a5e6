//! What layers are made of, on slices of floats: of transformers and gated recurrent units the pointwise parts (activations, softmax, layer
//! normalisation, dropout, gates, sums), of networks on grids the convolutions, norms and coarser grids.
//!
//! A tensor library runs a softmax or a layer normalisation as a chain of operations, each with a pass over memory and
//! a tensor of its own. Here each is one call over slices that the caller owns, vectorised, with the pullback that the
//! adjoint solve needs beside it. Matrix products are left to the tensor library; there are no tensors here.
//!
//! - [`Activation`]: GELU, ReLU, ELU, in place, with the derivative where it is wanted; [`erf()`] below them.
//! - [`Attention`]: scaled, masked softmax of attention scores.
//! - [`layer_norm()`]: with [`layer_norm_pullback`] and [`layer_norm_gradients`].
//! - [`ChannelNorm`]: batch, group and layer normalisation of channels, with a ReLU behind; [`relu_pullback`].
//! - [`Conv`]: convolutions with windows of three positions along two or three axes, and their pullbacks.
//! - [`Dropout`]: its mask is a function of a key, the row and the column, never of the order of evaluation.
//! - [`gru_gates`] and [`GruStep`]: a gated recurrent unit as a step in time, fine or coarse, with its pullback and the
//!   diagonal of its Jacobian; [`sigmoid`] and [`tanh`] below them.
//! - [`Stencil`]: restriction to every other position of a grid, and interpolation.
//! - [`column_sums`], [`add_to_rows`], [`axpy`], [`mul`]: what a linear layer needs besides its product.
//!
//! # Layout
//! Matrices are row-major, without gaps; further axes lie before the rows. Lengths that do not fit each other are a
//! mistake of the calling code: debug builds panic, release builds leave elements alone or panic, and never read or
//! write beyond a slice.
//!
//! # The same bits everywhere
//! The instruction set is chosen at run time. No kernel contracts a product and a sum into one rounding, and every sum
//! has an order that depends on its length alone, so the results have the same bits on every processor, and for every
//! row alone as among others.
//!
//! The exception is [`Conv`], which does contract where the processor has an instruction for it, as matrix products do.
//! Its results may differ between processors; on one they depend on nothing but the numbers and the sizes.
//!
//! The vocabulary that all crates share is in `docs/conventions.md`.

mod activation;
mod coarsen;
mod conv;
mod dropout;
mod erf;
mod exp;
mod gru;
mod layer_norm;
mod norm;
mod rows;
mod softmax;
mod vector;

pub use activation::Activation;
pub use coarsen::{Axis, Stencil};
pub use conv::Conv;
pub use dropout::{Dropout, key};
pub use erf::{erf, erf_slice};
pub use gru::{Counts, GruCoarse, GruForm, GruStep, gru_gates, sigmoid, tanh};
pub use layer_norm::{layer_norm, layer_norm_gradients, layer_norm_pullback};
pub use norm::{ChannelNorm, NormOver, relu_pullback};
pub use rows::{add_to_rows, axpy, column_sums, mul};
pub use softmax::Attention;
