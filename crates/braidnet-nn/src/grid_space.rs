//! Images and voxels as states.

use braidnet_comm::{CommError, Transfer};
use burn::tensor::{Device, Tensor};

use crate::space_coarsening::{SpaceCoarsening, coarse_extent, prolong, prolong_adjoint, restrict, restrict_adjoint};
use crate::states::{stack, unstack};
use crate::{ByPoint, NetworkError, Pass, StateSpace, TensorState};

/// Inputs and states of channels on a grid, tensors of `D` axes: samples, channels, and the extents of the grid.
#[derive(Debug, Clone)]
pub struct GridSpace<const D: usize> {
    input: Vec<usize>,
    shapes: ByPoint<Vec<usize>>,
    coarsening: Option<SpaceCoarsening>,
}

/// Images `[batch, channels, height, width]`.
pub type ImageSpace = GridSpace<4>;

/// Voxels `[batch, channels, depth, height, width]`.
pub type VoxelSpace = GridSpace<5>;

impl<const D: usize> GridSpace<D> {
    /// Inputs, and states behind all layers, of such channels and extents, `D - 1` numbers each.
    pub(crate) fn new(input: impl Into<Vec<usize>>, shape: impl Into<Vec<usize>>) -> Self {
        Self::with_shapes(input, ByPoint::everywhere(shape.into()))
    }

    /// As `new`, with states whose shape changes from point to point.
    pub(crate) fn with_shapes(input: impl Into<Vec<usize>>, shapes: ByPoint<Vec<usize>>) -> Self {
        Self { input: input.into(), shapes, coarsening: None }
    }

    /// Lets coarse levels have coarser grids.
    pub(crate) fn coarsened(self, coarsening: Option<SpaceCoarsening>) -> Self {
        Self { coarsening, ..self }
    }

    /// Channels and extents of the state at a point.
    pub fn shape(&self, point: usize) -> &[usize] {
        self.shapes.at(point)
    }

    fn zeros(&self, batch: usize, shape: &[usize], device: &Device) -> TensorState<D> {
        let mut dims = [batch; D];
        dims[1..].copy_from_slice(shape);
        TensorState(Tensor::zeros(dims, device))
    }

    /// How states of `level` are restricted, if they are.
    fn coarsening_from(&self, level: usize) -> Option<&SpaceCoarsening> {
        self.coarsening.as_ref().filter(|coarsening| coarsening.levels.contains(&level))
    }
}

/// A batch of images or voxels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Samples {
    /// How many.
    pub n: usize,
    /// Whether the network is trained on them.
    pub is_training: bool,
}

impl Transfer for Samples {
    type Context = Device;

    fn n_bytes(&self) -> usize {
        2 * size_of::<u64>()
    }

    fn pack(&self, out: &mut Vec<u8>) {
        (self.n as u64).pack(out);
        u64::from(self.is_training).pack(out);
    }

    fn unpack(bytes: &[u8], _: &Device) -> Result<Self, CommError> {
        let malformed = || CommError::malformed("batch", "16 bytes", format!("{} bytes", bytes.len()));
        let (n, is_training) = bytes.split_at_checked(size_of::<u64>()).ok_or_else(malformed)?;
        let is_training = match u64::unpack(is_training, &())? {
            flag @ (0 | 1) => flag == 1,
            other => return Err(CommError::malformed("batch", "0 or 1 for evaluation or training", other)),
        };
        Ok(Self { n: u64::unpack(n, &())? as usize, is_training })
    }
}

impl<const D: usize> StateSpace for GridSpace<D> {
    type Input = Tensor<D>;
    type State = TensorState<D>;
    type Batch = Samples;

    const SIZE_SAYS_ALL: bool = true;
    const HAS_SAMPLES: bool = true;

    fn check(&self, input: &Tensor<D>) -> Result<(), NetworkError> {
        let dims = input.dims();
        match dims[1..] == self.input {
            _ if dims[0] == 0 => Err(NetworkError::EmptyInput { what: "a batch of inputs" }),
            true => Ok(()),
            false => Err(NetworkError::WrongInput { expected: self.input.clone(), got: dims[1..].to_vec() }),
        }
    }

    fn batch(&self, input: &Tensor<D>, pass: Pass) -> Samples {
        Samples { n: input.dims()[0], is_training: pass.is_training() }
    }

    fn largest_batch(&self, samples: usize, pass: Pass) -> Samples {
        Samples { n: samples, is_training: pass.is_training() }
    }

    fn zeros(&self, batch: &Samples, device: &Device) -> ByPoint<TensorState<D>> {
        self.shapes.map(|shape| self.zeros(batch.n, shape, device))
    }

    fn state_bytes(&self, point: usize, batch: &Samples) -> usize {
        TensorState::<D>::n_bytes_of(batch.n * self.shape(point).iter().product::<usize>())
    }

    fn sample(&self, state: &TensorState<D>, sample: usize) -> Option<TensorState<D>> {
        Some(TensorState(state.0.clone().narrow(0, sample, 1)))
    }

    fn of_samples(&self, samples: Vec<TensorState<D>>) -> Option<TensorState<D>> {
        Some(TensorState(Tensor::cat(samples.into_iter().map(|sample| sample.0).collect(), 0)))
    }

    fn stack(&self, states: Vec<TensorState<D>>) -> Option<TensorState<D>> {
        stack(states)
    }

    fn unstack(&self, state: TensorState<D>, n: usize) -> Vec<TensorState<D>> {
        unstack(state, n)
    }

    /// Every axis must keep a point on `level`.
    fn supports(&self, level: usize, point: usize) -> Result<(), NetworkError> {
        let Some(coarsening) = &self.coarsening else { return Ok(()) };
        let extents = &self.shape(point)[1..];
        let coarse = |n: &usize| (0..coarsening.halvings(level)).fold(*n, |n, _| coarse_extent(n));
        match extents.iter().all(|n| coarse(n) > 0) {
            true => Ok(()),
            false => Err(NetworkError::TooSmallToCoarsen { extents: extents.to_vec(), level }),
        }
    }

    fn is_coarsened(&self, level: usize) -> bool {
        self.coarsening.as_ref().is_some_and(|coarsening| coarsening.halvings(level) > 0)
    }

    fn restrict(&self, level: usize, state: &TensorState<D>) -> TensorState<D> {
        match self.coarsening_from(level) {
            Some(coarsening) => TensorState(restrict(state.0.clone(), coarsening.restriction)),
            None => state.clone(),
        }
    }

    fn prolong(&self, level: usize, correction: TensorState<D>, fine: &TensorState<D>) -> TensorState<D> {
        match self.coarsening_from(level) {
            Some(_) => TensorState(prolong(correction.0, fine.0.dims())),
            None => correction,
        }
    }

    fn restrict_adjoint(&self, level: usize, lambda: &TensorState<D>) -> TensorState<D> {
        match self.coarsening_from(level) {
            Some(_) => TensorState(restrict_adjoint(lambda.0.clone())),
            None => lambda.clone(),
        }
    }

    fn prolong_adjoint(&self, level: usize, correction: TensorState<D>, fine: &TensorState<D>) -> TensorState<D> {
        match self.coarsening_from(level) {
            Some(coarsening) => TensorState(prolong_adjoint(correction.0, fine.0.dims(), coarsening.restriction)),
            None => correction,
        }
    }
}
