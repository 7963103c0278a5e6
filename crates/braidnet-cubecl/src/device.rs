//! The functions of the crate on tensors of burn's GPU backends.

mod conv;
mod join;
mod read;
mod sums;
mod tensor;
mod weight_gradient;

pub(crate) use conv::{conv3x3, conv3x3_transposed};
pub(crate) use join::{join, split};
pub(crate) use sums::channel_sums;
pub(crate) use weight_gradient::conv3x3_weight_gradient;
