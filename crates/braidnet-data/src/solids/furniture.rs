//! Ten families of furniture.
//!
//! Lengths are about those of a real piece in metres; only their ratios matter. Each family has variants; what tells it
//! is how the parts are put together.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::piece::{Outline, Part};
use crate::random::uniform;

/// How to make a piece of a family.
type Family = fn(&mut ChaCha8Rng) -> Vec<Part>;

/// The families and their names.
pub(super) const FAMILIES: [(&str, Family); 10] = [
    ("table", table),
    ("chair", chair),
    ("desk", desk),
    ("sofa", sofa),
    ("bed", bed),
    ("lamp", lamp),
    ("shelf", shelf),
    ("cabinet", cabinet),
    ("stool", stool),
    ("bathtub", bathtub),
];

/// From where to where, along one direction.
type Span = [f32; 2];

fn block([x, y, z]: [Span; 3]) -> Part {
    part(Outline::Block, [x, y, z])
}

fn part(outline: Outline, spans: [Span; 3]) -> Part {
    let middle = spans.map(|[from, to]| 0.5 * (from + to));
    Part { outline, middle, half: spans.map(|[from, to]| 0.5 * (to - from)) }
}

/// On both sides of 0.
fn even(half: f32) -> Span {
    [-half, half]
}

fn around(middle: f32, half: f32) -> Span {
    [middle - half, middle + half]
}

fn outline(rng: &mut ChaCha8Rng) -> Outline {
    if rng.random() { Outline::Round } else { Outline::Block }
}

/// Four legs at the corners of a rectangle.
fn legs(half: [f32; 2], thick: f32, z: Span, rng: &mut ChaCha8Rng) -> Vec<Part> {
    let outline = outline(rng);
    let corners = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]];
    let leg = |[x, y]: [f32; 2]| {
        part(outline, [around(x * (half[0] - thick), thick), around(y * (half[1] - thick), thick), z])
    };
    corners.map(leg).to_vec()
}

/// A wide plate on legs, or on a column with a foot.
fn table(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let half = [uniform(rng, 0.5, 0.9), uniform(rng, 0.4, 0.55)];
    let (height, thick) = (uniform(rng, 0.5, 0.9), uniform(rng, 0.05, 0.12));
    let outline = outline(rng);
    let mut parts = vec![part(outline, [even(half[0]), even(half[1]), [height - thick, height]])];
    if rng.random() || outline == Outline::Round {
        let (column, foot) = (uniform(rng, 0.05, 0.12), uniform(rng, 0.5, 0.8));
        parts.push(part(Outline::Round, [even(column), even(column), [0.0, height]]));
        parts.push(part(outline, [even(foot * half[0]), even(foot * half[1]), [0.0, 0.06]]));
    } else {
        parts.extend(legs(half, uniform(rng, 0.03, 0.07), [0.0, height], rng));
    }
    parts
}

/// A seat on four legs, with a back of one plate or of bars.
fn chair(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let half = [uniform(rng, 0.22, 0.32), uniform(rng, 0.22, 0.3)];
    let (seat, thick) = (uniform(rng, 0.4, 0.55), uniform(rng, 0.05, 0.12));
    let (top, back) = (seat + uniform(rng, 0.35, 0.6), uniform(rng, 0.03, 0.06));
    let behind = [half[1] - 2.0 * back, half[1]];
    let mut parts = legs(half, uniform(rng, 0.02, 0.04), [0.0, seat], rng);
    parts.push(block([even(half[0]), even(half[1]), [seat - thick, seat]]));
    if rng.random() {
        parts.push(block([even(half[0]), behind, [seat, top]]));
    } else {
        for side in [-1.0, 1.0] {
            parts.push(block([around(side * (half[0] - back), back), behind, [seat, top]]));
        }
        parts.push(block([even(half[0]), behind, [top - 0.12, top]]));
    }
    parts
}

/// A wide plate on a block of drawers at one side, and a block, a plate or legs at the other.
fn desk(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let half = [uniform(rng, 0.6, 0.9), uniform(rng, 0.32, 0.45)];
    let (height, thick) = (uniform(rng, 0.6, 0.85), uniform(rng, 0.04, 0.08));
    let drawers = uniform(rng, 0.35, 0.5);
    let floor = uniform(rng, 0.0, 0.1);
    let mut parts = vec![block([even(half[0]), even(half[1]), [height - thick, height]])];
    parts.push(block([[-half[0], drawers - half[0]], even(0.95 * half[1]), [floor, height]]));
    let other = match rng.random_range(0..3) {
        0 => drawers,
        1 => 0.06,
        _ => 0.0,
    };
    if other > 0.0 {
        parts.push(block([[half[0] - other, half[0]], even(0.95 * half[1]), [0.0, height]]));
    }
    parts.extend(legs(half, 0.03, [0.0, height], rng));
    if rng.random() {
        parts.push(block([even(half[0]), [half[1] - 0.05, half[1]], [0.4 * height, height]]));
    }
    parts
}

/// A wide seat with a back and two arms.
fn sofa(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let half = [uniform(rng, 0.6, 1.0), uniform(rng, 0.38, 0.5)];
    let (floor, seat) = (uniform(rng, 0.05, 0.15), uniform(rng, 0.38, 0.5));
    let (top, back) = (seat + uniform(rng, 0.3, 0.5), uniform(rng, 0.12, 0.25));
    let (arm, width) = (seat + uniform(rng, 0.12, 0.25), uniform(rng, 0.12, 0.22));
    let mut parts = legs(half, 0.04, [0.0, seat], rng);
    parts.push(block([even(half[0]), even(half[1]), [floor, seat]]));
    parts.push(block([even(half[0]), [half[1] - back, half[1]], [floor, top]]));
    for side in [-1.0, 1.0] {
        parts.push(block([around(side * (half[0] - 0.5 * width), 0.5 * width), even(half[1]), [floor, arm]]));
    }
    parts
}

/// A wide, low block on legs between a higher board and maybe a lower one.
fn bed(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let half = [uniform(rng, 0.5, 0.9), uniform(rng, 0.95, 1.1)];
    let (floor, lying) = (uniform(rng, 0.1, 0.25), uniform(rng, 0.4, 0.6));
    let (head, foot) = (lying + uniform(rng, 0.2, 0.6), lying + uniform(rng, 0.05, 0.2));
    let board = uniform(rng, 0.03, 0.06);
    let mut parts = legs(half, 0.05, [0.0, lying], rng);
    parts.push(block([even(half[0]), even(half[1]), [floor, lying]]));
    parts.push(block([even(half[0]), around(half[1], board), [0.0, head]]));
    if rng.random() {
        parts.push(block([even(half[0]), around(-half[1], board), [0.0, foot]]));
    }
    parts
}

/// A foot, a thin pole and a shade that narrows upwards or not.
fn lamp(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let (foot, pole) = (uniform(rng, 0.2, 0.35), uniform(rng, 0.02, 0.05));
    let (height, shade) = (uniform(rng, 0.9, 1.6), uniform(rng, 0.25, 0.4));
    let (wide, narrow) = (uniform(rng, 0.25, 0.42), uniform(rng, 0.4, 1.0));
    let outline = outline(rng);
    let mut parts = vec![
        part(outline, [even(foot), even(foot), [0.0, 0.08]]),
        part(Outline::Round, [even(pole), even(pole), [0.0, height]]),
    ];
    const RINGS: usize = 4;
    for ring in 0..RINGS {
        let [from, to] = [ring, ring + 1].map(|k| height - shade + shade * k as f32 / RINGS as f32);
        let half = wide * (1.0 - (1.0 - narrow) * ring as f32 / (RINGS - 1) as f32);
        parts.push(part(outline, [even(half), even(half), [from, to]]));
    }
    parts
}

/// Two sides with boards between them, open in front, and maybe behind.
fn shelf(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let half = [uniform(rng, 0.4, 0.75), uniform(rng, 0.18, 0.32)];
    let (height, thick) = (uniform(rng, 0.9, 1.7), uniform(rng, 0.02, 0.04));
    let boards = rng.random_range(3..6);
    let mut parts = Vec::new();
    for side in [-1.0, 1.0] {
        parts.push(block([around(side * half[0], thick), even(half[1]), [0.0, height]]));
    }
    for board in 0..boards {
        let z = 0.05 + (height - 0.05 - thick) * board as f32 / (boards - 1) as f32;
        parts.push(block([even(half[0]), even(half[1]), around(z, thick)]));
    }
    if rng.random() {
        parts.push(block([even(half[0]), around(half[1], 0.02), [0.0, height]]));
    }
    parts
}

/// A closed block on legs, under a board.
fn cabinet(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let half = [uniform(rng, 0.4, 0.75), uniform(rng, 0.22, 0.4)];
    let (floor, height) = (uniform(rng, 0.05, 0.25), uniform(rng, 0.8, 1.6));
    let mut parts = legs(half, uniform(rng, 0.03, 0.06), [0.0, height], rng);
    parts.push(block([even(half[0]), even(half[1]), [floor, height]]));
    let over = uniform(rng, 0.0, 0.06);
    parts.push(block([even(half[0] + over), even(half[1] + over), [height, height + 0.05]]));
    for side in [-1.0, 1.0] {
        // The handles of its doors.
        parts.push(block([around(side * 0.08, 0.03), [-half[1] - 0.06, -half[1]], around(0.5 * height, 0.12)]));
    }
    parts
}

/// A narrow seat on legs with bars between them.
fn stool(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let half = [uniform(rng, 0.18, 0.28); 2];
    let (height, thick) = (uniform(rng, 0.4, 0.85), uniform(rng, 0.05, 0.12));
    let leg = uniform(rng, 0.02, 0.04);
    let outline = outline(rng);
    let seat = part(outline, [even(half[0]), even(half[1]), [height - thick, height]]);
    // The corners of a square in a disc.
    let half = if outline == Outline::Round { half.map(|half| 0.7 * half) } else { half };
    let mut parts = legs(half, leg, [0.0, height], rng);
    parts.push(seat);
    let bar = around(uniform(rng, 0.2, 0.6) * height, 0.02);
    for side in [-1.0, 1.0] {
        parts.push(block([around(side * (half[0] - leg), leg), even(half[1] - leg), bar]));
        parts.push(block([even(half[0] - leg), around(side * (half[1] - leg), leg), bar]));
    }
    parts
}

/// A floor with four walls, open at the top, on feet or not.
fn bathtub(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let half = [uniform(rng, 0.7, 0.95), uniform(rng, 0.38, 0.5)];
    let (floor, height) = (uniform(rng, 0.0, 0.15), uniform(rng, 0.5, 0.75));
    let (wall, thick) = (uniform(rng, 0.04, 0.1), uniform(rng, 0.06, 0.15));
    let mut parts = legs(half, 0.06, [0.0, height], rng);
    parts.push(block([even(half[0]), even(half[1]), [floor, floor + thick]]));
    for side in [-1.0, 1.0] {
        parts.push(block([around(side * (half[0] - wall), wall), even(half[1]), [floor, height]]));
        parts.push(block([even(half[0]), around(side * (half[1] - wall), wall), [floor, height]]));
    }
    parts
}
