//! Numbers of tensors on this processor, as the kernels of [`braidnet_kernels`] want them.
//!
//! The pointwise parts of a layer have two paths: those kernels, one pass each, for single precision on this processor,
//! and burn's tensor operations for everything else.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Whether the kernels on slices apply to `x`: not to tensors that record, which would lose their history.
pub(crate) fn on_host<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device() == Device::flex() && !x.is_autodiff()
}

/// The numbers of a tensor that is [`on_host`], copied only where others share them.
pub(crate) struct Numbers {
    data: TensorData,
}

impl Numbers {
    pub(crate) fn of<const D: usize>(x: Tensor<D>) -> Self {
        Self { data: x.into_data() }
    }

    #[allow(clippy::expect_used)] // Cannot fail: `on_host` has seen the type, and every operation of burn's casts so.
    pub(crate) fn as_slice(&self) -> &[f32] {
        self.data.as_slice().expect("single precision")
    }

    #[allow(clippy::expect_used)] // As above.
    pub(crate) fn into_vec(self) -> Vec<f32> {
        self.data.try_into_vec().expect("single precision")
    }

    #[allow(clippy::expect_used)] // As above.
    fn as_mut_slice(&mut self) -> &mut [f32] {
        self.data.as_mut_slice().expect("single precision")
    }
}

/// Changes the numbers of `x`, which is [`on_host`]: in place where nobody else has them.
pub(crate) fn change<const D: usize>(x: Tensor<D>, f: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let mut numbers = Numbers::of(x);
    f(numbers.as_mut_slice());
    Tensor::from_data(numbers.data, (&Device::flex(), DType::F32))
}

/// A tensor of these numbers.
pub(crate) fn tensor<const D: usize>(numbers: Vec<f32>, dims: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers, dims), (&Device::flex(), DType::F32))
}
