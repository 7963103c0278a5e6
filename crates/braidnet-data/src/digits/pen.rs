//! The pen: draws strokes with a soft edge, and makes bytes of them.

use rand_chacha::ChaCha8Rng;

use super::{SIDE, hand::Dab};
use crate::random::{bell, uniform};

/// Pixels over which ink fades at the edge of a stroke.
const EDGE: f32 = 1.2;

/// For each pixel, how deep its centre lies inside the ink; negative outside.
pub(super) struct Canvas {
    depth: [f32; SIDE * SIDE],
}

impl Canvas {
    /// Without ink.
    pub(super) fn new() -> Self {
        Self { depth: [-EDGE; SIDE * SIDE] }
    }

    /// Adds a stroke. Ink over ink is no darker than ink.
    pub(super) fn draw(&mut self, stroke: &[Dab]) {
        for pair in stroke.windows(2) {
            self.draw_piece(pair[0], pair[1]);
        }
    }

    /// Adds a straight piece, looking only at the pixels it can reach.
    fn draw_piece(&mut self, from: Dab, to: Dab) {
        let reach = from.radius.max(to.radius) + EDGE;
        let (dx, dy) = (to.x - from.x, to.y - from.y);
        // The small number stands for the length of a piece of none.
        let per_length = 1.0 / (dx * dx + dy * dy).max(1e-12);
        let columns = pixels(from.x.min(to.x) - reach, from.x.max(to.x) + reach);
        for row in pixels(from.y.min(to.y) - reach, from.y.max(to.y) + reach) {
            let py = row as f32 + 0.5 - from.y;
            for column in columns.clone() {
                let px = column as f32 + 0.5 - from.x;
                let t = ((px * dx + py * dy) * per_length).clamp(0.0, 1.0);
                let (ex, ey) = (px - t * dx, py - t * dy);
                let radius = from.radius + t * (to.radius - from.radius);
                let depth = &mut self.depth[row * SIDE + column];
                *depth = depth.max(radius - (ex * ex + ey * ey).sqrt());
            }
        }
    }

    /// The finished image: ink of uneven darkness on an empty background.
    pub(super) fn into_bytes(self, rng: &mut ChaCha8Rng) -> [u8; SIDE * SIDE] {
        let darkness = uniform(rng, 225.0, 275.0);
        let grain = uniform(rng, 2.0, 12.0);
        self.depth.map(|depth| {
            let cover = (0.5 + depth / EDGE).clamp(0.0, 1.0);
            if cover > 0.0 {
                // The conversion cuts off what is below 0 or above 255.
                (cover * (darkness + bell(rng, grain)) + 0.5) as u8
            } else {
                0
            }
        })
    }
}

/// The rows or columns whose pixels meet the range, inside the image.
fn pixels(low: f32, high: f32) -> std::ops::Range<usize> {
    // The conversion takes negative numbers to 0.
    low as usize..(high as usize + 1).min(SIDE)
}
