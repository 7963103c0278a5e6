//! The generated digits: the same on every machine, and neither trivial nor hopeless to tell apart.

use braidnet_data::{
    ImageSet,
    digits::{self, DigitsConfig, Part},
};

/// FNV-1a, so that a golden value fits on a line.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn images_are_the_same_everywhere() {
    // A change of these values changes every result reported on generated digits.
    let golden = [(0, Part::Train, 0), (0, Part::Test, 0), (7, Part::Train, 123_456_789_012)]
        .map(|(seed, part, index)| (digits::label(seed, part, index), hash(&digits::image(seed, part, index))));
    assert_eq!(golden, [(3, 495_017_601_186_359_321), (5, 4_601_307_334_453_741_497), (2, 8_072_340_135_955_782_859)]);
}

/// The mean image of each class.
fn centroids(set: &ImageSet) -> Vec<Vec<f32>> {
    let mut means = vec![vec![0.0; set.rows() * set.cols()]; set.classes()];
    let counts = set.class_counts();
    for i in 0..set.len() {
        let class = usize::from(set.label(i));
        for (mean, &pixel) in means[class].iter_mut().zip(set.image(i)) {
            *mean += f32::from(pixel) / counts[class] as f32;
        }
    }
    means
}

fn squared_distance(mean: &[f32], image: &[u8]) -> f32 {
    mean.iter().zip(image).map(|(mean, &pixel)| (mean - f32::from(pixel)).powi(2)).sum()
}

/// The part of the test images nearest to the mean image of their own class.
fn centroid_accuracy(train: &ImageSet, test: &ImageSet) -> f64 {
    let means = centroids(train);
    let right = (0..test.len()).filter(|&i| {
        let distances: Vec<f32> = means.iter().map(|mean| squared_distance(mean, test.image(i))).collect();
        let own = distances[usize::from(test.label(i))];
        distances.iter().all(|&distance| own <= distance)
    });
    right.count() as f64 / test.len() as f64
}

#[test]
fn nearest_mean_does_about_as_well_as_on_mnist() {
    let split = DigitsConfig { n_train: 5_000, n_test: 2_000, seed: 0 }.generate();
    let accuracy = centroid_accuracy(&split.train, &split.test);
    println!("nearest mean: {accuracy:.3}; on MNIST it is 0.757 of the same counts");
    assert!((0.65..0.85).contains(&accuracy), "nearest mean classifies {accuracy}");
}

#[test]
fn brightness_is_that_of_mnist() {
    let train = DigitsConfig { n_train: 2_000, n_test: 0, seed: 0 }.generate().train;
    let mut pixels = Vec::new();
    train.normalised_into(&(0..train.len()).collect::<Vec<_>>(), &mut pixels);
    let n = pixels.len() as f64;
    let mean = pixels.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let square = pixels.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / n;
    assert!(mean.abs() < 0.05, "mean {mean} after normalisation");
    assert!((square - 1.0).abs() < 0.1, "mean square {square} after normalisation");
}
