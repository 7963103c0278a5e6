//! The generated motion signals: the same on every machine, and learnt only by who sees how they develop.

use std::ops::Range;

use braidnet_data::motion::{self, CHANNELS, CLASSES, MotionData, MotionSet};

/// FNV-1a over the bits of all values, so that a golden value fits on a line.
fn hash(set: &MotionSet) -> u64 {
    let bytes = set.signals.iter().flat_map(|value| value.to_bits().to_le_bytes()).chain(set.labels.iter().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn windows_are_the_same_everywhere() {
    // A change of these values changes every result reported on generated motion.
    let MotionData { train, test } = motion::generated(7, 12, 6, 32);
    assert_eq!([hash(&train), hash(&test)], [6_483_921_430_800_647_250, 891_845_776_892_900_024]);
    assert_eq!(train.labels, [3, 0, 1, 5, 2, 4, 5, 1, 3, 0, 2, 4]);
}

#[test]
fn a_seed_gives_one_set_and_another_seed_another() {
    let data = motion::generated(5, 60, 30, 16);
    assert_eq!(data, motion::generated(5, 60, 30, 16));
    let other = motion::generated(6, 60, 30, 16);
    assert!(data.train.signals != other.train.signals && data.test.signals != other.test.signals);
    assert_ne!(data.train.labels, other.train.labels);
    assert_ne!(data.train.signals[..data.test.signals.len()], data.test.signals);
}

#[test]
fn sets_have_the_size_asked_for_and_balanced_classes() {
    let MotionData { train, test } = motion::generated(0, 600, 100, 40);
    assert_eq!((train.len(), train.steps, train.signals.len()), (600, 40, 600 * 40 * CHANNELS));
    assert_eq!((test.len(), test.steps, test.signals.len()), (100, 40, 100 * 40 * CHANNELS));
    assert_eq!(train.class_counts(), [100; CLASSES]);
    assert!(test.class_counts().iter().all(|n| (16..=17).contains(n)), "{:?}", test.class_counts());
    let in_turn = train.labels.iter().enumerate().filter(|(i, label)| usize::from(**label) == i % CLASSES).count();
    assert!(in_turn < 160, "{in_turn} labels equal their index modulo six");
    for (n_train, n_test, steps) in [(0, 0, 128), (3, 2, 0), (1, 0, 1)] {
        let data = motion::generated(0, n_train, n_test, steps);
        assert_eq!((data.train.len(), data.test.len(), data.train.steps), (n_train, n_test, steps));
        assert!(data.train.signals.iter().chain(&data.test.signals).all(|value| value.is_finite()));
    }
}

/// What a classifier is given: rows of numbers, and a class for each.
struct Table {
    rows: Vec<Vec<f32>>,
    labels: Vec<u8>,
}

impl Table {
    fn new(set: &MotionSet, features: impl Fn(&[f32]) -> Vec<f32>) -> Self {
        let rows = (0..set.len()).map(|i| features(set.sample(i).0)).collect();
        Self { rows, labels: set.labels.clone() }
    }
}

/// Softmax regression.
struct Linear {
    weights: Vec<[f32; CLASSES]>,
    bias: [f32; CLASSES],
}

impl Linear {
    /// Gradient descent with momentum on the mean cross entropy plus `decay / 2` times the squared weights.
    fn fit(table: &Table, rounds: usize, rate: f32, decay: f32) -> Self {
        let mut fitted = Self { weights: vec![[0.0; CLASSES]; table.rows[0].len()], bias: [0.0; CLASSES] };
        let mut speed = Self { weights: fitted.weights.clone(), bias: fitted.bias };
        for _ in 0..rounds {
            let mut gradient = Self { weights: fitted.weights.clone(), bias: [0.0; CLASSES] };
            gradient.weights.iter_mut().flatten().for_each(|weight| *weight *= decay);
            for (row, &label) in table.rows.iter().zip(&table.labels) {
                let mut slope = fitted.probabilities(row);
                slope[usize::from(label)] -= 1.0;
                let slope = slope.map(|slope| slope / table.rows.len() as f32);
                let rows = gradient.weights.iter_mut().zip(row).chain([(&mut gradient.bias, &1.0)]);
                rows.for_each(|(to, &value)| to.iter_mut().zip(slope).for_each(|(to, slope)| *to += value * slope));
            }
            let all = fitted.weights.iter_mut().chain([&mut fitted.bias]);
            let speeds = speed.weights.iter_mut().chain([&mut speed.bias]);
            let gradients = gradient.weights.iter().chain([&gradient.bias]);
            for ((weights, speeds), gradients) in all.zip(speeds).zip(gradients) {
                for ((weight, speed), gradient) in weights.iter_mut().zip(speeds).zip(gradients) {
                    *speed = 0.9 * *speed - rate * gradient;
                    *weight += *speed;
                }
            }
        }
        fitted
    }

    fn scores(&self, row: &[f32]) -> [f32; CLASSES] {
        let mut scores = self.bias;
        for (weights, value) in self.weights.iter().zip(row) {
            scores.iter_mut().zip(weights).for_each(|(score, weight)| *score += weight * value);
        }
        scores
    }

    fn probabilities(&self, row: &[f32]) -> [f32; CLASSES] {
        let scores = self.scores(row);
        let largest = scores.iter().copied().fold(f32::MIN, f32::max);
        let powers = scores.map(|score| (score - largest).exp());
        powers.map(|power| power / powers.iter().sum::<f32>())
    }

    /// The part of the rows whose class has the largest score.
    fn accuracy(&self, table: &Table) -> f64 {
        let right = table.rows.iter().zip(&table.labels).filter(|(row, label)| {
            let scores = self.scores(row);
            scores.iter().all(|&score| score <= scores[usize::from(**label)])
        });
        right.count() as f64 / table.rows.len() as f64
    }
}

/// Parts of a window that are looked at one by one.
const PARTS: usize = 16;

/// In each part of the window, how strongly the body moves and turns, and how far it is from upright.
fn development(window: &[f32]) -> Vec<f32> {
    let mean = |part: &[f32], channels: Range<usize>, of: fn(f32) -> f32| {
        let values = part.chunks(CHANNELS).flat_map(|step| &step[channels.clone()]);
        values.map(|&value| of(value)).sum::<f32>() / (part.len() / CHANNELS) as f32
    };
    let square = |value: f32| value * value;
    let features = window
        .chunks(window.len() / PARTS)
        .flat_map(|part| [mean(part, 0..3, square), mean(part, 3..6, square), mean(part, 7..9, |value| value).powi(2)]);
    // Kept to the scale of the signals: descent with one rate for all is enough.
    features.map(|feature| feature.min(9.0) / 3.0).collect()
}

/// The part of the test windows that softmax regression gets right from the features.
fn accuracy(data: &MotionData, features: impl Fn(&[f32]) -> Vec<f32>) -> f64 {
    let [train, test] = [&data.train, &data.test].map(|set| Table::new(set, &features));
    Linear::fit(&train, 200, 0.2, 1e-4).accuracy(&test)
}

#[test]
fn a_weighted_sum_of_the_signals_does_not_tell_the_classes() {
    let data = motion::generated(0, 600, 600, 48);
    let [train, test] = [&data.train, &data.test].map(|set| Table::new(set, <[f32]>::to_vec));
    // With less decay it knows all of the training set by heart, and less of the test set.
    let blind = Linear::fit(&train, 100, 0.03, 0.1);
    let (seen, unseen) = (blind.accuracy(&train), blind.accuracy(&test));
    println!("softmax regression on the signals: {seen:.3} of the training set, {unseen:.3} of the test set");
    assert!(seen > 0.55 && unseen < 0.5);
}

#[test]
fn the_development_tells_the_classes_and_no_part_of_it_does() {
    let data = motion::generated(0, 600, 600, 48);
    let whole = accuracy(&data, development);
    let parts: [f64; PARTS] = std::array::from_fn(|part| {
        // Three features a part.
        accuracy(&data, |window| development(window)[3 * part..3 * part + 3].to_vec())
    });
    println!("softmax regression on the development: {whole:.3} of the test set; on each part {parts:.3?}");
    assert!(whole > 0.9);
    assert!(parts.iter().all(|&part| part < 0.85));
}
