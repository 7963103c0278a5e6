//! Which samples of a set are used, and their grids as a loader's thread makes them.

use std::sync::Arc;

use braidnet::data::voxels::VoxelSet;
use burn_dataset::{Dataset, DatasetError};

/// The samples of one part.
#[derive(Clone)]
pub struct Grids {
    pub set: Arc<dyn VoxelSet>,
    /// Those of the set that are used.
    pub used: Arc<Vec<usize>>,
}

impl Dataset<Vec<u8>> for Grids {
    fn get(&self, index: usize) -> Result<Vec<u8>, DatasetError> {
        self.set.voxels(self.used[index]).map_err(DatasetError::new)
    }

    fn len(&self) -> usize {
        self.used.len()
    }
}

/// The first `n` samples of every class, or all where there are no more.
pub fn first_of_each_class(set: &dyn VoxelSet, n: usize) -> Vec<usize> {
    let mut counts = vec![0; set.class_names().len()];
    let mut first = |i: &usize| {
        let count = &mut counts[set.label(*i)];
        *count += 1;
        *count <= n
    };
    (0..set.len()).filter(|i| first(i)).collect()
}
