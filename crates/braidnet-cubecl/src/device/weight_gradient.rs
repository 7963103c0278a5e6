//! The derivative of a convolution by its weights: per layer and pair of channels nine sums over the batch and all
//! positions.
//!
//! # How the kernel works
//! A cube owns a block of up to 16 output and 16 input channels of one layer and a share of the layer's tiles (a few
//! rows of a part of an image). For each tile the threads copy both tensors' channels into shared memory; a thread owns
//! two output and two input channels, 36 sums in registers, and one row of the tile, through which it moves with the
//! windows of 3 x 3 in registers: 8 reads for 36 multiply-adds, and most reads are of the same number as the
//! neighbouring threads'. At the end the rows' sums are added up through shared memory. If several cubes share the
//! tiles of a layer, each writes sums of its own, and a second kernel adds those up, in the order of the shares.
//!
//! # What a launch costs at least
//! - Operations: `18 * images * c_in * c_out * h * w`.
//! - Bytes through the device's memory: `4 * images * h * w * (c_in + c_out)` once; each further block of channels
//!   reads its tensor again, which the cache serves, with some 30 to 70 % more for the tiles' borders. The shares' sums
//!   are written and read once, `shares` times as much as the weights take; a share has [`SHARE`] tiles or more, so
//!   that this stays well below the rest.
//!
//! With 16 channels that is 36 operations per byte. The speed was not measured on a GPU.

mod kernel;

use burn::tensor::Tensor;
use burn_cubecl::cubecl::CubeDim;
use burn_cubecl::tensor::CubeTensor;

use super::conv::equal_parts;
use super::tensor::{batch, check_relu_output, cubes, dims, empty, plain, plain_option, wrap};
use kernel::{add_shares_kernel, weight_gradient_kernel};

/// Threads of a cube, at most.
const THREADS: usize = 256;
/// Threads along the output or input channels, at most, with two channels each.
const PAIRS: usize = 8;
/// Cubes of a launch that are enough to keep a large GPU busy.
const CUBES: usize = 1024;
/// Tiles of a cube, at least, if there are as many.
const SHARE: usize = 8;

pub(crate) fn conv3x3_weight_gradient(
    input: &Tensor<4>,
    delta: &Tensor<4>,
    relu_output: Option<&Tensor<4>>,
    layers: usize,
) -> Option<Tensor<4>> {
    let (input, delta, relu_output) = (plain(input)?, plain(delta)?, plain_option(relu_output)?);
    let [images, c_in, h, w] = dims(&input);
    let batch = batch("conv3x3_weight_gradient", images, layers);
    let c_out = dims(&delta)[1];
    assert_eq!(
        dims(&delta),
        [images, c_out, h, w],
        "conv3x3_weight_gradient: delta must be [{images}, c_out, {h}, {w}]"
    );
    check_relu_output("conv3x3_weight_gradient", &delta, relu_output.as_ref());
    let plan = Plan::new(layers, batch, [c_out, c_in, h, w]);
    let out = empty(&input, [layers * c_out, c_in, 3, 3])?;
    if plan.shares == 1 {
        launch(&input, &delta, relu_output, &out, batch, layers, plan);
    } else {
        let sums = empty(&input, [plan.shares * layers * c_out, c_in, 3, 3])?;
        launch(&input, &delta, relu_output, &sums, batch, layers, plan);
        add_shares(sums, &out);
    }
    Some(wrap(out))
}

/// How the work is shared out among cubes and threads; the numbers but the last two are built into the compiled kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    tile: Tile,
    /// Cubes that share the tiles of a layer.
    shares: usize,
    /// Tiles of a share.
    share: usize,
}

/// What a cube works on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tile {
    /// Threads along the output channels, with two each.
    outputs: usize,
    /// Threads along the input channels, with two each.
    inputs: usize,
    /// Rows, a thread each.
    rows: usize,
    columns: usize,
    /// Blocks of output channels, blocks of input channels, tiles beside each other and below each other.
    counts: [usize; 4],
}

impl Tile {
    fn new([c_out, c_in, h, w]: [usize; 4]) -> Self {
        let outputs = equal_parts(c_out.div_ceil(2), PAIRS);
        let inputs = equal_parts(c_in.div_ceil(2), PAIRS);
        let rows = equal_parts(h, (THREADS / (outputs * inputs)).min(8));
        let columns = equal_parts(w, 16);
        let counts = [c_out.div_ceil(2 * outputs), c_in.div_ceil(2 * inputs), w.div_ceil(columns), h.div_ceil(rows)];
        Self { outputs, inputs, rows, columns, counts }
    }

    fn threads(&self) -> usize {
        self.outputs * self.inputs * self.rows
    }

    /// Numbers between the planes of two input channels in shared memory: odd, so that they lie in different banks.
    fn input_plane(&self) -> usize {
        ((self.rows + 2) * (self.columns + 2)) | 1
    }

    /// Likewise of two output channels.
    fn delta_plane(&self) -> usize {
        (self.rows * self.columns) | 1
    }

    /// Where the output channels begin in shared memory, behind the input channels.
    fn deltas(&self) -> usize {
        2 * self.inputs * self.input_plane()
    }

    /// Numbers in shared memory: the tile, and in the end nine sums of every thread. At most 4096, the 16 KiB that every
    /// device has.
    fn memory(&self) -> usize {
        (self.deltas() + 2 * self.outputs * self.delta_plane()).max(9 * self.threads())
    }
}

impl Plan {
    fn new(layers: usize, batch: usize, sizes: [usize; 4]) -> Self {
        let tile = Tile::new(sizes);
        let [outputs, inputs, across, down] = tile.counts;
        let tiles = batch * across * down;
        let wanted = (CUBES / (layers * outputs * inputs).max(1)).min(tiles / SHARE).max(1);
        let share = tiles.div_ceil(wanted).max(1);
        Self { tile, shares: tiles.div_ceil(share).max(1), share }
    }
}

/// Starts the kernel, with `out` `[shares * layers * c_out, c_in, 3, 3]`, unless that has no elements.
fn launch(
    input: &CubeTensor,
    delta: &CubeTensor,
    relu_output: Option<CubeTensor>,
    out: &CubeTensor,
    batch: usize,
    layers: usize,
    plan: Plan,
) {
    if out.meta.num_elements() == 0 {
        return;
    }
    let count = plan.shares * layers * plan.tile.counts[0] * plan.tile.counts[1];
    weight_gradient_kernel::launch(
        &input.client,
        cubes(&input.client, count),
        CubeDim::new_1d(plan.tile.threads() as u32),
        input.clone().into_tensor_arg(),
        delta.clone().into_tensor_arg(),
        relu_output.map(CubeTensor::into_tensor_arg).into(),
        out.clone().into_tensor_arg(),
        batch,
        layers,
        plan.shares,
        plan.share,
        plan.tile,
    );
}

/// Adds the shares' sums up.
fn add_shares(sums: CubeTensor, out: &CubeTensor) {
    if out.meta.num_elements() == 0 {
        return;
    }
    let client = out.client.clone();
    let count = cubes(&client, out.meta.num_elements().div_ceil(THREADS));
    let dim = CubeDim::new_1d(THREADS as u32);
    add_shares_kernel::launch(&client, count, dim, sums.into_tensor_arg(), out.clone().into_tensor_arg());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_into_any_device() {
        for c_out in 1..70 {
            for (c_in, h, w) in
                [(1, 1, 1), (3, 32, 32), (8, 28, 28), (16, 9, 17), (17, 7, 7), (64, 100, 1), (33, 1, 100)]
            {
                let tile = Tile::new([c_out, c_in, h, w]);
                assert!(tile.memory() <= 4096, "{tile:?}: {}", tile.memory());
                assert!((1..=THREADS).contains(&tile.threads()), "{tile:?}");
                assert!(2 * tile.outputs * tile.counts[0] >= c_out && 2 * tile.inputs * tile.counts[1] >= c_in);
                assert!(tile.columns * tile.counts[2] >= w && tile.rows * tile.counts[3] >= h);
            }
        }
    }

    #[test]
    fn shares_cover_all_tiles_once() {
        for (layers, batch) in [(1, 1), (1, 64), (8, 64), (3, 7), (1, 1000)] {
            let plan = Plan::new(layers, batch, [16, 16, 28, 28]);
            let tiles = batch * plan.tile.counts[2] * plan.tile.counts[3];
            assert!(plan.share * plan.shares >= tiles && plan.share * (plan.shares - 1) < tiles, "{plan:?}");
        }
    }
}
