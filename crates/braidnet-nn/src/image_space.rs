//! Images as states.

use braidnet_comm::{CommError, Transfer};
use burn::tensor::{Device, Tensor};

use crate::{NetworkError, Noise, StateSpace, TensorState};

/// States of shape `[batch, channels, height, width]`.
#[derive(Debug, Clone)]
pub struct ImageSpace {
    image: [usize; 3],
    shape: [usize; 3],
}

impl ImageSpace {
    /// Images and states of such channels, height and width.
    pub fn new(image: [usize; 3], shape: [usize; 3]) -> Self {
        Self { image, shape }
    }

    /// Channels, height and width of a state.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
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

impl StateSpace for ImageSpace {
    type Input = Tensor<4>;
    type State = TensorState<4>;
    type Batch = Samples;

    const SIZE_SAYS_ALL: bool = true;

    fn check(&self, input: &Tensor<4>) -> Result<(), NetworkError> {
        let [samples, image @ ..] = input.dims();
        match image == self.image {
            _ if samples == 0 => Err(NetworkError::EmptyInput { what: "a batch of images" }),
            true => Ok(()),
            false => Err(NetworkError::WrongImage { expected: self.image, got: image }),
        }
    }

    fn batch(&self, input: &Tensor<4>, _: Option<Noise>) -> Samples {
        Samples(input.dims()[0])
    }

    fn largest_batch(&self, samples: usize) -> Samples {
        Samples(samples)
    }

    fn zero(&self, Samples(batch): &Samples, device: &Device) -> TensorState<4> {
        let [channels, height, width] = self.shape;
        TensorState(Tensor::zeros([*batch, channels, height, width], device))
    }

    fn state_bytes(&self, Samples(batch): &Samples) -> usize {
        TensorState::<4>::n_bytes_of(batch * self.shape.iter().product::<usize>())
    }
}
