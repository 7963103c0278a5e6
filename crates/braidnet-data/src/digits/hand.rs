//! The hand: picks a way of writing, misses the points a little, bends, leans and turns the digit,
//! and sets it in the frame.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{
    SIDE,
    glyphs::{GLYPHS, Glyph, Run},
};
use crate::random::{bell, uniform};

/// Height or width, whichever is larger, that MNIST fits its digits into.
const BOX: f32 = 20.0;
/// Pixels kept free around the drawing, for the soft edge of the pen.
const RIM: f32 = 1.5;
/// Straight pieces between two points of a curve.
const PIECES: usize = 6;

/// A point of the pen's way and the pen's radius there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dab {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) radius: f32,
}

/// The strokes of one handwritten `digit`, in pixels of the image.
pub(super) fn write(digit: u8, rng: &mut ChaCha8Rng) -> Vec<Vec<Dab>> {
    let glyph = choose(GLYPHS[usize::from(digit)], rng);
    let sloppiness = uniform(rng, 0.006, 0.032);
    let radius = uniform(rng, 0.85, 1.9);
    let mut strokes: Vec<Vec<Dab>> = glyph.strokes.iter().map(|runs| trace(runs, sloppiness, radius, rng)).collect();

    let (bend, posture) = (Bend::random(rng), Posture::random(rng));
    for dab in strokes.iter_mut().flatten() {
        [dab.x, dab.y] = posture.apply(bend.apply([dab.x, dab.y]));
    }
    frame(&mut strokes, radius, rng);
    strokes
}

fn choose<'a>(glyphs: &'a [Glyph], rng: &mut ChaCha8Rng) -> &'a Glyph {
    let total = glyphs.iter().map(|glyph| glyph.weight).sum();
    let mut ticket: u32 = rng.random_range(0..total);
    for glyph in glyphs {
        if ticket < glyph.weight {
            return glyph;
        }
        ticket -= glyph.weight;
    }
    unreachable!("the ticket is below the sum of the weights")
}

/// One stroke as many short straight pieces, its points missed by about `sloppiness` and its width
/// changing slowly.
fn trace(runs: &[Run], sloppiness: f32, radius: f32, rng: &mut ChaCha8Rng) -> Vec<Dab> {
    let mut dabs: Vec<Dab> = Vec::new();
    for run in runs {
        let mut knots: Vec<Dab> = dabs.last().copied().into_iter().collect();
        knots.extend(run.iter().map(|&(x, y)| Dab {
            x: f32::from(x) / 100.0 + bell(rng, sloppiness),
            y: f32::from(y) / 100.0 + bell(rng, sloppiness),
            radius: radius * (1.0 + bell(rng, 0.09)),
        }));
        dabs.extend(&knots[..1]);
        for i in 1..knots.len() {
            smooth_piece(&knots, i, &mut dabs);
        }
    }
    dabs
}

/// Appends the curve from knot `i - 1` to knot `i`: a Catmull-Rom spline, whose slope at a knot is
/// that between its neighbours.
fn smooth_piece(knots: &[Dab], i: usize, dabs: &mut Vec<Dab>) {
    let [before, from, to, after] = [i.saturating_sub(2), i - 1, i, (i + 1).min(knots.len() - 1)].map(|k| knots[k]);
    let cubic = |p0: f32, p1: f32, p2: f32, p3: f32, t: f32| {
        let linear = p2 - p0;
        let square = 2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3;
        let cube = 3.0 * (p1 - p2) + p3 - p0;
        p1 + 0.5 * t * (linear + t * (square + t * cube))
    };
    dabs.extend((1..=PIECES).map(|k| {
        let t = k as f32 / PIECES as f32;
        Dab {
            x: cubic(before.x, from.x, to.x, after.x, t),
            y: cubic(before.y, from.y, to.y, after.y, t),
            radius: from.radius + t * (to.radius - from.radius),
        }
    }));
}

/// A smooth elastic distortion: random shifts on a coarse lattice over the digit, blended in
/// between.
struct Bend {
    shifts: [[[f32; 2]; Self::NODES]; Self::NODES],
}

impl Bend {
    const NODES: usize = 3;

    fn random(rng: &mut ChaCha8Rng) -> Self {
        let strength = uniform(rng, 0.02, 0.075);
        let mut shift = || [bell(rng, strength), bell(rng, strength)];
        Self { shifts: std::array::from_fn(|_| std::array::from_fn(|_| shift())) }
    }

    fn apply(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let ((column, u), (row, v)) = (Self::cell(x), Self::cell(y));
        let mix = |a: f32, b: f32, t: f32| a + t * (b - a);
        let shift = |axis: usize| {
            let [above, below] =
                [row, row + 1].map(|row| mix(self.shifts[row][column][axis], self.shifts[row][column + 1][axis], u));
            mix(above, below, v)
        };
        [x + shift(0), y + shift(1)]
    }

    /// The cell of the lattice and the weight of its far side, with zero slope at the nodes so that
    /// no kink shows there.
    fn cell(x: f32) -> (usize, f32) {
        let cells = Self::NODES - 1;
        let place = x.clamp(0.0, 1.0) * cells as f32;
        let cell = (place as usize).min(cells - 1);
        let t = place - cell as f32;
        (cell, t * t * (3.0 - 2.0 * t))
    }
}

/// How the digit leans, turns and stretches: a linear map.
struct Posture {
    matrix: [[f32; 2]; 2],
}

impl Posture {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        // Writers lean to the right on the whole: up (smaller y) goes with right.
        let slant = -0.15 + bell(rng, 0.22);
        let width = uniform(rng, 0.75, 1.4);
        // The turn by twice the angle whose tangent is h needs no sine or cosine.
        let h = bell(rng, 0.075);
        let (cos, sin) = ((1.0 - h * h) / (1.0 + h * h), 2.0 * h / (1.0 + h * h));
        // Turn times lean times stretch.
        Self { matrix: [[cos * width, cos * slant - sin], [sin * width, sin * slant + cos]] }
    }

    fn apply(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        self.matrix.map(|[a, b]| a * x + b * y)
    }
}

/// Scales the strokes into MNIST's box and puts their centre of mass near the middle of the image.
fn frame(strokes: &mut [Vec<Dab>], radius: f32, rng: &mut ChaCha8Rng) {
    let (low, high) = bounds(strokes);
    let extent = (high[0] - low[0]).max(high[1] - low[1]);
    let scale = (BOX * uniform(rng, 0.86, 1.08) - 2.0 * radius) / extent;
    let centre = centre_of_mass(strokes);
    let shift = [bell(rng, 0.9), bell(rng, 0.9)];
    let free = RIM + radius * 1.3;
    for axis in 0..2 {
        let middle = SIDE as f32 / 2.0 + shift[axis];
        // A heavy end draws the centre of mass off, and the light end out of the image: push it
        // back in.
        let start = (middle + scale * (low[axis] - centre[axis])).max(free);
        let size = scale * (high[axis] - low[axis]);
        let start = start.min(SIDE as f32 - free - size);
        for dab in strokes.iter_mut().flatten() {
            let place = if axis == 0 { &mut dab.x } else { &mut dab.y };
            *place = start + scale * (*place - low[axis]);
        }
    }
}

fn bounds(strokes: &[Vec<Dab>]) -> ([f32; 2], [f32; 2]) {
    let whole = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
    strokes.iter().flatten().fold(whole, |(low, high), dab| {
        ([low[0].min(dab.x), low[1].min(dab.y)], [high[0].max(dab.x), high[1].max(dab.y)])
    })
}

/// The mean of all places on the strokes, each piece counted by its length.
fn centre_of_mass(strokes: &[Vec<Dab>]) -> [f32; 2] {
    let (mut mass, mut sum) = (0.0, [0.0, 0.0]);
    for pair in strokes.iter().flat_map(|stroke| stroke.windows(2)) {
        let [dx, dy] = [pair[1].x - pair[0].x, pair[1].y - pair[0].y];
        let length = (dx * dx + dy * dy).sqrt();
        mass += length;
        sum[0] += length * 0.5 * (pair[0].x + pair[1].x);
        sum[1] += length * 0.5 * (pair[0].y + pair[1].y);
    }
    sum.map(|sum| sum / mass)
}
