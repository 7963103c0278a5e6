//! The parameters of a cell.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::rows::Bias;
use crate::gpu::is_gpu;

/// A gated recurrent cell: what it makes of its input and of its state, each with the blocks `r | z | n`.
#[derive(Module, Debug)]
pub struct GruCell {
    /// From the input, `[width, 3 hidden]`.
    pub x: Linear,
    /// From the state, `[hidden, 3 hidden]`.
    pub h: Linear,
}

impl GruCell {
    /// A cell with burn's default initialisation.
    pub fn new(width: usize, hidden: usize, device: &Device) -> Self {
        let linear = |inputs| LinearConfig::new(inputs, 3 * hidden).init(device);
        Self { x: linear(width), h: linear(hidden) }
    }
}

/// A cell as its steps use it.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    pub cell: GruCell,
    pub x: Tensor<2>,
    pub x_transposed: Tensor<2>,
    pub x_bias: Bias,
    pub h: Tensor<2>,
    pub h_transposed: Tensor<2>,
    pub h_bias: Bias,
    /// The diagonals of the three blocks of the state's weight.
    pub diagonals: Bias,
}

impl Weights {
    pub fn of(cell: &GruCell) -> Self {
        let bias = |of: &Linear| {
            let columns = of.weight.dims()[1];
            let bias = of.bias.as_ref().map(|bias| bias.val());
            Bias::of(bias.unwrap_or_else(|| Tensor::zeros([columns], &of.weight.device())))
        };
        let (x, h) = (cell.x.weight.val(), cell.h.weight.val());
        Self {
            cell: cell.clone(),
            x_transposed: transposed(&x),
            x,
            x_bias: bias(&cell.x),
            diagonals: diagonals(&h),
            h_transposed: transposed(&h),
            h,
            h_bias: bias(&cell.h),
        }
    }
}

/// The transpose, copied: products with a view of the weight take another way where they are small, and round otherwise
/// there, so that results would depend on how steps are grouped into calls.
fn transposed(weight: &Tensor<2>) -> Tensor<2> {
    let transposed = weight.clone().transpose();
    // There the copy would be read by this processor and written again; results depend on groups anyway.
    if is_gpu(&weight.device()) {
        return transposed;
    }
    let (device, dtype) = (weight.device(), weight.dtype());
    Tensor::from_data(transposed.into_data(), (&device, dtype))
}

/// The diagonals of the blocks of a weight.
fn diagonals(weight: &Tensor<2>) -> Bias {
    let [hidden, columns] = weight.dims();
    let eye = Tensor::<2>::eye(hidden, &weight.device()).cast(weight.dtype());
    let eyes = Tensor::cat(vec![eye; columns / hidden], 1);
    Bias::of((weight.clone() * eyes).sum_dim(0).reshape([columns]))
}
