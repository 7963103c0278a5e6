//! What one window shows: six activities that differ in how the motion develops, not in any one step.
//!
//! | label | activity | what tells it |
//! |---|---|---|
//! | 0 | speeding up | the gait grows faster and stronger |
//! | 1 | slowing down | the gait grows slower and weaker |
//! | 2 | in bursts | the gait is strong and weak in turn, three times a window |
//! | 3 | leaning | the body tilts, and stays so |
//! | 4 | bowing | the body tilts, and comes back |
//! | 5 | at rest | the body is upright throughout |
//!
//! The gait begins at any point of its cycle, the bursts at any of theirs, and the body tilts to either
//! side. So at every step the mean over the windows is the same for all classes, and no weighted sum of
//! the signals tells them apart.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::CHANNELS;
use crate::random::{bell, uniform};

/// Deviation of the noise of every signal at every step.
const NOISE: f32 = 0.1;

/// Part of the window that a tilt takes.
const TILT_TIME: f32 = 0.3;

/// How a person moves, and carries the sensors.
#[derive(Debug, PartialEq)]
pub(super) struct Person {
    /// Cycles of the gait in a window.
    tempo: f32,
    vigour: f32,
    /// The gait along each direction.
    gait: [Gait; 3],
    /// Gravity where the person is upright.
    gravity: [f32; 3],
    /// Errors of the sensors.
    offsets: [f32; CHANNELS],
}

/// A wave and its overtone, each with a strength and a lag.
#[derive(Debug, PartialEq)]
struct Gait {
    strengths: [f32; 2],
    lags: [f32; 2],
}

impl Person {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        Self {
            tempo: uniform(rng, 4.5, 6.5),
            vigour: uniform(rng, 0.8, 1.25),
            gait: [0.0, 0.25, 0.4].map(|lag| Gait {
                strengths: [uniform(rng, 0.5, 1.0), uniform(rng, 0.1, 0.4)],
                lags: [lag, 2.5 * lag].map(|lag| lag + bell(rng, 0.06)),
            }),
            gravity: [1.0, 0.0, 0.0].map(|upright| upright + bell(rng, 0.15)),
            offsets: std::array::from_fn(|_| bell(rng, 0.05)),
        }
    }
}

impl Gait {
    fn at(&self, phase: f32) -> f32 {
        let [strength, second] = self.strengths;
        let [lag, second_lag] = self.lags;
        strength * wave(phase + lag) + second * wave(2.0 * phase + second_lag)
    }
}

/// Appends a window of `steps` steps: the same motion however many steps it is sampled at, but for the noise.
pub(super) fn push_window(person: &Person, label: u8, steps: usize, rng: &mut ChaCha8Rng, signals: &mut Vec<f32>) {
    let window = Window::new(label, rng);
    let mut phase = rng.random::<f32>();
    for step in 0..steps {
        let time = (step as f32 + 0.5) / steps as f32;
        let strength = window.strength(time);
        let advance = person.tempo * window.tempo * (0.5 + 0.5 * strength) / steps as f32;
        phase += 0.5 * advance;
        let vigour = person.vigour * window.vigour * strength;
        let [tilt, turning] = window.tilt(time);
        let mut channels = person.offsets;
        for (axis, gait) in person.gait.iter().enumerate() {
            let body = vigour * gait.at(phase);
            channels[axis] += body;
            // A quarter of a cycle ahead, as the derivative of a sine is.
            channels[3 + axis] += 0.5 * vigour * gait.at(phase + 0.25) + turning * window.side[axis];
            channels[6 + axis] += body + person.gravity[axis] + tilt * window.side[axis];
        }
        signals.extend(channels.map(|value| value + bell(rng, NOISE)));
        phase += 0.5 * advance;
    }
}

/// What is drawn for one window.
struct Window {
    label: u8,
    tempo: f32,
    vigour: f32,
    /// Where the bursts begin.
    shift: f32,
    /// To which side the body tilts, and how far.
    side: [f32; 3],
    /// When it tilts, and when it comes back.
    times: [f32; 2],
}

impl Window {
    fn new(label: u8, rng: &mut ChaCha8Rng) -> Self {
        let far = uniform(rng, 0.9, 1.4);
        let sign = if rng.random() { 1.0 } else { -1.0 };
        Self {
            label,
            tempo: uniform(rng, 0.9, 1.1),
            vigour: uniform(rng, 0.8, 1.2),
            shift: rng.random(),
            side: [-0.3, 1.0, 0.6].map(|share| sign * far * (share + bell(rng, 0.15))),
            times: [uniform(rng, 0.05, 0.3), uniform(rng, 0.65, 0.95)],
        }
    }

    /// How strong the gait is; 1 on average while the person moves.
    fn strength(&self, time: f32) -> f32 {
        match self.label {
            0 => 0.2 + 1.6 * time,
            1 => 1.8 - 1.6 * time,
            2 => 1.0 + 0.9 * wave(3.0 * time + self.shift),
            _ => 0.0,
        }
    }

    /// How far the body is tilted, up to 1, and how fast it turns.
    fn tilt(&self, time: f32) -> [f32; 2] {
        let [out, back] = self.times.map(|middle| ramp((time - middle) / TILT_TIME));
        match self.label {
            3 => out,
            4 => [out[0] - back[0], out[1] - back[1]],
            _ => [0.0, 0.0],
        }
    }
}

/// From 0 to 1 while `x` goes from -1/2 to 1/2; and the slope, up to 1.
fn ramp(x: f32) -> [f32; 2] {
    let x = (x + 0.5).clamp(0.0, 1.0);
    [x * x * (3.0 - 2.0 * x), 4.0 * x * (1.0 - x)]
}

/// The sine of `turns` whole turns, to 0.001.
///
/// Four operations on floats are rounded the same everywhere; the sine of the standard library is not.
fn wave(turns: f32) -> f32 {
    let x = 0.5 - (turns - turns.floor());
    let parabola = 8.0 * x * (1.0 - 2.0 * x.abs());
    parabola * (0.775 + 0.225 * parabola.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wave_is_a_sine() {
        for i in -4_000..4_000 {
            let turns = i as f32 / 1_000.0;
            assert!((wave(turns) - (std::f32::consts::TAU * turns).sin()).abs() < 1.1e-3, "{turns}");
        }
    }
}
