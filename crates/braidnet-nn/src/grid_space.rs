//! Images and voxels as states.

use braidnet_comm::{CommError, Transfer};
use burn::tensor::{Device, Tensor};

use crate::{NetworkError, Noise, StateSpace, TensorState};

/// Inputs and states of channels on a grid, tensors of `D` axes: samples, channels, and the extents of the grid.
#[derive(Debug, Clone)]
pub struct GridSpace<const D: usize> {
    input: Vec<usize>,
    shape: Vec<usize>,
}

/// Images `[batch, channels, height, width]`.
pub type ImageSpace = GridSpace<4>;

/// Voxels `[batch, channels, depth, height, width]`.
pub type VoxelSpace = GridSpace<5>;

impl<const D: usize> GridSpace<D> {
    /// Inputs and states of such channels and extents, `D - 1` numbers each.
    pub(crate) fn new(input: impl Into<Vec<usize>>, shape: impl Into<Vec<usize>>) -> Self {
        Self { input: input.into(), shape: shape.into() }
    }

    /// Channels and extents of a state.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

/// Samples in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Samples(pub usize);

impl Transfer for Samples {
    type Context = Device;

    fn n_bytes(&self) -> usize {
        size_of::<u64>()
    }

    fn pack(&self, out: &mut Vec<u8>) {
        (self.0 as u64).pack(out);
    }

    fn unpack(bytes: &[u8], _: &Device) -> Result<Self, CommError> {
        u64::unpack(bytes, &()).map(|n| Self(n as usize))
    }
}

impl<const D: usize> StateSpace for GridSpace<D> {
    type Input = Tensor<D>;
    type State = TensorState<D>;
    type Batch = Samples;

    const SIZE_SAYS_ALL: bool = true;

    fn check(&self, input: &Tensor<D>) -> Result<(), NetworkError> {
        let dims = input.dims();
        match dims[1..] == self.input {
            _ if dims[0] == 0 => Err(NetworkError::EmptyInput { what: "a batch of inputs" }),
            true => Ok(()),
            false => Err(NetworkError::WrongInput { expected: self.input.clone(), got: dims[1..].to_vec() }),
        }
    }

    fn batch(&self, input: &Tensor<D>, _: Option<Noise>) -> Samples {
        Samples(input.dims()[0])
    }

    fn largest_batch(&self, samples: usize) -> Samples {
        Samples(samples)
    }

    fn zero(&self, Samples(batch): &Samples, device: &Device) -> TensorState<D> {
        let mut dims = [*batch; D];
        dims[1..].copy_from_slice(&self.shape);
        TensorState(Tensor::zeros(dims, device))
    }

    fn state_bytes(&self, Samples(batch): &Samples) -> usize {
        TensorState::<D>::n_bytes_of(batch * self.shape.iter().product::<usize>())
    }
}
