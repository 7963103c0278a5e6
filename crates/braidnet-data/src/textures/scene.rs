//! One picture: a shape among clutter on a background.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{shape::Shape, texture::Texture};
use crate::{
    pictures::{CHANNELS, SIDE},
    random::{bell, uniform},
};

/// Every pixel is the mean over this many times this many points.
const POINTS: usize = 2;

/// How far the colours of a shape are at least from each other and from the background, summed over the channels.
const CONTRAST: f32 = 220.0;

/// Bits of clutter behind the shape, and before it.
const CLUTTER: [usize; 2] = [3, 1];

/// Red, green and blue, 0 to 255.
type Colour = [f32; CHANNELS];

/// A place of its own: an origin, a direction, and lengths along it and across it.
#[derive(Debug)]
struct Frame {
    origin: [f32; 2],
    direction: [f32; 2],
    lengths: [f32; 2],
}

/// A plain bar or oval of one colour.
#[derive(Debug)]
struct Bit {
    frame: Frame,
    is_oval: bool,
    colour: Colour,
}

/// What a picture shows.
#[derive(Debug)]
pub(super) struct Scene {
    shape: Shape,
    texture: Texture,
    /// Where the shape is.
    place: Frame,
    /// How its texture is laid on it.
    laid: Frame,
    phase: [f32; 2],
    /// The two colours of the shape.
    colours: [Colour; 2],
    /// The background's colour in the middle, and how it changes per pixel to the right and down.
    background: [Colour; 3],
    behind: Vec<Bit>,
    before: Vec<Bit>,
    /// Deviation of the noise.
    grain: f32,
}

impl Frame {
    fn random(origin: [f32; 2], lengths: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        Self { origin, direction: direction(rng), lengths }
    }

    /// A point of the picture as the frame sees it.
    fn seen(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [x, y] = [x - self.origin[0], y - self.origin[1]];
        let [c, s] = self.direction;
        [(c * x + s * y) / self.lengths[0], (c * y - s * x) / self.lengths[1]]
    }
}

impl Bit {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let origin = [(); 2].map(|()| uniform(rng, 0.0, SIDE as f32));
        let is_oval = rng.random();
        let (long, wide) = (uniform(rng, 2.0, 8.0), uniform(rng, 1.0, 3.0));
        Self { frame: Frame::random(origin, [long, wide], rng), is_oval, colour: colour(rng) }
    }

    fn contains(&self, point: [f32; 2]) -> bool {
        let [x, y] = self.frame.seen(point);
        if self.is_oval { x * x + y * y < 1.0 } else { x.abs().max(y.abs()) < 1.0 }
    }
}

impl Scene {
    pub(super) fn random(shape: Shape, texture: Texture, rng: &mut ChaCha8Rng) -> Self {
        let size = uniform(rng, 17.0, 25.0);
        let origin = [(); 2].map(|()| uniform(rng, 0.9 * size, SIDE as f32 - 0.9 * size));
        let stretch = uniform(rng, 0.87, 1.15);
        let period = uniform(rng, 7.0, 9.5);
        let ground = colour(rng);
        let first = far_from(&[ground], rng);
        let second = far_from(&[ground, first], rng);
        let [behind, before] = CLUTTER.map(|n| (0..n).map(|_| Bit::random(rng)).collect());
        let [right, down] = [(); 2].map(|()| [(); CHANNELS].map(|()| bell(rng, 0.6)));
        Self {
            shape,
            texture,
            place: Frame::random(origin, [size * stretch, size / stretch], rng),
            laid: Frame::random(origin, [period; 2], rng),
            phase: [(); 2].map(|()| rng.random()),
            colours: [first, second],
            background: [ground, right, down],
            behind,
            before,
            grain: uniform(rng, 3.0, 10.0),
        }
    }

    /// Appends the picture, channel by channel.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng, pixels: &mut Vec<u8>) {
        let colours: Vec<Colour> = (0..SIDE * SIDE).map(|k| self.pixel(k % SIDE, k / SIDE)).collect();
        for channel in 0..CHANNELS {
            // The conversion cuts off what is below 0 or above 255.
            pixels.extend(colours.iter().map(|colour| (colour[channel] + bell(rng, self.grain) + 0.5) as u8));
        }
    }

    fn pixel(&self, column: usize, row: usize) -> Colour {
        let mut sum = [0.0; CHANNELS];
        for k in 0..POINTS * POINTS {
            let place = |pixel: usize, k: usize| pixel as f32 + (k as f32 + 0.5) / POINTS as f32;
            let colour = self.colour([place(column, k % POINTS), place(row, k / POINTS)]);
            sum.iter_mut().zip(colour).for_each(|(sum, value)| *sum += value);
        }
        sum.map(|sum| sum / (POINTS * POINTS) as f32)
    }

    /// The colour of a point: that of the foremost thing there.
    fn colour(&self, point: [f32; 2]) -> Colour {
        let first = |bits: &[Bit]| bits.iter().find(|bit| bit.contains(point)).map(|bit| bit.colour);
        if let Some(colour) = first(&self.before) {
            return colour;
        }
        if self.shape.contains(self.place.seen(point)) {
            let is_second = self.texture.is_second(self.laid.seen(point), self.phase);
            return self.colours[usize::from(is_second)];
        }
        first(&self.behind).unwrap_or_else(|| {
            let [x, y] = point.map(|place| place - SIDE as f32 / 2.0);
            let [ground, right, down] = self.background;
            std::array::from_fn(|channel| ground[channel] + x * right[channel] + y * down[channel])
        })
    }
}

fn colour(rng: &mut ChaCha8Rng) -> Colour {
    [(); CHANNELS].map(|()| uniform(rng, 0.0, 255.0))
}

/// A colour unlike some others.
fn far_from(others: &[Colour], rng: &mut ChaCha8Rng) -> Colour {
    let distance = |a: &Colour, b: &Colour| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>();
    loop {
        let colour = colour(rng);
        if others.iter().all(|other| distance(&colour, other) >= CONTRAST) {
            return colour;
        }
    }
}

/// A unit vector that points anywhere: a point of the disc, moved to its rim. No sine is needed, whose last bits differ
/// between machines.
fn direction(rng: &mut ChaCha8Rng) -> [f32; 2] {
    loop {
        let [x, y] = [(); 2].map(|()| uniform(rng, -1.0, 1.0));
        let square = x * x + y * y;
        if (0.01..1.0).contains(&square) {
            let length = square.sqrt();
            return [x / length, y / length];
        }
    }
}
