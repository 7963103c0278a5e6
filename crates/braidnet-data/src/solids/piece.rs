//! A piece of furniture: its parts, and how they are put on a grid.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::random::uniform;

/// How far a piece is moved at most, in sides of the grid.
const MOVE: f32 = 0.15;

/// What parts are grown by to each side, in voxels, so that none falls between the middles of voxels, however thin:
/// half the diagonal of a square in x and y, as parts are turned, and half the side of a voxel in z.
const GROWN: [f32; 3] = [0.7072, 0.7072, 0.5];

/// A part of a piece, upright. Directions are x, y, z; z is up.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) outline: Outline,
    pub(super) middle: [f32; 3],
    /// Half the size in each direction.
    pub(super) half: [f32; 3],
}

/// A part seen from above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outline {
    /// A rectangle.
    Block,
    /// An ellipse.
    Round,
}

/// Where a piece is on a grid: turned, then scaled, then moved. The origin of the grid is its middle, its unit a voxel.
struct Pose {
    /// Cosine and sine of the angle about the vertical.
    turn: [f32; 2],
    scale: f32,
    offset: [f32; 3],
}

/// Puts a piece on a grid of `n` voxels a side, `[z, y, x]`, in a random pose.
pub(super) fn place(mut parts: Vec<Part>, n: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let stretch: [f32; 3] = std::array::from_fn(|_| uniform(rng, 0.75, 1.25));
    for part in &mut parts {
        for (axis, stretch) in stretch.into_iter().enumerate() {
            part.middle[axis] *= stretch;
            part.half[axis] *= stretch;
        }
    }
    let pose = Pose::random(&parts, n, rng);
    let mut voxels = vec![0; n * n * n];
    parts.iter().for_each(|part| pose.mark(part, n, &mut voxels));
    voxels
}

impl Pose {
    /// With a free layer around the piece.
    fn random(parts: &[Part], n: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut pose = Self { turn: direction(rng), scale: 1.0, offset: [0.0; 3] };
        let (mut low, mut high) = ([f32::MAX; 3], [f32::MIN; 3]);
        for [least, greatest] in parts.iter().map(|part| pose.bounds(part)) {
            for axis in 0..3 {
                low[axis] = low[axis].min(least[axis]);
                high[axis] = high[axis].max(greatest[axis]);
            }
        }
        let sizes: [f32; 3] = std::array::from_fn(|axis| high[axis] - low[axis]);
        let longest = sizes.into_iter().fold(0.0, f32::max);
        // The middles of the outermost voxels stay free. A turned part grows to each side by up to the root of two
        // times `GROWN`, which is one voxel.
        let room = n as f32 - 3.0 - 1e-3;
        pose.scale = uniform(rng, 0.7, 1.0) * room / longest;
        pose.offset = std::array::from_fn(|axis| {
            let free = (0.5 * (room - sizes[axis] * pose.scale)).min(MOVE * n as f32);
            uniform(rng, -free, free) - 0.5 * (low[axis] + high[axis]) * pose.scale
        });
        pose
    }

    /// The box around a part on the grid.
    fn bounds(&self, part: &Part) -> [[f32; 3]; 2] {
        let [x, y, z] = self.to_grid(part.middle);
        let [cos, sin] = self.turn.map(f32::abs);
        // A round part is taken for a block: a piece may be a little smaller than it could be.
        let [a, b, c] = part.half;
        let reach = [self.scale * (a * cos + b * sin), self.scale * (a * sin + b * cos), self.scale * c];
        [[x - reach[0], y - reach[1], z - reach[2]], [x + reach[0], y + reach[1], z + reach[2]]]
    }

    fn to_grid(&self, [x, y, z]: [f32; 3]) -> [f32; 3] {
        let [cos, sin] = self.turn;
        let turned = [x * cos - y * sin, x * sin + y * cos, z];
        std::array::from_fn(|axis| turned[axis] * self.scale + self.offset[axis])
    }

    fn off_grid(&self, point: [f32; 3]) -> [f32; 3] {
        let [cos, sin] = self.turn;
        let [x, y, z]: [f32; 3] = std::array::from_fn(|axis| (point[axis] - self.offset[axis]) / self.scale);
        [x * cos + y * sin, y * cos - x * sin, z]
    }

    /// Sets to 1 the voxels whose middle is in a part that is grown.
    fn mark(&self, part: &Part, n: usize, voxels: &mut [u8]) {
        let half = std::array::from_fn(|axis| part.half[axis] + GROWN[axis] / self.scale);
        let grown = Part { half, ..part.clone() };
        let [low, high] = self.bounds(&grown);
        let shift = 0.5 * n as f32 - 0.5;
        let [x, y, z] = [0, 1, 2].map(|axis| {
            let [first, last] = [low[axis] + shift, high[axis] + shift].map(|place| place.clamp(0.0, n as f32 - 1.0));
            first as usize..last as usize + 1
        });
        for k in z {
            for j in y.clone() {
                for i in x.clone() {
                    if grown.contains(self.off_grid([i, j, k].map(|index| index as f32 - shift))) {
                        voxels[(k * n + j) * n + i] = 1;
                    }
                }
            }
        }
    }
}

impl Part {
    fn contains(&self, point: [f32; 3]) -> bool {
        let [x, y, z]: [f32; 3] = std::array::from_fn(|axis| (point[axis] - self.middle[axis]) / self.half[axis]);
        let inside = match self.outline {
            Outline::Block => x.abs() <= 1.0 && y.abs() <= 1.0,
            Outline::Round => x * x + y * y <= 1.0,
        };
        inside && z.abs() <= 1.0
    }
}

/// Cosine and sine of an angle, any as likely as any other: those of a point in the unit disc, without sines, which
/// differ between machines.
fn direction(rng: &mut ChaCha8Rng) -> [f32; 2] {
    loop {
        let [x, y] = [0, 1].map(|_| 2.0 * rng.random::<f32>() - 1.0);
        let square: f32 = x * x + y * y;
        if (0.01..=1.0).contains(&square) {
            let length = square.sqrt();
            return [x / length, y / length];
        }
    }
}
