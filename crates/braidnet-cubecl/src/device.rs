//! The functions of the crate on tensors of burn's GPU backends.

mod axpy;
mod conv;
mod copy;
mod join;
mod limits;
mod pack;
mod place;
mod read;
mod sums;
mod tensor;
mod weight_gradient;

pub(crate) use axpy::axpy;
pub(crate) use conv::{conv3x3, conv3x3_transposed};
pub(crate) use join::{join, join_all, order, split, split_all};
pub(crate) use limits::memory_limits;
pub(crate) use pack::{alignment, pack, unpack};
pub(crate) use sums::channel_sums;
pub(crate) use weight_gradient::conv3x3_weight_gradient;
