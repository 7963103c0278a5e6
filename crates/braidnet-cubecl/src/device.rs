//! The functions of the crate on tensors of burn's GPU backends.

mod activation;
mod axpy;
mod conv;
mod copy;
mod fold;
mod gru;
mod join;
mod layer_norm;
mod limits;
mod pack;
mod place;
mod read;
mod softmax;
mod sums;
mod tensor;
mod weight_gradient;

pub(crate) use activation::{activate, activate_with_derivative};
pub(crate) use axpy::axpy;
pub(crate) use conv::{conv3x3, conv3x3_transposed};
pub(crate) use gru::{gru_gates, gru_pullback, gru_step};
pub(crate) use join::{join, join_all, order, split, split_all};
pub(crate) use layer_norm::{layer_norm, layer_norm_pullback};
pub(crate) use limits::memory_limits;
pub(crate) use pack::{alignment, pack, unpack};
pub(crate) use softmax::{softmax, softmax_pullback};
pub(crate) use sums::channel_sums;
pub(crate) use weight_gradient::conv3x3_weight_gradient;
