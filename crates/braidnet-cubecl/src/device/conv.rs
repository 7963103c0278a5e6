//! Convolutions with windows of 3 x 3 of stacked layers, and their transposes: one kernel, as the transpose is the
//! convolution with the channels' roles swapped and the window turned by half a turn.
//!
//! # How the kernel works
//! A cube (a workgroup) evaluates [`OUTPUTS`] output channels of a tile of positions of one or several images of one
//! layer. It goes through the input channels a few at a time: all threads copy the channels' tile, with its border, and
//! the weights into shared memory, wait for each other, and each then adds to its sums, which stay in registers. A
//! thread owns [`ROWS`] positions below each other, and all the channels of the cube. Neighbouring threads own
//! neighbouring columns, so that they read and write the tensors side by side and shared memory without conflicts.
//!
//! For one input channel and one column of the window a thread reads `ROWS + 2` numbers and `3 * OUTPUTS` weights (as
//! vectors of four, the same ones for all threads) for `3 * ROWS * OUTPUTS` multiply-adds: 12 reads for 96 with eight
//! outputs, where a GPU's shared memory wants at least 4 per read.
//!
//! # What a launch costs at least
//! - Operations: `18 * images * c_in * c_out * h * w` (a multiply-add counts as two), plus what tiles stick out.
//! - Bytes through the device's memory: `4 * images * h * w * (c_in + c_out)` and the parameters once. Each block of
//!   output channels reads the input again, which the cache serves: 36 operations a byte with eight outputs.
//!
//! So with 16 channels a launch does 36 operations per byte of memory; above the 20 or so at which today's GPUs turn
//! from bound by memory to bound by arithmetic. This is reasoning: the kernel's speed was not measured on a GPU.

mod kernel;

use burn::tensor::Tensor;
use burn_cubecl::cubecl::CubeDim;
use burn_cubecl::tensor::CubeTensor;

use super::tensor::{batch, check_relu_output, cubes, dims, empty, plain, plain_option, slice_arg, wrap};
use kernel::conv3x3_kernel;

/// Output positions of a thread, below each other.
const ROWS: usize = 4;
/// Output channels of a cube, at most; layers with fewer than that many take half.
const OUTPUTS: usize = 8;
/// Threads of a cube, at most.
const THREADS: usize = 256;
/// Numbers in the shared memory of a cube: the 16 KiB that every device has.
const SHARED: usize = 4096;

pub(crate) fn conv3x3(
    u: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    layers: usize,
    relu: bool,
) -> Option<Tensor<4>> {
    let (u, weight, bias) = (plain(u)?, plain(weight)?, plain_option(bias)?);
    let [images, c_in, h, w] = dims(&u);
    let batch = batch("conv3x3", images, layers);
    let c_out = dims(&weight)[0] / layers;
    assert_eq!(dims(&weight), [layers * c_out, c_in, 3, 3], "conv3x3: weight must be [{layers} * c_out, {c_in}, 3, 3]");
    if let Some(bias) = &bias {
        assert_eq!(bias.meta.shape()[0], layers * c_out, "conv3x3: bias must have one entry per row of weight");
    }
    let out = empty(&u, [images, c_out, h, w])?;
    launch(&u, &weight, bias, None, &out, Plan::new([batch, c_in, c_out, h, w], false, relu), layers);
    Some(wrap(out))
}

pub(crate) fn conv3x3_transposed(
    delta: &Tensor<4>,
    weight: &Tensor<4>,
    relu_output: Option<&Tensor<4>>,
    layers: usize,
) -> Option<Tensor<4>> {
    let (delta, weight, relu_output) = (plain(delta)?, plain(weight)?, plain_option(relu_output)?);
    let [images, c_out, h, w] = dims(&delta);
    let batch = batch("conv3x3_transposed", images, layers);
    check_relu_output("conv3x3_transposed", &delta, relu_output.as_ref());
    let c_in = dims(&weight)[1];
    let expected = [layers * c_out, c_in, 3, 3];
    assert_eq!(dims(&weight), expected, "conv3x3_transposed: weight must be [{layers} * {c_out}, c_in, 3, 3]");
    let out = empty(&delta, [images, c_in, h, w])?;
    launch(&delta, &weight, None, relu_output, &out, Plan::new([batch, c_out, c_in, h, w], true, false), layers);
    Some(wrap(out))
}

/// How the work is shared out among cubes and threads; every number is built into the compiled kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    /// Output channels of a cube.
    outputs: usize,
    /// Columns of a tile, a thread each.
    columns: usize,
    /// Threads of a tile below each other, with [`ROWS`] rows each.
    bands: usize,
    /// Images of a cube.
    images: usize,
    /// Input channels in shared memory at a time.
    channels: usize,
    /// Tiles beside each other, tiles below each other, groups of images and blocks of output channels of a layer.
    counts: [usize; 4],
    transposed: bool,
    relu: bool,
}

impl Plan {
    /// For layers of `[batch, inputs, outputs, h, w]`.
    fn new([batch, inputs, outputs, h, w]: [usize; 5], transposed: bool, relu: bool) -> Self {
        let block = if outputs <= OUTPUTS / 2 { OUTPUTS / 2 } else { OUTPUTS };
        let columns = equal_parts(w, 32);
        let bands = equal_parts(h.div_ceil(ROWS), THREADS / columns);
        // Small images share a cube, as a GPU starts 32 or 64 threads at a time and hides waits with several of those.
        let images = (THREADS / 2 / (columns * bands)).clamp(1, batch.max(1));
        let tile = images * (columns + 2) * (bands * ROWS + 2);
        let channels = (SHARED / (tile + 9 * block)).clamp(1, inputs.max(1));
        let counts = [w.div_ceil(columns), h.div_ceil(bands * ROWS), batch.div_ceil(images), outputs.div_ceil(block)];
        Self { outputs: block, columns, bands, images, channels, counts, transposed, relu }
    }

    fn threads(&self) -> usize {
        self.columns * self.bands * self.images
    }
}

/// The length of parts, as equal as can be, of at most `limit` of something `length` long.
pub(super) fn equal_parts(length: usize, limit: usize) -> usize {
    let length = length.max(1);
    length.div_ceil(length.div_ceil(limit.max(1)))
}

/// Starts the kernel, unless the result has no elements.
fn launch(
    u: &CubeTensor,
    weight: &CubeTensor,
    bias: Option<CubeTensor>,
    relu_output: Option<CubeTensor>,
    out: &CubeTensor,
    plan: Plan,
    layers: usize,
) {
    if out.meta.num_elements() == 0 {
        return;
    }
    let count = layers * plan.counts.iter().product::<usize>();
    conv3x3_kernel::launch(
        &u.client,
        cubes(&u.client, count),
        CubeDim::new_1d(plan.threads() as u32),
        u.clone().into_tensor_arg(),
        weight.clone().into_tensor_arg(),
        bias.map(slice_arg).into(),
        relu_output.map(CubeTensor::into_tensor_arg).into(),
        out.clone().into_tensor_arg(),
        dims(u)[0] / layers,
        layers,
        plan,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_into_any_device() {
        for (h, w) in (1..80).flat_map(|h| (1..80).map(move |w| (h, w))).chain([(2000, 1), (1, 2000), (300, 3)]) {
            for (batch, inputs, outputs) in [(1, 1, 1), (64, 16, 16), (1000, 3, 64)] {
                let plan = Plan::new([batch, inputs, outputs, h, w], false, false);
                let tile = plan.images * (plan.columns + 2) * (plan.bands * ROWS + 2);
                assert!(plan.channels * (tile + 9 * plan.outputs) <= SHARED, "{plan:?}");
                assert!((1..=THREADS).contains(&plan.threads()), "{plan:?}");
                assert!(plan.columns * plan.counts[0] >= w && plan.bands * ROWS * plan.counts[1] >= h);
                assert!(plan.images * plan.counts[2] >= batch && plan.outputs * plan.counts[3] >= outputs);
            }
        }
    }
}
