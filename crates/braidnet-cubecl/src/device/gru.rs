//! The pointwise part of a gated recurrent unit as a step in time: what is left when its products are done.
//!
//! One thread per number of the state. Every number is read and written once: the memory is the limit. Not measured on a
//! GPU.

mod kernel;

use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;

use super::tensor::{Elements, empty, plain, plain_option, slice_arg, wrap};
use crate::{GruDeltas, GruPace};
use kernel::{Form, gru_gates_kernel, gru_pullback_kernel, gru_step_kernel};

pub(crate) fn gru_gates(from_input: &Tensor<2>, from_state: &Tensor<2>, bias: &Tensor<1>) -> Option<Tensor<2>> {
    let (input, state, bias) = (plain(from_input)?, plain(from_state)?, plain(bias)?);
    let [rows, columns]: [usize; 2] = state.meta.shape().dims();
    let hidden = columns / 3;
    assert!(columns == 3 * hidden && hidden > 0, "gru_gates: {columns} columns are not three blocks");
    assert_eq!(input.meta.shape(), state.meta.shape(), "gru_gates: from_input must have the shape of from_state");
    assert_eq!(bias.meta.num_elements(), columns, "gru_gates: bias");
    let gates = empty(&state, [rows, 4 * hidden])?;
    if rows > 0 {
        let Elements { count, dim } = Elements::of(&gates.client, rows * hidden);
        let into = gates.clone().into_buffer_arg();
        let [input, state, bias] = [input, state, bias].map(slice_arg);
        gru_gates_kernel::launch(&gates.client, count, dim, input, state, bias, into, hidden);
    }
    Some(wrap(gates))
}

pub(crate) fn gru_step(gates: &Tensor<2>, h: &Tensor<2>, pace: &GruPace) -> Option<Tensor<2>> {
    let (gates, h, counts) = (plain(gates)?, plain(h)?, plain_option(pace.each.as_ref())?);
    let [rows, hidden] = checked("gru_step", &gates, &h, counts.as_ref());
    let out = empty(&h, [rows, hidden])?;
    if rows * hidden > 0 {
        let Elements { count, dim } = Elements::of(&out.client, rows * hidden);
        gru_step_kernel::launch(
            &out.client,
            count,
            dim,
            slice_arg(gates),
            slice_arg(h),
            counts.map(CubeTensor::into_tensor_arg).into(),
            out.clone().into_buffer_arg(),
            hidden,
            pace.count,
            pace.dt,
            Form { implicit: pace.implicit, frozen: pace.frozen },
        );
    }
    Some(wrap(out))
}

pub(crate) fn gru_pullback(gates: &Tensor<2>, h: &Tensor<2>, lambda: &Tensor<2>, pace: &GruPace) -> Option<GruDeltas> {
    let (gates, h, lambda) = (plain(gates)?, plain(h)?, plain(lambda)?);
    let counts = plain_option(pace.each.as_ref())?;
    let [rows, hidden] = checked("gru_pullback", &gates, &h, counts.as_ref());
    assert_eq!(lambda.meta.shape(), h.meta.shape(), "gru_pullback: lambda must have the shape of h");
    let [direct, state, input] = [hidden, 3 * hidden, 3 * hidden].map(|columns| empty(&h, [rows, columns]));
    let (direct, state, input) = (direct?, state?, input?);
    if rows * hidden > 0 {
        let Elements { count, dim } = Elements::of(&h.client, rows * hidden);
        gru_pullback_kernel::launch(
            &h.client.clone(),
            count,
            dim,
            slice_arg(gates),
            slice_arg(h),
            slice_arg(lambda),
            counts.map(CubeTensor::into_tensor_arg).into(),
            direct.clone().into_buffer_arg(),
            state.clone().into_buffer_arg(),
            input.clone().into_buffer_arg(),
            hidden,
            pace.count,
            pace.dt,
            Form { implicit: pace.implicit, frozen: pace.frozen },
        );
    }
    Some(GruDeltas { direct: wrap(direct), state: wrap(state), input: wrap(input) })
}

/// Rows and columns of the state `h`.
///
/// # Panics
/// If the others do not fit it, naming `function`.
fn checked(function: &str, gates: &CubeTensor, h: &CubeTensor, counts: Option<&CubeTensor>) -> [usize; 2] {
    let [rows, hidden]: [usize; 2] = h.meta.shape().dims();
    assert_eq!(gates.meta.shape().dims(), [rows, 4 * hidden], "{function}: gates must be [rows, 4 hidden]");
    if let Some(counts) = counts {
        assert_eq!(counts.meta.num_elements(), rows, "{function}: a count for every row");
    }
    [rows, hidden]
}
