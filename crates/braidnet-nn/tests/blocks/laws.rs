//! Linearisations by hand against autograd in double precision, and the kernels of single precision against both.

use braidnet_mgrit::Output;
use braidnet_nn::{
    Autograd, BlockLayer, Conv3dRhs, ConvRhs, Forward, GridSpace, NormKind, Pooling, RhsTape, RightHandSide,
    TensorState, Transition,
};
use burn::tensor::{DType, Device, Tensor};

use crate::*;

pub const NORMS: [Option<NormKind>; 5] =
    [None, Some(NormKind::Batch), Some(NormKind::Group(2)), Some(NormKind::Group(1)), Some(NormKind::Layer)];
pub const POOLINGS: [Pooling; 3] = [Pooling::None, Pooling::Max, Pooling::Average];
/// Odd and even, also less than the window of a convolution.
const EXTENTS: [[usize; 2]; 6] = [[6, 5], [5, 5], [4, 8], [7, 2], [1, 3], [9, 1]];

/// What a linearisation gives, and the gradients still to be formed.
struct Found<const D: usize> {
    f: Tensor<D>,
    back: Tensor<D>,
    gradients: Named,
    statistics: Named,
}

/// By hand: the pullback alone, and the one with gradients, whose state is the same.
fn by_hand<const D: usize, R>(rhs: &R, u: &Tensor<D>, delta: &Tensor<D>, what: &str) -> Found<D>
where
    R: RightHandSide<Space = GridSpace<D>>,
    R::Tape: Clone,
{
    let delta = TensorState(delta.clone());
    let (f, tape) = rhs.linearize(TensorState(u.clone()), at(&TRAINING), Output::Used);
    let again = rhs.evaluate(TensorState(u.clone()), at(&TRAINING));
    assert_eq!(f.0.to_data(), again.0.to_data(), "{what}");
    let back = tape.pullback(delta.clone()).unwrap();
    let (discarded, same) = tape.clone().pullback_with_gradients(delta.clone(), Output::Discarded).unwrap();
    assert!(discarded.is_none(), "{what}");
    let (used, pending) = tape.pullback_with_gradients(delta, Output::Used).unwrap();
    assert_eq!(used.unwrap().0.to_data(), back.0.to_data(), "{what}");
    let (gradients, same) = (pending().unwrap(), same().unwrap());
    let named = |statistics| by_name(rhs, &gradients, statistics);
    all_close(&by_name(rhs, &same, false), &named(false), 0.0, what);
    all_close(&by_name(rhs, &same, true), &named(true), 0.0, what);
    Found { f: f.0, back: back.0, gradients: named(false), statistics: named(true) }
}

/// Value, pullback and gradients of `rhs`, by hand and by autograd, and by the kernels of single precision.
fn agrees<const D: usize, R>(rhs: R, [before, behind]: [[usize; D]; 2], what: &str)
where
    R: RightHandSide<Space = GridSpace<D>> + Forward<Space = GridSpace<D>>,
    R::Tape: Clone,
{
    let (u, delta) = (random(before, 2), random(behind, 3));
    let found = by_hand(&rhs, &u, &delta, what);
    let reference = Autograd::new(rhs.clone());
    let (f, tape) = reference.linearize(TensorState(u.clone()), at(&TRAINING), Output::Used);
    close(&found.f, &f.0, 1e-14, what);
    close(&found.back, &tape.pullback(TensorState(delta.clone())).unwrap().0, 1e-12, what);
    let (_, pending) = tape.pullback_with_gradients(TensorState(delta.clone()), Output::Used).unwrap();
    all_close(&found.gradients, &by_name(&rhs, &pending().unwrap(), false), 1e-12, what);
    let single = by_hand(&in_single(rhs), &u.cast(DType::F32), &delta.cast(DType::F32), what);
    assert_eq!([single.f.dtype(), single.back.dtype()], [DType::F32; 2]);
    close(&single.f, &found.f, 2e-5, what);
    close(&single.back, &found.back, 2e-5, what);
    all_close(&single.gradients, &found.gradients, 2e-5, what);
    all_close(&single.statistics, &found.statistics, 2e-5, what);
}

#[test]
fn convolutions_with_norms() {
    for norm in NORMS {
        for convs in [1, 2] {
            for [height, width] in EXTENTS {
                let dims = [2, 4, height, width];
                let rhs = in_double(ConvRhs::new(convs, norm, 4, &Device::flex()), 10);
                agrees(rhs, [dims; 2], &format!("{convs} convolutions, {norm:?}, {dims:?}"));
            }
        }
    }
}

#[test]
fn transitions() {
    for (norm, pooling) in NORMS.into_iter().flat_map(|norm| POOLINGS.map(|pooling| (norm, pooling))) {
        for [height, width] in EXTENTS {
            let dims = [[2, 2, height, width], [2, 4, height.div_ceil(2), width.div_ceil(2)]];
            let layer = BlockLayer::Transition(Transition::new(pooling, norm, 2, &Device::flex()));
            agrees(in_double(layer, 20), dims, &format!("{pooling:?}, {norm:?}, {dims:?}"));
        }
    }
}

#[test]
fn voxels() {
    for channels in [1, 2, 5] {
        for [depth, height, width] in [[4, 5, 3], [6, 2, 8], [1, 3, 2]] {
            let dims = [2, channels, depth, height, width];
            let rhs = in_double(Conv3dRhs::new(channels, &Device::flex()), 30);
            agrees(rhs, [dims; 2], &format!("{dims:?}"));
        }
    }
}

/// A layer of a network is its right-hand side.
#[test]
fn ode_layers_of_blocks() {
    for norm in NORMS {
        let layer = BlockLayer::Ode(ConvRhs::new(2, norm, 4, &Device::flex()));
        agrees(in_double(layer, 40), [[2, 4, 5, 6]; 2], &format!("{norm:?}"));
    }
}
