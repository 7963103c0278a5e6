//! A function of every element, and its derivative, in one launch.

mod kernel;

use braidnet_kernels::Activation;
use burn::tensor::Tensor;

use super::tensor::{Elements, empty, empty_like, plain, slice_arg, wrap};
use kernel::{Function, activate_kernel};

pub(crate) fn activate(activation: Activation, x: &Tensor<2>) -> Option<Tensor<2>> {
    launch(activation, x, false).map(|(y, _)| y)
}

pub(crate) fn activate_with_derivative(activation: Activation, x: &Tensor<2>) -> Option<(Tensor<2>, Tensor<2>)> {
    launch(activation, x, true)
}

fn launch(activation: Activation, x: &Tensor<2>, derivative: bool) -> Option<(Tensor<2>, Tensor<2>)> {
    let x = plain(x)?;
    let y = empty_like(&x)?;
    // Where it is not wanted nothing is written to it.
    let slope = if derivative { empty_like(&x)? } else { empty(&x, [1, 1])? };
    let elements = y.meta.num_elements();
    if elements > 0 {
        let Elements { count, dim } = Elements::of(&y.client, elements);
        let (into_y, into_slope) = (y.clone().into_buffer_arg(), slope.clone().into_buffer_arg());
        let function = Function { activation, derivative };
        activate_kernel::launch(&y.client, count, dim, slice_arg(x), into_y, into_slope, function);
    }
    Some((wrap(y), wrap(slope)))
}
