//! The voxels that a surface encloses.

const OUTSIDE: u8 = 2;

/// Sets to 1 what cannot be reached from the corner of a grid of `n` voxels a side through sides of voxels that are 0.
/// The outermost voxels have to be 0.
pub(super) fn fill(n: usize, voxels: &mut [u8]) {
    let mut reached = vec![0];
    voxels[0] = OUTSIDE;
    while let Some(index) = reached.pop() {
        for (stride, place) in [(1, index % n), (n, index / n % n), (n * n, index / n / n)] {
            let before = (place > 0).then(|| index - stride);
            let after = (place + 1 < n).then(|| index + stride);
            for next in before.into_iter().chain(after) {
                if voxels[next] == 0 {
                    voxels[next] = OUTSIDE;
                    reached.push(next);
                }
            }
        }
    }
    voxels.iter_mut().for_each(|voxel| *voxel = u8::from(*voxel != OUTSIDE));
}
