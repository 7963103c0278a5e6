//! Operations on many states at once, which on a GPU are one call where the states are alike.

use burn::tensor::Tensor;

use crate::TensorState;
use crate::gpu;
use crate::host::single;
use crate::stack::{join, split};

/// States of equal shape and type below each other; `None` of others.
pub(crate) fn stack<const D: usize>(states: Vec<TensorState<D>>) -> Option<TensorState<D>> {
    let first = &states.first()?.0;
    let are_alike = states.iter().all(|state| state.0.dims() == first.dims() && state.0.dtype() == first.dtype());
    are_alike.then(|| TensorState(join(states.into_iter().map(|state| state.0).collect())))
}

/// The inverse of [`stack`].
pub(crate) fn unstack<const D: usize>(state: TensorState<D>, n: usize) -> Vec<TensorState<D>> {
    split(state.0, n).into_iter().map(TensorState).collect()
}

/// `state + a x` of each pair in one call; `None` where there is none for them.
///
/// States that a sweep has computed side by side lie below each other, so that nothing is copied; but a sweep goes from right
/// to left, so they must be taken in the order of their places.
pub(crate) fn sums<const D: usize>(
    a: f64,
    states: &[&mut TensorState<D>],
    xs: &[&TensorState<D>],
) -> Option<Vec<Tensor<D>>> {
    let states: Vec<_> = states.iter().map(|state| state.0.clone()).collect();
    let order = gpu::order(&states).filter(|order| order.len() > 1)?;
    let state = gpu::join(&in_order(&order, |n| states[n].clone()))?;
    let x = gpu::join(&in_order(&order, |n| xs[n].0.clone()))?;
    let sum = if state.dims() == x.dims() { gpu::axpy(&state, a as f32, &x) } else { None };
    // Not held while the parts are used, which are written to in place only where nobody else has them.
    drop((states, state));
    Some(put_back(&order, split(sum?, order.len())))
}

/// The squared norm of each state, with one read for all; `None` where they are not alike.
pub(crate) fn squares<const D: usize>(states: &[&TensorState<D>]) -> Option<Vec<f64>> {
    let all: Vec<_> = states.iter().map(|state| state.0.clone()).collect();
    let order = gpu::order(&all).unwrap_or_else(|| (0..all.len()).collect());
    let TensorState(all) = stack(in_order(&order, |n| TensorState(all[n].clone())))?;
    let all = single(all.reshape([order.len() as i32, -1]));
    let squares = (all.clone() * all).sum_dim(1).into_data();
    Some(put_back(&order, squares.iter::<f64>().collect()))
}

fn in_order<T>(order: &[usize], of: impl Fn(usize) -> T) -> Vec<T> {
    order.iter().map(|n| of(*n)).collect()
}

/// The inverse of [`in_order`].
fn put_back<T>(order: &[usize], things: Vec<T>) -> Vec<T> {
    let mut placed: Vec<_> = order.iter().zip(things).collect();
    placed.sort_by_key(|(n, _)| **n);
    placed.into_iter().map(|(_, thing)| thing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn state(value: f32, n: usize) -> TensorState<2> {
        TensorState(Tensor::<2>::ones([n, 3], &Device::flex()) * value)
    }

    #[test]
    fn what_was_put_in_order_comes_back() {
        let order = [2, 0, 3, 1];
        let found = in_order(&order, |n| 10 * n);
        assert_eq!(found, [20, 0, 30, 10]);
        assert_eq!(put_back(&order, found), [0, 10, 20, 30]);
    }

    #[test]
    fn squares_come_in_the_order_of_the_states() {
        let states = [state(1.0, 2), state(-2.0, 2), state(3.0, 2)];
        assert_eq!(squares(&states.each_ref()).unwrap(), [6.0, 24.0, 54.0]);
        assert!(squares(&[&state(1.0, 2), &state(1.0, 1)]).is_none());
    }

    #[test]
    fn sums_in_one_call_are_left_to_gpus() {
        assert!(sums(2.0, &[&mut state(1.0, 2), &mut state(2.0, 2)], &[&state(1.0, 2), &state(1.0, 2)]).is_none());
    }
}
