//! Human activity recognition: which of six activities a window of motion signals shows.
//!
//! A window holds the signals of a phone carried by a person: acceleration of the body, angular
//! velocity, and acceleration with gravity, each along x, y, z, in this order: [`CHANNELS`] numbers
//! a step. [`load`] reads the data set UCI HAR (2.56 s at 50 Hz: 128 steps), [`generated`] makes up
//! a set with no file at all.
//!
//! Both give signals normalised by [`MotionData::normalise`]: every channel of the training set has mean 0
//! and deviation 1. Training and test windows come from different people.
//!
//! # Reference
//! D. Anguita, A. Ghio, L. Oneto, X. Parra, J. L. Reyes-Ortiz, *A public domain dataset for human
//! activity recognition using smartphones*, ESANN 2013.

mod activity;
mod files;
mod generated;

pub use files::load;
pub use generated::generated;

/// Numbers a step: three sensors, three directions.
pub const CHANNELS: usize = 9;

/// Activities. In UCI HAR: walking, walking upstairs, walking downstairs, sitting, standing, laying.
pub const CLASSES: usize = 6;

/// Windows to learn from, and windows of other people to be judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct MotionData {
    /// What the network learns from.
    pub train: MotionSet,
    /// What it is judged by; never trained on.
    pub test: MotionSet,
}

/// Windows of one length with an activity each.
#[derive(Clone, Debug, PartialEq)]
pub struct MotionSet {
    /// The windows, `[n, steps, CHANNELS]`, row-major.
    pub signals: Vec<f32>,
    /// The activity of each, below [`CLASSES`].
    pub labels: Vec<u8>,
    /// How many windows there are.
    pub n: usize,
    /// Steps of every window.
    pub steps: usize,
}

impl MotionSet {
    /// How many windows there are.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The signals of window `i`, `[steps, CHANNELS]`, and its activity.
    ///
    /// # Panics
    /// Where `i` is not below [`len`](Self::len), as a slice does.
    pub fn sample(&self, i: usize) -> (&[f32], u8) {
        let size = self.steps * CHANNELS;
        (&self.signals[i * size..(i + 1) * size], self.labels[i])
    }

    /// Keeps `n` windows, or all where there are no more. They are spread evenly over the set: the files are in
    /// order of people and activities, so the first windows alone would be of one of them.
    pub fn limit(&mut self, n: usize) {
        if n >= self.n {
            return;
        }
        let size = self.steps * CHANNELS;
        for (to, from) in (0..n).map(|i| (i, spread(i, n, self.n))) {
            // `from` is not before `to`, so nothing is overwritten before it is moved.
            self.signals.copy_within(from * size..(from + 1) * size, to * size);
            self.labels[to] = self.labels[from];
        }
        self.signals.truncate(n * size);
        self.labels.truncate(n);
        self.n = n;
    }

    /// How many windows each activity has.
    pub fn class_counts(&self) -> [usize; CLASSES] {
        let mut counts = [0; CLASSES];
        self.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        counts
    }
}

impl MotionData {
    /// Shifts and scales every channel, in both sets alike, so that over all steps of all training
    /// windows its mean is 0 and its standard deviation 1. A channel that is constant there is only
    /// shifted.
    ///
    /// [`load`] and [`generated`] have done so already; doing it again changes nothing but roundings.
    pub fn normalise(&mut self) {
        let scales: [_; CHANNELS] = std::array::from_fn(|channel| Scale::of(&self.train, channel));
        for set in [&mut self.train, &mut self.test] {
            for step in set.signals.chunks_exact_mut(CHANNELS) {
                step.iter_mut().zip(&scales).for_each(|(value, scale)| *value = scale.apply(*value));
            }
        }
    }
}

/// Mean and deviation of a channel.
struct Scale {
    mean: f64,
    deviation: f64,
}

impl Scale {
    fn of(set: &MotionSet, channel: usize) -> Self {
        let values = || set.signals.iter().skip(channel).step_by(CHANNELS).map(|&value| f64::from(value));
        let n = (set.n * set.steps).max(1) as f64;
        let mean = values().sum::<f64>() / n;
        let deviation = (values().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n).sqrt();
        // Below the resolution of single precision there is no signal, only rounding of the mean.
        let constant = deviation <= f64::from(f32::EPSILON) * mean.abs();
        Self { mean, deviation: if constant { 1.0 } else { deviation } }
    }

    fn apply(&self, value: f32) -> f32 {
        ((f64::from(value) - self.mean) / self.deviation) as f32
    }
}

/// Where the `i`-th of `n` windows lies that are spread over `of`.
fn spread(i: usize, n: usize, of: usize) -> usize {
    (i as u128 * of as u128 / n as u128) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of two steps, whose values say where they are.
    fn set(n: usize) -> MotionSet {
        let signals = (0..n * 2 * CHANNELS).map(|k| k as f32).collect();
        MotionSet { signals, labels: (0..n).map(|i| (i % CLASSES) as u8).collect(), n, steps: 2 }
    }

    fn mean_and_deviation(set: &MotionSet, channel: usize) -> [f64; 2] {
        let Scale { mean, deviation } = Scale::of(set, channel);
        [mean, deviation]
    }

    #[test]
    fn windows_are_found_by_index() {
        let set = set(8);
        assert_eq!((set.len(), set.is_empty(), set.class_counts()), (8, false, [2, 2, 1, 1, 1, 1]));
        let (signals, label) = set.sample(7);
        assert_eq!((signals.len(), signals[0], signals[17], label), (18, 126.0, 143.0, 1));
    }

    #[test]
    fn a_limited_set_is_spread_over_the_whole() {
        let whole = set(10);
        for n in [0, 1, 3, 7, 9, 10, 11] {
            let mut limited = whole.clone();
            limited.limit(n);
            assert_eq!((limited.len(), limited.labels.len()), (n.min(10), n.min(10)));
            assert_eq!(limited.signals.len(), n.min(10) * 18);
            for i in 0..limited.len() {
                assert_eq!(limited.sample(i), whole.sample(i * 10 / n.min(10)));
            }
        }
    }

    #[test]
    fn channels_are_normalised_by_the_training_set_alone() {
        let mut data = MotionData { train: set(50), test: set(3) };
        data.normalise();
        for channel in 0..CHANNELS {
            let [mean, deviation] = mean_and_deviation(&data.train, channel);
            assert!(mean.abs() < 1e-6 && (deviation - 1.0).abs() < 1e-6, "{mean} {deviation}");
        }
        // The test windows are those that the training set begins with, and stay so.
        assert_eq!(data.test.signals[..], data.train.signals[..data.test.signals.len()]);
    }

    #[test]
    fn a_constant_channel_is_only_shifted() {
        for constant in [0.0, 0.1, -1e30] {
            let mut data = MotionData { train: set(50), test: set(3) };
            data.train.signals.iter_mut().skip(4).step_by(CHANNELS).for_each(|value| *value = constant);
            data.test.signals.iter_mut().skip(4).step_by(CHANNELS).for_each(|value| *value = constant);
            data.test.signals[4] = constant + 1.0;
            data.normalise();
            assert!(
                data.train.signals.iter().skip(4).step_by(CHANNELS).all(|value| value.abs() <= 1e-12 * constant.abs())
            );
            assert!(data.test.signals.iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn nothing_is_normalised_by_an_empty_training_set() {
        let mut data = MotionData { train: set(0), test: set(3) };
        data.normalise();
        assert_eq!(data.test, set(3));
    }
}
