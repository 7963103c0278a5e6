//! The kernel of convolutions; how it works is told one level up.

use burn_cubecl::cubecl::{self, prelude::*};

use super::{Plan, ROWS};
use crate::device::read::pulled_back;

/// Four output channels.
type Four = Vector<f32, Const<4>>;

/// What a cube, or a thread, works on.
#[derive(CubeType, Clone, Copy)]
#[expand(derive(Clone, Copy))]
struct Place {
    layer: usize,
    /// The first output channel.
    output: usize,
    /// The first image, among those of the layer.
    image: usize,
    /// The first row.
    y: usize,
    /// The first column.
    x: usize,
}

/// The place of this cube; those that read the same input run next to each other.
#[cube]
fn cube_place(#[comptime] plan: Plan) -> Place {
    let block = CUBE_POS % plan.counts[3];
    let rest = CUBE_POS / plan.counts[3];
    let tile_x = rest % plan.counts[0];
    let rest = rest / plan.counts[0];
    let tile_y = rest % plan.counts[1];
    let rest = rest / plan.counts[1];
    Place {
        layer: rest / plan.counts[2],
        output: block * plan.outputs,
        image: rest % plan.counts[2] * plan.images,
        y: tile_y * plan.bands * ROWS,
        x: tile_x * plan.columns,
    }
}

#[cube(launch)]
pub(super) fn conv3x3_kernel(
    u: &Tensor<f32>,
    weight: &Tensor<f32>,
    bias: ComptimeOption<&[f32]>,
    relu_output: ComptimeOption<&Tensor<f32>>,
    out: &mut Tensor<f32>,
    batch: usize,
    layers: usize,
    #[comptime] plan: Plan,
) {
    let place = cube_place(plan);
    if place.layer >= layers {
        terminate!();
    }
    let tile = comptime!(plan.images * (plan.columns + 2) * (plan.bands * ROWS + 2));
    let mut inputs = Shared::<[f32]>::new_slice(comptime!(plan.channels * tile));
    let mut weights = Shared::<[Four]>::new_slice(comptime!(plan.channels * 9 * plan.outputs / 4));
    let mut sums = Array::<Four>::new(comptime!(ROWS * plan.outputs / 4));

    let mut channel = 0usize;
    while channel < u.shape(1) {
        stage_inputs(u, relu_output, &mut inputs, place, channel, batch, plan);
        stage_weights(weight, &mut weights, place, channel, u.shape(1), out.shape(1), plan);
        sync_cube();
        add_products(&inputs, &weights, &mut sums, plan);
        sync_cube();
        channel += plan.channels;
    }
    write_outputs(&sums, &bias, out, place, batch, plan);
}

/// Copies the tile of the input channels from `channel` on, with a border of one position, `[channels, images, rows,
/// columns]`; zeros beyond the images and the channels.
#[cube]
fn stage_inputs(
    u: &Tensor<f32>,
    relu_output: ComptimeOption<&Tensor<f32>>,
    inputs: &mut Shared<[f32]>,
    place: Place,
    channel: usize,
    batch: usize,
    #[comptime] plan: Plan,
) {
    let columns = comptime!(plan.columns + 2);
    let rows = comptime!(plan.bands * ROWS + 2);
    let tile = comptime!(plan.images * rows * columns);
    let mut at = UNIT_POS as usize;
    while at < tile {
        let image = place.image + at / comptime!(rows * columns);
        // One further than the position, whose border begins at -1.
        let y = place.y + at / columns % rows;
        let x = place.x + at % columns;
        let inside = image < batch && y >= 1 && y <= u.shape(2) && x >= 1 && x <= u.shape(3);
        for c in 0..plan.channels {
            let mut value = 0.0f32;
            if inside && channel + c < u.shape(1) {
                value = pulled_back(u, relu_output, place.layer * batch + image, channel + c, y - 1, x - 1);
            }
            inputs[c * tile + at] = value;
        }
        at += comptime!(plan.threads());
    }
}

/// Copies the weights of the input channels from `channel` on, `[channels, 9, outputs]`, as the sum meets them; zeros
/// beyond the channels.
#[cube]
fn stage_weights(
    weight: &Tensor<f32>,
    weights: &mut Shared<[Four]>,
    place: Place,
    channel: usize,
    c_in: usize,
    c_out: usize,
    #[comptime] plan: Plan,
) {
    let fours = comptime!(plan.outputs / 4);
    let mut at = UNIT_POS as usize;
    while at < comptime!(plan.channels * 9 * plan.outputs / 4) {
        let input = channel + at / comptime!(9 * fours);
        let tap = at / fours % 9;
        let output = place.output + at % fours * 4;
        let mut four = Four::new(0.0f32);
        #[unroll]
        for lane in 0..4usize {
            if input < c_in && output + lane < c_out {
                let value = if comptime!(plan.transposed) {
                    weight_at(weight, place.layer * c_in + input, output + lane, 8 - tap)
                } else {
                    weight_at(weight, place.layer * c_out + output + lane, input, tap)
                };
                four.insert(lane, value);
            }
        }
        weights[at] = four;
        at += comptime!(plan.threads());
    }
}

#[cube]
fn weight_at(weight: &Tensor<f32>, row: usize, column: usize, tap: usize) -> f32 {
    weight[row * weight.stride(0) + column * weight.stride(1) + tap / 3 * weight.stride(2) + tap % 3 * weight.stride(3)]
}

/// Adds what the channels in shared memory give to the sums of this thread, `[ROWS, outputs]`.
#[cube]
fn add_products(inputs: &Shared<[f32]>, weights: &Shared<[Four]>, sums: &mut Array<Four>, #[comptime] plan: Plan) {
    let columns = comptime!(plan.columns + 2);
    let rows = comptime!(plan.bands * ROWS + 2);
    let fours = comptime!(plan.outputs / 4);
    let unit = UNIT_POS as usize;
    let image = unit / comptime!(plan.columns * plan.bands);
    let row = unit / plan.columns % plan.bands * ROWS;
    let corner = (image * rows + row) * columns + unit % plan.columns;
    for c in 0..plan.channels {
        let corner = corner + c * comptime!(plan.images * rows * columns);
        #[unroll]
        for dx in 0..3usize {
            let mut column = Array::<f32>::new(comptime!(ROWS + 2));
            #[unroll]
            for r in 0..comptime!(ROWS + 2) {
                column[r] = inputs[corner + r * columns + dx];
            }
            #[unroll]
            for dy in 0..3usize {
                #[unroll]
                for four in 0..fours {
                    let weight = weights[(c * 9 + dy * 3 + dx) * fours + four];
                    #[unroll]
                    for r in 0..ROWS {
                        let sum = comptime!(r * fours + four);
                        sums[sum] = fma(weight, Four::new(column[r + dy]), sums[sum]);
                    }
                }
            }
        }
    }
}

/// Writes the sums of this thread with bias and ReLU, as far as they are inside.
#[cube]
fn write_outputs(
    sums: &Array<Four>,
    bias: &ComptimeOption<&[f32]>,
    out: &mut Tensor<f32>,
    place: Place,
    batch: usize,
    #[comptime] plan: Plan,
) {
    let unit = UNIT_POS as usize;
    let image = place.image + unit / comptime!(plan.columns * plan.bands);
    let y = place.y + unit / plan.columns % plan.bands * ROWS;
    let x = place.x + unit % plan.columns;
    let (c_out, h, w) = (out.shape(1), out.shape(2), out.shape(3));
    if image < batch && x < w {
        #[unroll]
        for channel in 0..plan.outputs {
            let output = place.output + channel;
            if output < c_out {
                let offset = #[comptime]
                match bias {
                    ComptimeOption::Some(bias) => bias[place.layer * c_out + output],
                    ComptimeOption::None => 0.0f32.runtime(),
                };
                let plane = (place.layer * batch + image) * c_out + output;
                #[unroll]
                for r in 0..ROWS {
                    if y + r < h {
                        let sum = sums[comptime!(r * (plan.outputs / 4) + channel / 4)];
                        let value = sum.extract(comptime!(channel % 4)) + offset;
                        out[(plane * h + y + r) * w + x] = if comptime!(plan.relu) {
                            // Not a maximum with zero, which a NaN would not survive.
                            select(value < 0.0f32, 0.0f32, value)
                        } else {
                            value
                        };
                    }
                }
            }
        }
    }
}
