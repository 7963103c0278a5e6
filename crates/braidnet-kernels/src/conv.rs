//! Convolutions with windows of three positions along every axis.
//!
//! Made for few channels and many positions, where the matrix of all windows that a matrix product needs would cost
//! more than the product. The scratch is a band of padded rows and stays in the cache.

mod gradient;
mod lanes;
mod pad;
mod product;
mod ring;

use macerator::AutoArch;

use self::{gradient::Gradient, product::Product};

/// A convolution of `3^A` windows with stride 1 and padding 1, so that the extents are kept: sizes only.
///
/// There are two axes or three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv<const A: usize> {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Positions along every axis, the fastest last.
    pub extents: [usize; A],
}

/// The sizes of a convolution with the first of three axes, or 1, apart.
#[derive(Debug, Clone, Copy)]
struct Shape {
    inputs: usize,
    outputs: usize,
    /// Planes of a window: 3, or 1 where there are two axes.
    reach: usize,
    depth: usize,
    height: usize,
    width: usize,
}

impl Shape {
    /// Positions of a plane.
    #[inline(always)]
    fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Positions of a channel.
    #[inline(always)]
    fn positions(&self) -> usize {
        self.depth * self.plane()
    }

    /// Where the weights of an output and an input begin, planes of the window one after the other.
    #[inline(always)]
    fn window(&self, output: usize, input: usize) -> usize {
        (output * self.inputs + input) * self.reach * 9
    }
}

impl<const A: usize> Conv<A> {
    /// `y = W x + b`, or `max(y, 0)` of that where `relu` is set; a NaN stays one.
    ///
    /// A sample's result has the same bits alone as among others. A weight that is not finite may give NaN where it is
    /// over the padding.
    ///
    /// # Shapes
    /// `x` is `[batch, inputs, extents..]`, `weight` `[outputs, inputs, 3..]`, `bias` `[outputs]`, `y`
    /// `[batch, outputs, extents..]`; what `y` held is lost.
    ///
    /// ```
    /// let conv = braidnet_kernels::Conv { inputs: 1, outputs: 1, extents: [1, 3] };
    /// let mut y = [0.0; 3];
    /// conv.apply(&[1.0, 2.0, 4.0], &[0.0, 0.0, 0.0, 1.0, 0.0, 10.0, 0.0, 0.0, 0.0], Some(&[0.5]), false, &mut y);
    /// assert_eq!(y, [20.5, 41.5, 2.5]);
    /// ```
    pub fn apply(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>, relu: bool, y: &mut [f32]) {
        let shape = self.shape();
        self.check(x, weight, y);
        debug_assert!(bias.is_none_or(|bias| bias.len() == self.outputs), "bias");
        if x.is_empty() || y.is_empty() {
            return;
        }
        let weight = |output, input, plane, k| weight[shape.window(output, input) + plane * 9 + k];
        AutoArch::new().dispatch(Product { shape, x, weight, bias, relu, y });
    }

    /// `dx = W^T dy`, the pullback of [`Conv::apply`] without `relu`.
    ///
    /// A sample's result has the same bits alone as among others.
    ///
    /// # Shapes
    /// Those of [`Conv::apply`]; what `dx` held is lost.
    pub fn apply_transposed(&self, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
        let shape = self.shape();
        self.check(dx, weight, dy);
        if dx.is_empty() || dy.is_empty() {
            return dx.fill(0.0);
        }
        // A convolution from the outputs to the inputs, with the windows reversed.
        let transposed = Shape { inputs: shape.outputs, outputs: shape.inputs, ..shape };
        let last = shape.reach * 9 - 1;
        let weight = |input, output, plane, k| weight[shape.window(output, input) + last - (plane * 9 + k)];
        AutoArch::new().dispatch(Product { shape: transposed, x: dy, weight, bias: None, relu: false, y: dx });
    }

    /// The cotangent of the weights: the sum over samples and positions `p` of `dy[o, p] x[i, p + k - 1]`.
    ///
    /// Where a channel of `x` or `dy` is not finite, none of its weights need be.
    ///
    /// # Shapes
    /// Those of [`Conv::apply`]; what `dweight` held is lost.
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
        self.check(x, dweight, dy);
        dweight.fill(0.0);
        if !x.is_empty() && !dy.is_empty() {
            AutoArch::new().dispatch(Gradient { shape: self.shape(), x, dy, dweight });
        }
    }

    fn check(&self, x: &[f32], weight: &[f32], y: &[f32]) {
        let shape = self.shape();
        debug_assert_eq!(weight.len(), shape.window(shape.outputs, 0), "weight");
        debug_assert!(x.len().is_multiple_of((self.inputs * shape.positions()).max(1)), "x");
        debug_assert_eq!(x.len() * self.outputs, y.len() * self.inputs, "x, y");
    }

    fn shape(&self) -> Shape {
        const { assert!(A == 2 || A == 3, "two axes or three") };
        let [height, width] = [self.extents[A - 2], self.extents[A - 1]];
        let (reach, depth) = if A == 3 { (3, self.extents[0]) } else { (1, 1) };
        Shape { inputs: self.inputs, outputs: self.outputs, reach, depth, height, width }
    }
}
