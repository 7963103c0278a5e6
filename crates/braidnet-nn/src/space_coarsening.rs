//! States on coarser grids: what the coarse levels of a solve can use in place of the layers' own.
//!
//! Along every axis the points with odd index stay, so that `n` points become `floor(n / 2)`; beyond the border a state is 0, as
//! the convolutions see it. Full weighting is `1/4 (1 2 1)` around a point that stays, prolongation `1/2 (1 2 1)`: the transposed
//! weights, linear interpolation.

use braidnet_kernels::{Axis, Stencil};
use burn::tensor::{Tensor, s};
use serde::{Deserialize, Serialize};

use crate::host::{Numbers, on_host, tensor};

/// How a state becomes one on a coarser grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restriction {
    /// A weighted mean of a point that stays and its neighbours.
    #[default]
    FullWeighting,
    /// The points that stay.
    Injection,
}

/// Which levels have coarser grids than the level before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceCoarsening {
    /// How states and residuals are restricted; corrections are interpolated.
    pub restriction: Restriction,
    /// The levels whose states are halved along every axis on the way to the next coarser one.
    pub levels: Vec<usize>,
}

impl SpaceCoarsening {
    /// How often states have been halved on `level`.
    pub(crate) fn halvings(&self, level: usize) -> usize {
        let mut from: Vec<usize> = self.levels.iter().copied().filter(|from| *from < level).collect();
        from.sort_unstable();
        from.dedup();
        from.len()
    }
}

/// Points along an axis of `n` on the next coarser grid.
pub(crate) fn coarse_extent(n: usize) -> usize {
    n / 2
}

/// Weights around a point that stays.
fn stencil(how: Restriction) -> Stencil {
    match how {
        Restriction::FullWeighting => Stencil { centre: 0.5, side: 0.25 },
        Restriction::Injection => Stencil { centre: 1.0, side: 0.0 },
    }
}

const LINEAR: Stencil = Stencil { centre: 1.0, side: 0.5 };

/// `u` on the next coarser grid.
pub(crate) fn restrict<const D: usize>(u: Tensor<D>, how: Restriction) -> Tensor<D> {
    restrict_by(stencil(how), u)
}

/// The transpose of `prolong`.
pub(crate) fn restrict_adjoint<const D: usize>(lambda: Tensor<D>) -> Tensor<D> {
    restrict_by(LINEAR, lambda)
}

/// `c` on the next finer grid, which has the given extents.
pub(crate) fn prolong<const D: usize>(c: Tensor<D>, fine: [usize; D]) -> Tensor<D> {
    interpolate_by(LINEAR, c, fine)
}

/// The transpose of `restrict`.
pub(crate) fn prolong_adjoint<const D: usize>(c: Tensor<D>, fine: [usize; D], how: Restriction) -> Tensor<D> {
    interpolate_by(stencil(how), c, fine)
}

/// Along every axis of the grid, behind samples and channels; the last one last, when least is left of the others.
fn restrict_by<const D: usize>(stencil: Stencil, mut u: Tensor<D>) -> Tensor<D> {
    for axis in 2..D {
        let mut dims = u.dims();
        let line = along(&dims, axis);
        dims[axis] = coarse_extent(line.n);
        u = match on_host(&u) {
            true => {
                let mut coarse = vec![0.0; dims.iter().product()];
                stencil.restrict(line, Numbers::of(u).as_slice(), &mut coarse);
                tensor(coarse, dims)
            }
            false => restricted(stencil, u.reshape([line.before, line.n, line.behind])).reshape(dims),
        };
    }
    u
}

/// As `restrict_by`, back, in the other order.
fn interpolate_by<const D: usize>(stencil: Stencil, mut c: Tensor<D>, fine: [usize; D]) -> Tensor<D> {
    for axis in (2..D).rev() {
        let mut dims = c.dims();
        dims[axis] = fine[axis];
        let line = along(&dims, axis);
        c = match on_host(&c) {
            true => {
                let mut refined = vec![0.0; dims.iter().product()];
                stencil.interpolate(line, Numbers::of(c).as_slice(), &mut refined);
                tensor(refined, dims)
            }
            false => {
                let coarse = c.reshape([line.before, coarse_extent(line.n), line.behind]);
                interpolated(stencil, coarse, line.n).reshape(dims)
            }
        };
    }
    c
}

/// An axis of a tensor of these extents.
fn along(dims: &[usize], axis: usize) -> Axis {
    let (before, behind) = (dims[..axis].iter().product(), dims[axis + 1..].iter().product());
    Axis { before, n: dims[axis], behind }
}

/// As [`Stencil::restrict`], with tensors.
fn restricted(Stencil { centre, side }: Stencil, u: Tensor<3>) -> Tensor<3> {
    let [before, n, behind] = u.dims();
    let m = coarse_extent(n);
    let odd = u.clone().slice(s![.., 1..;2, ..]);
    let zero = Tensor::zeros([before, 1, behind], (&u.device(), u.dtype()));
    // With a zero behind the last, every point that stays has two neighbours.
    let even = Tensor::cat(vec![u.slice(s![.., 0..;2, ..]), zero], 1);
    let neighbours = even.clone().slice(s![.., 0..m, ..]) + even.slice(s![.., 1..m + 1, ..]);
    odd * centre + neighbours * side
}

/// As [`Stencil::interpolate`] to `n` points, with tensors.
fn interpolated(Stencil { centre, side }: Stencil, c: Tensor<3>, n: usize) -> Tensor<3> {
    let [before, m, behind] = c.dims();
    let zero = || Tensor::zeros([before, 1, behind], (&c.device(), c.dtype()));
    // Between the points that stay, from the one before the first on.
    let between = (Tensor::cat(vec![zero(), c.clone()], 1) + Tensor::cat(vec![c.clone(), zero()], 1)) * side;
    let pairs = [between.clone().slice(s![.., 0..m, ..]), c.clone() * centre];
    let pairs = pairs.map(|x| x.reshape([before, m, 1, behind]));
    let inner = Tensor::cat(pairs.into(), 2).reshape([before, 2 * m, behind]);
    if n == 2 * m { inner } else { Tensor::cat(vec![inner, between.slice(s![.., m.., ..])], 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn random<const D: usize>(dims: [usize; D], seed: u64) -> Tensor<D> {
        let n = dims.iter().product::<usize>();
        let values: Vec<f32> =
            (0..n).map(|i| ((i as u64 * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, dims), &Device::flex())
    }

    fn dot<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f64 {
        (a * b).sum().into_scalar::<f64>()
    }

    #[test]
    fn stencils_on_a_line() {
        let line = |values: &[f32]| {
            Tensor::<3>::from_data(TensorData::new(values.to_vec(), [1, 1, values.len()]), &Device::flex())
        };
        let values = |u: Tensor<3>| u.to_data().iter::<f32>().collect::<Vec<_>>();
        let u = line(&[1.0, 2.0, 3.0, 5.0, 8.0]);
        assert_eq!(values(restrict(u.clone(), Restriction::Injection)), [2.0, 5.0]);
        assert_eq!(values(restrict(u, Restriction::FullWeighting)), [2.0, 5.25]);
        let even = line(&[1.0, 2.0, 3.0, 5.0]);
        assert_eq!(values(restrict(even, Restriction::FullWeighting)), [2.0, 3.25]);
        let c = line(&[2.0, 4.0]);
        assert_eq!(values(prolong(c.clone(), [1, 1, 5])), [1.0, 2.0, 3.0, 4.0, 2.0]);
        assert_eq!(values(prolong(c.clone(), [1, 1, 4])), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(values(prolong_adjoint(c, [1, 1, 5], Restriction::Injection)), [0.0, 2.0, 0.0, 4.0, 0.0]);
        assert_eq!(values(restrict(line(&[1.0, 2.0]), Restriction::FullWeighting)), [1.25]);
    }

    #[test]
    fn tensors_and_slices_agree() {
        for n in 2..8 {
            let (u, c) = (random([3, n, 2], 3), random([3, n / 2, 2], 4));
            for stencil in [LINEAR, stencil(Restriction::FullWeighting), stencil(Restriction::Injection)] {
                let axis = along(&[3, n, 2], 1);
                let (mut coarse, mut fine) = (vec![0.0; 6 * (n / 2)], vec![0.0; 6 * n]);
                stencil.restrict(axis, Numbers::of(u.clone()).as_slice(), &mut coarse);
                stencil.interpolate(axis, Numbers::of(c.clone()).as_slice(), &mut fine);
                let values = |u: Tensor<3>| u.to_data().iter::<f32>().collect::<Vec<_>>();
                let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
                assert!(close(&coarse, &values(restricted(stencil, u.clone()))), "{n}");
                assert!(close(&fine, &values(interpolated(stencil, c.clone(), n))), "{n}");
            }
        }
    }

    #[test]
    fn the_adjoint_chain_is_the_transpose() {
        for n in [[2, 3, 7], [4, 5, 6], [15, 8, 9]] {
            let fine = [2, 3, n[0], n[1], n[2]];
            let coarse = [2, 3, n[0] / 2, n[1] / 2, n[2] / 2];
            let (u, c) = (random(fine, 1), random(coarse, 2));
            let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{n:?}: {a} {b}");
            close(dot(prolong(c.clone(), fine), u.clone()), dot(c.clone(), restrict_adjoint(u.clone())));
            for how in [Restriction::FullWeighting, Restriction::Injection] {
                close(dot(restrict(u.clone(), how), c.clone()), dot(u.clone(), prolong_adjoint(c.clone(), fine, how)));
            }
        }
    }
}
