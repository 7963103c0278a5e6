//! The voxels that a triangle touches.
//!
//! A triangle and a box are apart if and only if they are apart along one of 13 directions: the axes of the box, the
//! normal of the triangle, and what is perpendicular to an axis and an edge.
//!
//! # Reference
//! T. Akenine-Möller, *Fast 3D triangle-box overlap testing*, Journal of Graphics Tools, 2001.

use std::ops::Range;

/// Half the side of a voxel, and a little more: what touches counts, and roundings, which are smaller by far, do not.
const HALF: f64 = 0.5 + 1e-6;

/// A triangle in a grid whose middle is the origin and whose voxels have side 1.
pub(super) struct Triangle {
    corners: [[f64; 3]; 3],
    slabs: [Slab; 10],
}

/// Where the middles of the voxels may be, along one direction, that touch the triangle.
struct Slab {
    direction: [f64; 3],
    low: f64,
    high: f64,
}

impl Triangle {
    pub(super) fn new(corners: [[f64; 3]; 3]) -> Self {
        let edges = [0, 1, 2].map(|i| minus(corners[(i + 1) % 3], corners[i]));
        let slabs = std::array::from_fn(|i| {
            let direction = match i {
                9 => cross(edges[0], edges[1]),
                _ => across(edges[i / 3], i % 3),
            };
            Slab::new(direction, &corners)
        });
        Self { corners, slabs }
    }

    /// Sets the voxels that the triangle touches to 1, of a grid of `n` a side.
    pub(super) fn mark(&self, n: usize, voxels: &mut [u8]) {
        let [x, y, z] = [0, 1, 2].map(|axis| self.range(axis, n));
        let middle = |index: usize| index as f64 + 0.5 - 0.5 * n as f64;
        for k in z {
            for j in y.clone() {
                for i in x.clone() {
                    if self.slabs.iter().all(|slab| slab.contains([middle(i), middle(j), middle(k)])) {
                        voxels[(k * n + j) * n + i] = 1;
                    }
                }
            }
        }
    }

    /// The voxels along an axis that are not apart from the triangle.
    fn range(&self, axis: usize, n: usize) -> Range<usize> {
        let places = self.corners.map(|corner| corner[axis]);
        // From places to middles of voxels, and from these to indices.
        let first = (least(places) - HALF + 0.5 * n as f64 - 0.5).ceil().max(0.0);
        let last = (greatest(places) + HALF + 0.5 * n as f64 - 0.5).floor();
        first as usize..(last as usize + 1).min(n)
    }
}

impl Slab {
    fn new(direction: [f64; 3], corners: &[[f64; 3]; 3]) -> Self {
        let reach = HALF * direction.iter().map(|part| part.abs()).sum::<f64>();
        let places = corners.map(|corner| dot(direction, corner));
        Self { direction, low: least(places) - reach, high: greatest(places) + reach }
    }

    fn contains(&self, point: [f64; 3]) -> bool {
        (self.low..=self.high).contains(&dot(self.direction, point))
    }
}

fn least(values: [f64; 3]) -> f64 {
    values.into_iter().fold(f64::INFINITY, f64::min)
}

fn greatest(values: [f64; 3]) -> f64 {
    values.into_iter().fold(f64::NEG_INFINITY, f64::max)
}

fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Perpendicular to an edge and an axis.
fn across(edge: [f64; 3], axis: usize) -> [f64; 3] {
    let mut unit = [0.0; 3];
    unit[axis] = 1.0;
    cross(edge, unit)
}

#[cfg(test)]
mod tests {
    use proptest::{array::uniform3, prelude::*};

    use super::*;

    const N: usize = 8;

    fn marked(corners: [[f64; 3]; 3]) -> Vec<u8> {
        let mut voxels = vec![0; N * N * N];
        Triangle::new(corners).mark(N, &mut voxels);
        voxels
    }

    /// The point of a triangle nearest to the middle of a voxel, among many spread over it.
    fn nearest(corners: &[[f64; 3]; 3], middle: [f64; 3]) -> f64 {
        const STEPS: usize = 40;
        let distances = (0..=STEPS).flat_map(|i| (0..=STEPS - i).map(move |j| [i, j, STEPS - i - j])).map(|shares| {
            let at = |axis: usize| (0..3).map(|c| shares[c] as f64 / STEPS as f64 * corners[c][axis]).sum::<f64>();
            (0..3).map(|axis| (at(axis) - middle[axis]).abs()).fold(0.0, f64::max)
        });
        distances.fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_voxels_touched_are_those_with_a_point_of_the_triangle(corners in uniform3(uniform3(-3.9_f64..3.9))) {
            let voxels = marked(corners);
            // No point of the triangle is further than this from one that is tried.
            let gap = 0.2;
            for (index, &voxel) in voxels.iter().enumerate() {
                let middle = [index % N, index / N % N, index / N / N].map(|i| i as f64 + 0.5 - 0.5 * N as f64);
                let distance = nearest(&corners, middle);
                prop_assert!(voxel == 1 || distance > 0.5, "{index}: {distance}, but not marked");
                prop_assert!(voxel == 0 || distance < 0.5 + gap, "{index}: {distance}, but marked");
            }
        }

        #[test]
        fn points_and_lines_are_triangles_too(a in uniform3(-3.9_f64..3.9), b in uniform3(-3.9_f64..3.9)) {
            prop_assert!((1..=8).contains(&marked([a, a, a]).iter().filter(|&&voxel| voxel == 1).count()));
            for line in [[a, b, a], [a, a, b], [b, a, a]] {
                prop_assert_eq!(marked(line), marked([a, b, b]));
            }
        }
    }

    #[test]
    fn what_lies_on_a_border_is_on_both_sides() {
        let voxels = marked([[-1.5, -1.5, 0.0], [1.5, -1.5, 0.0], [-1.5, 1.5, 0.0]]);
        let plane = |z: usize| &voxels[z * N * N..(z + 1) * N * N];
        assert_eq!(plane(3), plane(4));
        assert_eq!(plane(3).iter().map(|&voxel| usize::from(voxel)).sum::<usize>(), 13);
        assert!(plane(2).iter().chain(plane(5)).all(|&voxel| voxel == 0));
    }
}
