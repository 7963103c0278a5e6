//! The generated pictures: the same on every machine, and told apart only by who looks at neighbourhoods.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashSet;

use braidnet_data::{
    DataError,
    pictures::{CHANNELS, Pictures, SIDE},
    textures::{self, MAX_CLASSES, PictureSet, Textures},
};

const CLASSES: usize = 20;

fn drawn(seed: u64, n_train: usize, n_test: usize) -> Textures {
    textures::generated(seed, n_train, n_test, CLASSES).unwrap()
}

fn pictures(set: &PictureSet) -> impl Iterator<Item = &[u8]> {
    (0..set.len()).map(|i| set.picture(i))
}

/// FNV-1a over all bytes and labels, so that a golden value fits on a line.
fn hash(set: &PictureSet) -> u64 {
    let labels = (0..set.len()).map(|i| set.label(i) as u8);
    let bytes = pictures(set).flatten().copied().chain(labels);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn pictures_are_the_same_everywhere() {
    // A change of these values changes every result reported on generated pictures.
    let Textures { train, test } = drawn(7, 2, 1);
    assert_eq!([hash(&train), hash(&test)], [1_464_320_318_191_014_804, 10_625_389_435_638_754_866]);
    let all = textures::generated(7, 1, 0, MAX_CLASSES).unwrap().train;
    assert_eq!(hash(&all), 11_592_945_095_008_960_998);
}

#[test]
fn sets_have_the_size_asked_for_and_balanced_classes() {
    for classes in [2, 20, 33, 40] {
        let Textures { train, test } = textures::generated(1, 3, 1, classes).unwrap();
        assert_eq!((train.class_counts(), test.class_counts()), (vec![3; classes], vec![1; classes]));
        assert_eq!(train.classes().iter().collect::<HashSet<_>>().len(), classes);
        let in_turn = (0..train.len()).filter(|&i| train.label(i) == i % classes).count();
        assert!(classes < 20 || in_turn < classes / 2, "{in_turn} labels equal their index modulo {classes}");
        assert!((0..train.len()).all(|i| train.decode(i).is_ok_and(|picture| picture == train.picture(i))));
    }
    let none = drawn(0, 0, 0);
    assert!(none.train.is_empty() && none.test.is_empty());
    for asked in [0, 1, 41, usize::MAX] {
        let error = textures::generated(0, 1, 1, asked).unwrap_err();
        assert!(matches!(error, DataError::TextureClasses { asked: named, least: 2, most: 40 } if named == asked));
    }
}

#[test]
fn seeds_give_other_pictures_and_none_comes_twice() {
    let (first, again, other) = (drawn(5, 3, 2), drawn(5, 3, 2), drawn(6, 3, 2));
    assert_eq!(first, again);
    let sets = [&first.train, &first.test, &other.train, &other.test];
    let distinct: HashSet<&[u8]> = sets.into_iter().flat_map(pictures).collect();
    assert_eq!(distinct.len(), 2 * 5 * CLASSES);
}

/// What a classifier is given: rows of numbers, and a class for each.
struct Table {
    rows: Vec<Vec<f32>>,
    labels: Vec<usize>,
}

impl Table {
    fn new(set: &PictureSet, features: impl Fn(&[u8]) -> Vec<f32>) -> Self {
        Self { rows: pictures(set).map(features).collect(), labels: (0..set.len()).map(|i| set.label(i)).collect() }
    }
}

/// Softmax regression: a row of weights for each number, and one for the bias.
struct Linear(Vec<[f32; CLASSES]>);

impl Linear {
    /// Stochastic gradient descent on the cross entropy.
    fn fit(table: &Table, rounds: usize, rate: f32) -> Self {
        let mut fitted = Self(vec![[0.0; CLASSES]; table.rows[0].len() + 1]);
        for round in 0..rounds {
            let rate = rate * (1.0 - round as f32 / rounds as f32);
            for (row, &label) in table.rows.iter().zip(&table.labels) {
                let mut slope = fitted.probabilities(row);
                slope[label] -= 1.0;
                for (weights, &value) in fitted.0.iter_mut().zip(row.iter().chain([&1.0])) {
                    for (weight, slope) in weights.iter_mut().zip(slope) {
                        *weight -= rate * value * slope;
                    }
                }
            }
        }
        fitted
    }

    fn probabilities(&self, row: &[f32]) -> [f32; CLASSES] {
        let mut scores = [0.0; CLASSES];
        for (weights, value) in self.0.iter().zip(row.iter().chain([&1.0])) {
            scores.iter_mut().zip(weights).for_each(|(score, weight)| *score += weight * value);
        }
        let largest = scores.iter().copied().fold(f32::MIN, f32::max);
        let powers = scores.map(|score| (score - largest).exp());
        powers.map(|power| power / powers.iter().sum::<f32>())
    }

    /// The part of the rows whose class has the largest score.
    fn accuracy(&self, table: &Table) -> f64 {
        let right = table.rows.iter().zip(&table.labels).filter(|(row, label)| {
            let scores = self.probabilities(row);
            scores.iter().all(|&score| score <= scores[**label])
        });
        right.count() as f64 / table.rows.len() as f64
    }
}

/// The picture at a quarter of its resolution, each number the mean of 4 x 4 bytes, about -1 to 1.
fn small(picture: &[u8]) -> Vec<f32> {
    const BLOCK: usize = 4;
    let side = SIDE / BLOCK;
    let mut means = vec![0.0; CHANNELS * side * side];
    for (k, &byte) in picture.iter().enumerate() {
        let (channel, row, column) = (k / (SIDE * SIDE), k / SIDE % SIDE, k % SIDE);
        let place = (channel * side + row / BLOCK) * side + column / BLOCK;
        means[place] += (f32::from(byte) / 127.5 - 1.0) / (BLOCK * BLOCK) as f32;
    }
    means
}

/// Distances at which pixels are compared.
const REACH: usize = 16;

/// How many pairs of pixels differ, at each distance: wherever the shape is, however turned and coloured.
fn contrasts(picture: &[u8]) -> Vec<f32> {
    let differ = |a: usize, b: usize| {
        let plane = SIDE * SIDE;
        let by = (0..CHANNELS).map(|c| u32::from(picture[c * plane + a].abs_diff(picture[c * plane + b]))).sum::<u32>();
        f32::from(u8::from(by > 110))
    };
    let places =
        (0..SIDE - REACH).step_by(2).flat_map(|row| (0..SIDE - REACH).step_by(2).map(move |column| (row, column)));
    let share = |distance: usize| {
        let pairs = places.clone().flat_map(|(row, column)| {
            let here = row * SIDE + column;
            [differ(here, here + distance), differ(here, here + distance * SIDE)]
        });
        // Kept to about -1 to 1: descent with one rate for all is enough.
        4.0 * pairs.sum::<f32>() / (2 * places.clone().count()) as f32 - 1.0
    };
    (1..=REACH).map(share).collect()
}

#[test]
fn a_weighted_sum_of_the_pixels_does_not_tell_the_classes() {
    let Textures { train, test } = drawn(0, 25, 15);
    let accuracies = |features: fn(&[u8]) -> Vec<f32>, rounds, rate| {
        let [train, test] = [&train, &test].map(|set| Table::new(set, features));
        let fitted = Linear::fit(&train, rounds, rate);
        [fitted.accuracy(&train), fitted.accuracy(&test)]
    };
    let [seen, blind] = accuracies(small, 8, 0.01);
    let [_, looking] = accuracies(contrasts, 100, 0.2);
    println!("softmax regression on the pixels: {seen:.3} of the training set, {blind:.3} of the test set");
    println!("on sixteen numbers from pairs of pixels: {looking:.3} of the test set");
    assert!(seen > 0.5 && blind < 0.15);
    assert!(looking > 0.15);
}
