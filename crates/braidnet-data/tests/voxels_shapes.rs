//! Meshes made into voxels: known shapes, and what holds of every shape.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{f64::consts::PI, fmt::Write as _, path::Path};

use braidnet_data::{
    DataError,
    off::{self, Mesh},
    voxels::{Fill, SIDES, voxelise},
};
use proptest::{array::uniform3, collection::vec, prelude::*};

type Corners = Vec<[f32; 3]>;
type Faces = Vec<Vec<usize>>;

fn mesh((vertices, faces): &(Corners, Faces)) -> Mesh {
    let mut text = format!("OFF\n{} {} 0\n", vertices.len(), faces.len());
    vertices.iter().for_each(|[x, y, z]| writeln!(text, "{x} {y} {z}").unwrap());
    for face in faces {
        let corners: Vec<String> = face.iter().map(usize::to_string).collect();
        writeln!(text, "{} {}", face.len(), corners.join(" ")).unwrap();
    }
    off::parse(Path::new("shape.off"), text.into_bytes()).unwrap()
}

/// A box with its lowest corner at the origin.
fn cuboid(size: [f32; 3]) -> (Corners, Faces) {
    let corners = (0..8).map(|i| [0, 1, 2].map(|axis| if i >> axis & 1 == 1 { size[axis] } else { 0.0 })).collect();
    let faces = [[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]];
    (corners, faces.map(Vec::from).to_vec())
}

/// A ball of many faces: rings of corners, and a corner at each pole.
fn ball() -> (Corners, Faces) {
    const RINGS: usize = 40;
    const AROUND: usize = 80;
    let mut corners = vec![[0.0, 0.0, -1.0]];
    for ring in 1..RINGS {
        let (sin, cos) = (PI * ring as f64 / RINGS as f64).sin_cos();
        let point = |k| 2.0 * PI * k as f64 / AROUND as f64;
        corners.extend((0..AROUND).map(|k| [sin * point(k).cos(), sin * point(k).sin(), -cos].map(|x| x as f32)));
    }
    corners.push([0.0, 0.0, 1.0]);
    let corner = |ring: usize, k: usize| match ring {
        0 => 0,
        RINGS => 1 + (RINGS - 1) * AROUND,
        _ => 1 + (ring - 1) * AROUND + k % AROUND,
    };
    let face = |ring, k| vec![corner(ring, k), corner(ring, k + 1), corner(ring + 1, k + 1), corner(ring + 1, k)];
    (corners, (0..RINGS).flat_map(|ring| (0..AROUND).map(move |k| face(ring, k))).collect())
}

fn count(voxels: &[u8]) -> usize {
    voxels.iter().filter(|&&voxel| voxel == 1).count()
}

/// Whether two grids are the same, the second one turned by a quarter about the axis x, y or z.
fn turned(before: &[u8], after: &[u8], n: usize, axis: usize) -> bool {
    (0..n * n * n).all(|index| {
        let place = [index % n, index / n % n, index / n / n];
        let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
        let mut to = place;
        to[a] = n - 1 - place[b];
        to[b] = place[a];
        before[index] == after[(to[2] * n + to[1]) * n + to[0]]
    })
}

fn quarter_turn(corner: [f32; 3], axis: usize) -> [f32; 3] {
    let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
    let mut to = corner;
    to[a] = -corner[b];
    to[b] = corner[a];
    to
}

#[test]
fn a_cube_is_a_cube_with_a_free_layer_around() {
    for n in [8, 9, 16, 33] {
        // Neither where it is nor how large it is matters.
        for (scale, shift) in [(1.0, 0.0), (0.1, -7.3), (3e30, 1e30), (1e-30, 0.0)] {
            let (mut corners, faces) = cuboid([scale; 3]);
            corners.iter_mut().flatten().for_each(|x| *x += shift);
            let cube = mesh(&(corners, faces));
            let [surface, solid] = [Fill::Surface, Fill::Solid].map(|fill| voxelise(&cube, n, fill).unwrap());
            for (index, (&surface, &solid)) in surface.iter().zip(&solid).enumerate() {
                let place = [index % n, index / n % n, index / n / n];
                let inside = place.iter().all(|i| (1..n - 1).contains(i));
                let deep = place.iter().all(|i| (2..n - 2).contains(i));
                assert_eq!((surface, solid), (u8::from(inside && !deep), u8::from(inside)), "{place:?} of {n}");
            }
        }
    }
}

#[test]
fn a_ball_has_the_volume_and_the_surface_of_one() {
    const N: usize = 48;
    let radius = 0.5 * N as f64 - 1.0;
    let ball = mesh(&ball());
    let [surface, solid] = [Fill::Surface, Fill::Solid].map(|fill| voxelise(&ball, N, fill).unwrap());
    let distance = |index: usize| {
        let place = [index % N, index / N % N, index / N / N].map(|i| i as f64 + 0.5 - 0.5 * N as f64);
        place.iter().map(|x| x * x).sum::<f64>().sqrt()
    };
    // Half the diagonal of a voxel, and how far the faces are from the ball.
    let (reach, flat) = (0.75_f64.sqrt() + 0.01, 0.1);
    for index in 0..N * N * N {
        let distance = distance(index);
        assert!(surface[index] == 0 || (radius - reach - flat..=radius + reach).contains(&distance));
        assert!(if solid[index] == 1 { distance <= radius + reach } else { distance >= radius - flat });
    }
    let volume = 4.0 / 3.0 * PI * (radius + 0.5).powi(3);
    assert!((count(&solid) as f64 / volume - 1.0).abs() < 0.05, "{} voxels, {volume} expected", count(&solid));
    // A plane along the axes touches one voxel a unit of area, and one askew up to three times the root of three.
    let area = 4.0 * PI * radius * radius;
    assert!((1.0..5.2).contains(&(count(&surface) as f64 / area)), "{} of {area}", count(&surface));
}

#[test]
fn proportions_are_kept_and_the_order_is_z_y_x() {
    const N: usize = 32;
    let flat = voxelise(&mesh(&cuboid([15.0, 7.5, 3.0])), N, Fill::Solid).unwrap();
    let extent = |axis: usize| {
        let places = (0..N * N * N).filter(|&index| flat[index] == 1).map(|index| index / N.pow(axis as u32) % N);
        let (low, high) = (places.clone().min().unwrap(), places.max().unwrap());
        assert_eq!(low, N - 1 - high, "in the middle");
        high - low + 1
    };
    assert_eq!([extent(0), extent(1), extent(2)], [30, 16, 6]);
}

#[test]
fn flat_meshes_lines_and_points_have_voxels() {
    let square = |size: [f32; 3]| mesh(&(cuboid(size).0, vec![vec![0, 1, 3, 2]]));
    for fill in [Fill::Surface, Fill::Solid] {
        // In the middle of an odd grid; on the border of two layers of an even one.
        assert_eq!(count(&voxelise(&square([1.0, 1.0, 0.0]), 9, fill).unwrap()), 49);
        assert_eq!(count(&voxelise(&square([1.0, 1.0, 0.0]), 8, fill).unwrap()), 2 * 36);
        assert_eq!(count(&voxelise(&square([1.0, 0.0, 0.0]), 9, fill).unwrap()), 7);
        assert_eq!(count(&voxelise(&square([0.0, 0.0, 0.0]), 9, fill).unwrap()), 1);
        assert_eq!(count(&voxelise(&square([0.0, 0.0, 0.0]), 8, fill).unwrap()), 8);
    }
}

#[test]
fn an_open_box_is_solid_only_where_it_is_shut() {
    let (corners, mut faces) = cuboid([1.0; 3]);
    faces.pop();
    let open = mesh(&(corners, faces));
    let [surface, solid] = [Fill::Surface, Fill::Solid].map(|fill| voxelise(&open, 16, fill).unwrap());
    assert_eq!(surface, solid);

    // Two halves that miss each other by a third of a voxel are shut.
    let (low, faces) = cuboid([1.0, 1.0, 0.49]);
    let high = low.iter().map(|&[x, y, z]| [x, y, 1.0 - z]).collect::<Corners>();
    let halves: Faces = [0, 8]
        .into_iter()
        .flat_map(|half| {
            let but_the_lid = faces.iter().filter(|face| **face != [4, 5, 7, 6]);
            but_the_lid.map(move |face| face.iter().map(|corner| corner + half).collect()).collect::<Faces>()
        })
        .collect();
    let halves = mesh(&([low, high].concat(), halves));
    assert_eq!(count(&voxelise(&halves, 16, Fill::Solid).unwrap()), 14 * 14 * 14);
}

#[test]
fn a_vertex_of_no_face_moves_nothing() {
    let (mut corners, faces) = cuboid([1.0; 3]);
    let cube = mesh(&(corners.clone(), faces.clone()));
    corners.push([100.0, 0.0, 0.0]);
    let with = mesh(&(corners, faces));
    assert_eq!(voxelise(&cube, 8, Fill::Solid).unwrap(), voxelise(&with, 8, Fill::Solid).unwrap());
}

#[test]
fn other_sizes_are_not_made() {
    let cube = mesh(&cuboid([1.0; 3]));
    for n in [0, 1, 7, 129, usize::MAX] {
        let error = voxelise(&cube, n, Fill::Solid).unwrap_err();
        assert!(matches!(error, DataError::VoxelSide { n: named } if named == n));
        assert_eq!(error.to_string(), format!("{n} voxels a side: give 8 to 128"));
    }
    for n in [*SIDES.start(), *SIDES.end()] {
        assert_eq!(count(&voxelise(&cube, n, Fill::Solid).unwrap()), (n - 2).pow(3));
    }
}

fn shapes() -> impl Strategy<Value = (Corners, Faces)> {
    vec(uniform3(-5.0_f32..5.0), 3..12).prop_flat_map(|corners| {
        let n = corners.len();
        (Just(corners), vec(vec(0..n, 3..5), 1..12))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_quarter_turn_of_a_mesh_is_one_of_its_grid(shape in shapes(), n in 8_usize..20, axis in 0_usize..3) {
        let (corners, faces) = shape;
        let after = (corners.iter().map(|&corner| quarter_turn(corner, axis)).collect(), faces.clone());
        let [before, after] = [mesh(&(corners, faces)), mesh(&after)];
        for fill in [Fill::Surface, Fill::Solid] {
            let [before, after] = [&before, &after].map(|mesh| voxelise(mesh, n, fill).unwrap());
            prop_assert!(turned(&before, &after, n, axis));
        }
    }

    #[test]
    fn solids_hold_their_surface_and_have_no_caves(shape in shapes(), n in 8_usize..20) {
        let mesh = mesh(&shape);
        let [surface, solid] = [Fill::Surface, Fill::Solid].map(|fill| voxelise(&mesh, n, fill).unwrap());
        prop_assert!(surface.contains(&1) && surface.iter().zip(&solid).all(|(surface, solid)| surface <= solid));
        prop_assert!(solid.iter().all(|&voxel| voxel <= 1));
        for (index, &voxel) in surface.iter().enumerate() {
            let place = [index % n, index / n % n, index / n / n];
            prop_assert!(voxel == 0 || place.iter().all(|i| (1..n - 1).contains(i)), "the outermost voxels are free");
        }
        // Every side of an empty voxel next to an inner one is covered by the surface.
        for (index, &voxel) in solid.iter().enumerate().filter(|&(index, &voxel)| voxel == 1 && surface[index] == 0) {
            for neighbour in [index - 1, index + 1, index - n, index + n, index - n * n, index + n * n] {
                prop_assert_eq!(solid[neighbour], voxel);
            }
        }
    }
}

#[test]
fn voxels_are_the_same_everywhere() {
    // A change of this value changes every grid of ModelNet10: raise the version of the cache too.
    let (corners, faces) = cuboid([3.0, 1.7, 0.9]);
    let lean = corners.iter().map(|&[x, y, z]| [x + 0.3 * y, y - 0.7 * z, z + 0.1 * x]).collect();
    let lean = mesh(&(lean, faces));
    let bytes = [Fill::Surface, Fill::Solid].map(|fill| voxelise(&lean, 32, fill).unwrap()).concat();
    let fnv = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    assert_eq!(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv), 14_479_105_722_390_983_779);
}
