//! Which samples of a set are used, and their grids as a loader's thread makes them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use braidnet::data::DataError;
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

/// Makes the grid of each of `samples` once, on `threads` threads. Those that cannot be made, in their order; after more than
/// `most` of them no others are tried.
pub fn broken(set: &dyn VoxelSet, samples: &[usize], most: usize, threads: usize) -> Vec<(usize, DataError)> {
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
