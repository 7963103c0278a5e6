//! The kernels of the derivative by the weights; how they work is told one level up.

use burn_cubecl::cubecl::{self, prelude::*};

use super::Tile;
use crate::device::read::{element, pulled_back};

/// What a cube works on.
#[derive(CubeType, Clone, Copy)]
#[expand(derive(Clone, Copy))]
struct Block {
    share: usize,
    layer: usize,
    /// The first output channel.
    output: usize,
    /// The first input channel.
    input: usize,
}

/// Where a tile lies.
#[derive(CubeType, Clone, Copy)]
#[expand(derive(Clone, Copy))]
struct Place {
    /// The image, among those of all layers.
    image: usize,
    /// The first row.
    y: usize,
    /// The first column.
    x: usize,
}

#[cube(launch)]
pub(super) fn weight_gradient_kernel(
    input: &Tensor<f32>,
    delta: &Tensor<f32>,
    relu_output: ComptimeOption<&Tensor<f32>>,
    out: &mut Tensor<f32>,
    batch: usize,
    layers: usize,
    shares: usize,
    share: usize,
    #[comptime] tile: Tile,
) {
    let block = cube_block(layers, tile);
    if block.share >= shares {
        terminate!();
    }
    let mut memory = Shared::<[f32]>::new_slice(comptime!(tile.memory()));
    let mut sums = Array::<f32>::new(36usize);

    let first = block.share * share;
    let end = clamp_max(first + share, batch * comptime!(tile.counts[2] * tile.counts[3]));
    for at in first..end {
        let place = Place {
            image: block.layer * batch + at / comptime!(tile.counts[2] * tile.counts[3]),
            y: at / tile.counts[2] % tile.counts[3] * tile.rows,
            x: at % tile.counts[2] * tile.columns,
        };
        stage_inputs(input, &mut memory, block, place, tile);
        stage_deltas(delta, relu_output, &mut memory, block, place, tile);
        sync_cube();
        add_products(&memory, &mut sums, tile);
        sync_cube();
    }
    let c_out = delta.shape(1);
    write_sums(&sums, &mut memory, out, block, (block.share * layers + block.layer) * c_out, c_out, tile);
}

/// The block of this cube; those that read the same tiles run next to each other.
#[cube]
fn cube_block(layers: usize, #[comptime] tile: Tile) -> Block {
    let input = CUBE_POS % tile.counts[1];
    let rest = CUBE_POS / tile.counts[1];
    let output = rest % tile.counts[0];
    let rest = rest / tile.counts[0];
    Block {
        share: rest / layers,
        layer: rest % layers,
        output: output * comptime!(2 * tile.outputs),
        input: input * comptime!(2 * tile.inputs),
    }
}

/// Copies the tile of the input channels of the block, with a border of one position; zeros beyond images and channels.
#[cube]
fn stage_inputs(input: &Tensor<f32>, memory: &mut Shared<[f32]>, block: Block, place: Place, #[comptime] tile: Tile) {
    let columns = comptime!(tile.columns + 2);
    let plane = comptime!((tile.rows + 2) * (tile.columns + 2));
    let mut at = UNIT_POS as usize;
    while at < comptime!(2 * tile.inputs * plane) {
        let channel = at / plane;
        let position = at % plane;
        // One further than the position, whose border begins at -1.
        let y = place.y + position / columns;
        let x = place.x + position % columns;
        let inside = y >= 1 && y <= input.shape(2) && x >= 1 && x <= input.shape(3);
        let mut value = 0.0f32;
        if inside && block.input + channel < input.shape(1) {
            value = element(input, place.image, block.input + channel, y - 1, x - 1);
        }
        memory[channel * comptime!(tile.input_plane()) + position] = value;
        at += comptime!(tile.threads());
    }
}

/// Copies the tile of the output channels of the block; zeros beyond images and channels.
#[cube]
fn stage_deltas(
    delta: &Tensor<f32>,
    relu_output: ComptimeOption<&Tensor<f32>>,
    memory: &mut Shared<[f32]>,
    block: Block,
    place: Place,
    #[comptime] tile: Tile,
) {
    let plane = comptime!(tile.rows * tile.columns);
    let mut at = UNIT_POS as usize;
    while at < comptime!(2 * tile.outputs * plane) {
        let channel = at / plane;
        let position = at % plane;
        let y = place.y + position / tile.columns;
        let x = place.x + position % tile.columns;
        let mut value = 0.0f32;
        if y < delta.shape(2) && x < delta.shape(3) && block.output + channel < delta.shape(1) {
            value = pulled_back(delta, relu_output, place.image, block.output + channel, y, x);
        }
        memory[comptime!(tile.deltas()) + channel * comptime!(tile.delta_plane()) + position] = value;
        at += comptime!(tile.threads());
    }
}

/// Adds what the row of this thread gives to its sums, `[2 outputs, 2 inputs, 3, 3]`.
#[cube]
fn add_products(memory: &Shared<[f32]>, sums: &mut Array<f32>, #[comptime] tile: Tile) {
    let unit = UNIT_POS as usize;
    let input = unit % tile.inputs;
    let output = unit / tile.inputs % tile.outputs;
    let row = unit / comptime!(tile.inputs * tile.outputs);
    let delta_at = comptime!(tile.deltas()) + output * comptime!(tile.delta_plane()) + row * tile.columns;
    let input_at = input * comptime!(tile.input_plane()) + row * comptime!(tile.columns + 2);
    // The columns of the windows that the next position shares with this one, `[2 inputs, 3 rows, 3 columns]`.
    let mut window = Array::<f32>::new(18usize);
    #[unroll]
    for r in 0..6usize {
        let line = input_at + comptime!(r / 3 * tile.inputs * tile.input_plane() + r % 3 * (tile.columns + 2));
        window[r * 3 + 1] = memory[line];
        window[r * 3 + 2] = memory[line + 1];
    }
    for x in 0..tile.columns {
        #[unroll]
        for r in 0..6usize {
            let line = input_at + comptime!(r / 3 * tile.inputs * tile.input_plane() + r % 3 * (tile.columns + 2));
            window[r * 3] = window[r * 3 + 1];
            window[r * 3 + 1] = window[r * 3 + 2];
            window[r * 3 + 2] = memory[line + x + 2];
        }
        #[unroll]
        for o in 0..2usize {
            let delta = memory[delta_at + comptime!(o * tile.outputs * tile.delta_plane()) + x];
            #[unroll]
            for tap in 0..18usize {
                let sum = comptime!(o * 18 + tap);
                sums[sum] = fma(delta, window[tap], sums[sum]);
            }
        }
    }
}

/// Adds the sums of the threads of all rows up, in the memory `work`, and writes them to the rows of `out` from `first`
/// on; one pair of channels of each thread after the other.
#[cube]
fn write_sums(
    sums: &Array<f32>,
    work: &mut Shared<[f32]>,
    out: &mut Tensor<f32>,
    block: Block,
    first: usize,
    c_out: usize,
    #[comptime] tile: Tile,
) {
    let unit = UNIT_POS as usize;
    let threads = comptime!(tile.threads());
    let pairs = comptime!(tile.inputs * tile.outputs);
    let c_in = out.shape(1);
    #[unroll]
    for pair in 0..4usize {
        #[unroll]
        for tap in 0..9usize {
            work[tap * threads + unit] = sums[comptime!(pair * 9 + tap)];
        }
        sync_cube();
        let mut at = unit;
        while at < comptime!(9 * pairs) {
            let tap = at / pairs;
            let owner = at % pairs;
            let input = block.input + owner % tile.inputs + comptime!(pair % 2 * tile.inputs);
            let output = block.output + owner / tile.inputs + comptime!(pair / 2 * tile.outputs);
            if input < c_in && output < c_out {
                let mut total = 0.0f32;
                for row in 0..tile.rows {
                    total += work[tap * threads + row * pairs + owner];
                }
                out[((first + output) * c_in + input) * 9 + tap] = total;
            }
            at += threads;
        }
        sync_cube();
    }
}

/// `out` as the sum of the shares' `sums`, which lie one behind the other.
#[cube(launch)]
pub(super) fn add_shares_kernel(sums: &Tensor<f32>, out: &mut Tensor<f32>) {
    let len = out.len();
    if ABSOLUTE_POS < len {
        let mut total = 0.0f32;
        let mut at = ABSOLUTE_POS;
        while at < sums.len() {
            total += sums[at];
            at += len;
        }
        out[ABSOLUTE_POS] = total;
    }
}
