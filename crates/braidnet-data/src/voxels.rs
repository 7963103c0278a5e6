//! Shapes as grids of voxels: what a network with convolutions in space takes.
//!
//! A grid of `n` voxels a side is `n^3` bytes, 1 where the shape is and 0 elsewhere. Its order is `[z, y, x]`: the
//! voxel at (x, y, z) has index `(z * n + y) * n + x`. In the models of ModelNet10 z points up, so each plane is a
//! storey.
//!
//! [`voxelise`] turns a mesh into a grid. [`VoxelSet`] is what all sets of labelled grids have in common:
//! [`modelnet`](crate::modelnet) reads them from files, [`solids`](crate::solids) makes them up.
//!
//! ```
//! use std::path::Path;
//!
//! use braidnet_data::{DataError, modelnet, solids, voxels::{Fill, VoxelSet}};
//!
//! fn training_set(folder: Option<&Path>) -> Result<Box<dyn VoxelSet>, DataError> {
//!     Ok(match folder {
//!         Some(folder) => Box::new(modelnet::open(folder, 32, Fill::Solid, None)?.train),
//!         None => Box::new(solids::generated(0, 200, 50, 32)?.train),
//!     })
//! }
//!
//! let set = training_set(None)?;
//! assert_eq!((set.len(), set.class_names().len()), (2000, 10));
//! assert_eq!(set.voxels(7)?.len(), 32 * 32 * 32);
//! # Ok::<(), DataError>(())
//! ```

mod inside;
mod triangle;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::{DataError, off::Mesh};
use triangle::Triangle;

/// Voxels a side that grids may have.
pub const SIDES: RangeInclusive<usize> = 8..=128;

/// Which voxels of a shape are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fill {
    /// Those that the surface touches.
    Surface,
    /// Those that the surface touches, and those it encloses.
    Solid,
}

/// Grids of one size with a class each. The samples can be made by several threads at once.
pub trait VoxelSet: Send + Sync {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Voxels a side of every grid.
    fn side(&self) -> usize;

    /// The names of the classes, in the order of the labels.
    fn class_names(&self) -> &[String];

    /// The class of sample `i`.
    ///
    /// # Panics
    /// Where `i` is not below [`len`](Self::len), as a slice does.
    fn label(&self, i: usize) -> usize;

    /// The grid of sample `i`: 0 or 1, `[z, y, x]`. Nothing is kept: each call makes it again, or reads it.
    ///
    /// # Errors
    /// Where the set is of files, [`DataError`] that names the one of this sample and what is wrong with it.
    ///
    /// # Panics
    /// Where `i` is not below [`len`](Self::len), as a slice does.
    fn voxels(&self, i: usize) -> Result<Vec<u8>, DataError>;
}

/// Samples to learn from, and others to be judged by.
#[derive(Clone, Debug)]
pub struct VoxelSplit<S> {
    /// What the network learns from.
    pub train: S,
    /// What it is judged by; never trained on.
    pub test: S,
}

/// Makes the grid of each of `samples` once, on `threads` threads (at least one). Those that cannot be made, in their order, each with
/// what is wrong; after more than `most` of them no others are tried. A set with a cache has these grids in it afterwards.
///
/// # Panics
/// Where a sample is not below [`len`](VoxelSet::len).
pub fn broken(
    set: &(impl VoxelSet + ?Sized),
    samples: &[usize],
    most: usize,
    threads: usize,
) -> Vec<(usize, DataError)> {
    let (next, broken) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let found = || broken.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        while let Some(&sample) = samples.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = set.voxels(sample) {
                found().push((sample, error));
            }
            if found().len() > most {
                break;
            }
        }
    };
    thread::scope(|scope| (0..threads.max(1)).for_each(|_| drop(scope.spawn(work))));
    let mut broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    broken.sort_by_key(|(sample, _)| *sample);
    broken
}

/// The grid of `n` voxels a side of a mesh.
///
/// The mesh is moved so that the box around it (of its triangles, along the axes) is in the middle, and scaled, in all
/// directions alike, so that the longest side of that box spans `n - 2` voxels: there is nothing in the outermost ones.
///
/// The surface is conservative: every voxel that a triangle touches is 1. Where the surface lies on the border between
/// two voxels, both are, whatever the roundings. So thin plates have no holes, flat meshes and those shrunk to a line
/// or a point work, and a quarter turn of the mesh is a quarter turn of the grid.
///
/// With [`Fill::Solid`], the inside is what cannot be reached from the corner of the grid through the sides of empty
/// voxels. It does not matter which way the faces are turned, nor if they cross each other. An open mesh is as solid as
/// a closed one where its openings are narrower than a voxel. Through a wider one the inside is reached, so that only
/// the surface is left: never less than with [`Fill::Surface`].
///
/// # Errors
/// [`DataError::VoxelSide`] where `n` is not in [`SIDES`].
pub fn voxelise(mesh: &Mesh, n: usize, fill: Fill) -> Result<Vec<u8>, DataError> {
    check_side(n)?;
    let mut voxels = vec![0; n * n * n];
    let frame = Frame::of(mesh, n);
    for corners in mesh.corners() {
        Triangle::new(corners.map(|corner| frame.place(corner))).mark(n, &mut voxels);
    }
    if fill == Fill::Solid {
        inside::fill(n, &mut voxels);
    }
    Ok(voxels)
}

/// That grids of `n` voxels a side can be made.
pub(crate) fn check_side(n: usize) -> Result<(), DataError> {
    if SIDES.contains(&n) { Ok(()) } else { Err(DataError::VoxelSide { n }) }
}

/// Where a mesh is put in a grid. The origin is the middle of the grid and the unit a voxel, so that turning the mesh
/// rounds nothing differently.
struct Frame {
    middle: [f64; 3],
    scale: f64,
}

impl Frame {
    /// What the mesh stays away from the outermost voxels, which it would touch otherwise.
    const GAP: f64 = 1e-3;

    fn of(mesh: &Mesh, n: usize) -> Self {
        let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
        for corner in mesh.corners().flatten() {
            for axis in 0..3 {
                low[axis] = low[axis].min(f64::from(corner[axis]));
                high[axis] = high[axis].max(f64::from(corner[axis]));
            }
        }
        let longest = (0..3).map(|axis| high[axis] - low[axis]).fold(0.0, f64::max);
        // All of a point is in its middle, whatever the scale.
        let scale = if longest > 0.0 { (n as f64 - 2.0 - 2.0 * Self::GAP) / longest } else { 1.0 };
        Self { middle: std::array::from_fn(|axis| 0.5 * (low[axis] + high[axis])), scale }
    }

    fn place(&self, corner: [f32; 3]) -> [f64; 3] {
        std::array::from_fn(|axis| (f64::from(corner[axis]) - self.middle[axis]) * self.scale)
    }
}
