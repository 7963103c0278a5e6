//! Motion signals made up on the spot.

use rand::seq::SliceRandom;

use super::{
    CHANNELS, CLASSES, MotionData, MotionSet,
    activity::{Person, push_window},
};
use crate::random::{Purpose, stream};

/// People of the training set and of the test set; as many as in UCI HAR. Nobody is in both.
const PEOPLE: [u64; 2] = [21, 9];

/// Makes up both sets: `n_train` and `n_test` windows of `steps` steps, [normalised](MotionData::normalise).
///
/// Classes are balanced: every six windows from a multiple of six are of one person and hold each activity once, in
/// random order. 21 people are in the training set and 9 others in the test set; they differ in tempo, strength and
/// gait, and in how they carry the sensors. The activities differ in how the motion develops over the window, and not
/// in any one step; three of them are gaits (0 speeding up, 1 slowing down, 2 in bursts) and three are none (3
/// leaning, 4 bowing, 5 at rest).
///
/// With 2,000 training and 1,000 test windows of 128 steps, softmax regression gets about a third of the test windows
/// right. A GRU with one cell of 32 hidden values, trained by Adam at 3e-3 in batches of 50, gets more than nine in
/// ten after eight epochs.
///
/// Before they are normalised, window `i` of a set is a function of (seed, set, `i`, `steps`) and of nothing else. A
/// window is the same stretch of time however many steps it has: more steps sample the same motion more finely.
pub fn generated(seed: u64, n_train: usize, n_test: usize, steps: usize) -> MotionData {
    let [train, test] = [(0, n_train), (1, n_test)].map(|(part, n)| set(seed, part, n, steps));
    let mut data = MotionData { train, test };
    data.normalise();
    data
}

/// One set as the sensors give it: each person in turn shows the six activities once, in random order.
fn set(seed: u64, part: usize, n: usize, steps: usize) -> MotionSet {
    let people = people(seed, part);
    let mut signals = Vec::with_capacity(n * steps * CHANNELS);
    let mut labels = Vec::with_capacity(n);
    for (block, person) in people.iter().cycle().enumerate().take(n.div_ceil(CLASSES)) {
        let mut activities: [u8; CLASSES] = std::array::from_fn(|label| label as u8);
        activities.shuffle(&mut stream(seed, part as u64, Purpose::Activities, block as u64));
        for label in activities.into_iter().take(n - labels.len()) {
            let rng = &mut stream(seed, part as u64, Purpose::Motion, labels.len() as u64);
            push_window(person, label, steps, rng, &mut signals);
            labels.push(label);
        }
    }
    MotionSet { signals, labels, n, steps }
}

fn people(seed: u64, part: usize) -> Vec<Person> {
    (0..PEOPLE[part]).map(|i| Person::new(&mut stream(seed, part as u64, Purpose::People, i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_sets_begin_with_smaller_ones() {
        for part in [0, 1] {
            let (small, large) = (set(3, part, 20, 16), set(3, part, 33, 16));
            assert_eq!(small.len(), 20);
            for i in 0..20 {
                assert_eq!(small.sample(i), large.sample(i));
            }
        }
    }

    #[test]
    fn more_steps_sample_the_same_motion() {
        let (coarse, fine) = (set(3, 0, 60, 128), set(3, 0, 60, 512));
        assert_eq!(coarse.labels, fine.labels);
        let mut squares = 0.0;
        for (k, &value) in coarse.signals.iter().enumerate() {
            let (step, channel) = (k / CHANNELS, k % CHANNELS);
            let mean = (4 * step..4 * step + 4).map(|step| fine.signals[step * CHANNELS + channel]).sum::<f32>() / 4.0;
            squares += (value - mean) * (value - mean);
        }
        // The noise of one step, and that of four: a little more than 0.11 together.
        let deviation = (squares / coarse.signals.len() as f32).sqrt();
        assert!((0.1..0.13).contains(&deviation), "{deviation}");
    }

    #[test]
    fn nobody_is_in_both_sets() {
        let (train, test) = (people(0, 0), people(0, 1));
        assert_eq!((train.len(), test.len()), (21, 9));
        let everybody: Vec<&Person> = train.iter().chain(&test).collect();
        for (i, person) in everybody.iter().enumerate() {
            assert!(!everybody[..i].contains(person), "person {i}");
        }
        assert_ne!(people(1, 0), train);
    }
}
