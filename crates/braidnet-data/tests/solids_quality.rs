//! The generated furniture: the same on every machine, and told apart by its shape rather than by single voxels.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use braidnet_data::{
    DataError,
    solids::{self, CLASSES, SolidSet},
    voxels::VoxelSet,
};

/// FNV-1a over labels and voxels, so that a golden value fits on a line.
fn hash(set: &SolidSet) -> u64 {
    let sample = |i| [vec![set.label(i) as u8], set.voxels(i).unwrap()].concat();
    let fnv = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    (0..set.len()).flat_map(sample).fold(0xcbf2_9ce4_8422_2325, fnv)
}

#[test]
fn voxels_are_the_same_everywhere() {
    // A change of these values changes every result reported on generated furniture.
    let split = solids::generated(7, 2, 1, 16).unwrap();
    assert_eq!([hash(&split.train), hash(&split.test)], [17_054_827_528_792_438_732, 1_286_156_706_663_916_010]);
    let names = ["table", "chair", "desk", "sofa", "bed", "lamp", "shelf", "cabinet", "stool", "bathtub"];
    assert_eq!(split.train.class_names(), names);
}

#[test]
fn larger_sets_begin_with_smaller_ones_and_seeds_and_parts_differ() {
    let [small, large, other] = [(3, 2, 1), (3, 4, 2), (4, 2, 2)]
        .map(|(seed, n_train, n_test)| solids::generated(seed, n_train, n_test, 12).unwrap());
    for (small, large) in [(&small.train, &large.train), (&small.test, &large.test)] {
        assert!((0..small.len()).all(|i| small.label(i) == large.label(i)));
        assert!((0..small.len()).all(|i| small.voxels(i).unwrap() == large.voxels(i).unwrap()));
    }
    assert!(hash(&small.train) != hash(&other.train) && hash(&large.test) != hash(&small.train));
    assert!(hash(&other.test) != hash(&large.test));
}

#[test]
fn sets_have_the_size_asked_for_and_balanced_classes() {
    let split = solids::generated(0, 60, 0, 8).unwrap();
    assert_eq!((split.train.len(), split.test.len(), split.train.side()), (600, 0, 8));
    assert!(split.test.is_empty());
    for block in 0..60 {
        let mut labels: Vec<usize> = (10 * block..10 * block + 10).map(|i| split.train.label(i)).collect();
        labels.sort();
        assert_eq!(labels, Vec::from_iter(0..CLASSES));
    }
    let in_turn = (0..600).filter(|&i| split.train.label(i) == i % CLASSES).count();
    assert!(in_turn < 100, "{in_turn} labels equal their index modulo ten");
    for n in [0, 7, 129] {
        assert!(matches!(solids::generated(0, 1, 1, n), Err(DataError::VoxelSide { n: named }) if named == n));
    }
}

#[test]
fn pieces_are_whole_and_do_not_touch_the_border() {
    for (n, n_per_class) in [(8, 20), (13, 20), (32, 6), (64, 2)] {
        let set = solids::generated(1, n_per_class, 0, n).unwrap().train;
        for i in 0..set.len() {
            let voxels = set.voxels(i).unwrap();
            assert_eq!(voxels.len(), n * n * n);
            let name = &set.class_names()[set.label(i)];
            let filled: Vec<usize> = (0..voxels.len()).filter(|&index| voxels[index] == 1).collect();
            assert!(filled.len() > n * n / 8 && voxels.iter().all(|&voxel| voxel <= 1), "{name} {i}");
            for &index in &filled {
                let place = [index % n, index / n % n, index / n / n];
                assert!(place.iter().all(|i| (1..n - 1).contains(i)), "{name} {i} touches the border");
            }
            assert_eq!(reached(&voxels, filled[0], n), filled.len(), "{name} {i} of {n} is in pieces");
        }
    }
}

/// How many voxels that are 1 hang together with one of them, by sides, edges or corners.
fn reached(voxels: &[u8], start: usize, n: usize) -> usize {
    let mut left = voxels.to_vec();
    let (mut waiting, mut count) = (vec![start], 0);
    while let Some(index) = waiting.pop() {
        if std::mem::take(&mut left[index]) == 1 {
            count += 1;
            let steps = (0..27).map(|k| (k % 3) + (k / 3 % 3) * n + (k / 9) * n * n);
            waiting.extend(steps.map(|step| index + step - 1 - n - n * n).filter(|&next| left[next] == 1));
        }
    }
    count
}

/// What is seen of a piece however it is turned and moved: how much of it is in each storey, and how far from its axis.
fn storeys(voxels: &[u8], n: usize) -> Vec<f32> {
    const STOREYS: usize = 6;
    let filled = || (0..voxels.len()).filter(|&index| voxels[index] == 1);
    let axes = |index: usize| [index % n, index / n % n, index / n / n].map(|i| i as f32);
    let total = filled().count() as f32;
    let middle = [0, 1].map(|axis| filled().map(|index| axes(index)[axis]).sum::<f32>() / total);
    let low = filled().map(|index| index / n / n).min().unwrap();
    let height = filled().map(|index| index / n / n).max().unwrap() + 1 - low;
    let mut features = vec![0.0; 2 * STOREYS + 1];
    for index in filled() {
        let storey = (index / n / n - low) * STOREYS / height;
        let [x, y, _] = axes(index);
        let square = (x - middle[0]).powi(2) + (y - middle[1]).powi(2);
        features[storey] += 1.0 / total;
        features[STOREYS + storey] += square / (total * (height * height) as f32);
    }
    features[2 * STOREYS] = total / (height as f32).powi(3);
    features
}

/// The part of the test samples that are of the class of the nearest training sample, every feature scaled alike.
fn nearest(train: &SolidSet, test: &SolidSet, features: impl Fn(&[u8]) -> Vec<f32>) -> f64 {
    let table = |set: &SolidSet| Vec::from_iter((0..set.len()).map(|i| features(&set.voxels(i).unwrap())));
    let (train_rows, test_rows) = (table(train), table(test));
    let scales: Vec<f32> = (0..train_rows[0].len())
        .map(|k| train_rows.iter().map(|row| row[k] * row[k]).sum::<f32>().max(1e-9) / train_rows.len() as f32)
        .collect();
    let right = test_rows.iter().enumerate().filter(|(i, row)| {
        let distance = |other: &[f32]| -> f32 {
            other.iter().zip(*row).zip(&scales).map(|((a, b), scale)| (a - b) * (a - b) / scale).sum()
        };
        let nearest = train_rows.iter().enumerate().min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
        nearest.is_some_and(|(k, _)| train.label(k) == test.label(*i))
    });
    right.count() as f64 / test.len() as f64
}

#[test]
fn the_shape_tells_the_classes_better_than_the_voxels() {
    let split = solids::generated(0, 30, 20, 12).unwrap();
    let by_voxels = nearest(&split.train, &split.test, |voxels| voxels.iter().map(|&voxel| f32::from(voxel)).collect());
    let by_shape = nearest(&split.train, &split.test, |voxels| storeys(voxels, 12));
    println!("nearest sample by voxels: {by_voxels:.3} of the test set; by storeys: {by_shape:.3}");
    assert!(by_voxels < 0.65 && by_shape > 0.75);
}
