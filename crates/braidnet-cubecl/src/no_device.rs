//! Stands in for the kernels where no GPU backend is compiled in: no tensor is on such a device.

use braidnet_kernels::Activation;
use burn::tensor::{Device, Tensor};

use crate::{GruDeltas, GruPace, MemoryLimits, Normed};

pub(crate) fn axpy<const D: usize>(_: &Tensor<D>, _: f32, _: &Tensor<D>) -> Option<Tensor<D>> {
    None
}

pub(crate) fn join<const D: usize>(_: &[Tensor<D>]) -> Option<Tensor<D>> {
    None
}

pub(crate) fn order<const D: usize>(_: &[Tensor<D>]) -> Option<Vec<usize>> {
    None
}

pub(crate) fn split<const D: usize>(_: &Tensor<D>, _: usize) -> Option<Vec<Tensor<D>>> {
    None
}

pub(crate) fn join_all(_: &[Vec<Tensor<1>>]) -> Option<Vec<Tensor<1>>> {
    None
}

pub(crate) fn split_all(_: &[Tensor<1>], _: usize) -> Option<Vec<Vec<Tensor<1>>>> {
    None
}

pub(crate) fn alignment(_: &Tensor<1>) -> Option<usize> {
    None
}

pub(crate) fn pack(_: &[Tensor<1>]) -> Option<Tensor<1>> {
    None
}

pub(crate) fn unpack(_: &Tensor<1>, _: &[usize]) -> Option<Vec<Tensor<1>>> {
    None
}

pub(crate) fn conv3x3(_: &Tensor<4>, _: &Tensor<4>, _: Option<&Tensor<1>>, _: usize, _: bool) -> Option<Tensor<4>> {
    None
}

pub(crate) fn conv3x3_transposed(_: &Tensor<4>, _: &Tensor<4>, _: Option<&Tensor<4>>, _: usize) -> Option<Tensor<4>> {
    None
}

pub(crate) fn conv3x3_weight_gradient(
    _: &Tensor<4>,
    _: &Tensor<4>,
    _: Option<&Tensor<4>>,
    _: usize,
) -> Option<Tensor<4>> {
    None
}

pub(crate) fn channel_sums(_: &Tensor<4>, _: Option<&Tensor<4>>, _: usize) -> Option<Tensor<1>> {
    None
}

pub(crate) fn layer_norm(_: &Tensor<2>, _: &Tensor<1>, _: &Tensor<1>, _: f32, _: bool) -> Option<Normed> {
    None
}

pub(crate) fn layer_norm_pullback(_: &Tensor<2>, _: &Tensor<1>, _: &Tensor<2>, _: &Tensor<2>) -> Option<Tensor<2>> {
    None
}

pub(crate) fn gru_gates(_: &Tensor<2>, _: &Tensor<2>, _: &Tensor<1>) -> Option<Tensor<2>> {
    None
}

pub(crate) fn gru_step(_: &Tensor<2>, _: &Tensor<2>, _: &GruPace) -> Option<Tensor<2>> {
    None
}

pub(crate) fn gru_pullback(_: &Tensor<2>, _: &Tensor<2>, _: &Tensor<2>, _: &GruPace) -> Option<GruDeltas> {
    None
}

pub(crate) fn softmax(_: &Tensor<4>, _: f32, _: bool, _: Option<&Tensor<2>>) -> Option<Tensor<4>> {
    None
}

pub(crate) fn softmax_pullback(_: &Tensor<4>, _: &Tensor<4>, _: f32) -> Option<Tensor<4>> {
    None
}

pub(crate) fn activate(_: Activation, _: &Tensor<2>) -> Option<Tensor<2>> {
    None
}

pub(crate) fn activate_with_derivative(_: Activation, _: &Tensor<2>) -> Option<(Tensor<2>, Tensor<2>)> {
    None
}

pub(crate) fn memory_limits(_: &Device) -> Option<MemoryLimits> {
    None
}
