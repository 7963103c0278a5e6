//! Numbers of tensors on this processor, as the kernels of [`braidnet_kernels`] want them.
//!
//! The pointwise parts of a layer have two paths: those kernels, one pass each, for single precision on this processor,
//! and burn's tensor operations for everything else.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Whether the kernels on slices apply to `x`: not to tensors that record, which would lose their history.
pub(crate) fn on_host<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device() == Device::flex() && !x.is_autodiff()
}

/// `x` in single precision, where it has fewer bits: for sums, and what could overflow.
pub(crate) fn single<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype().size() < size_of::<f32>() { x.cast(DType::F32) } else { x }
}

/// The numbers of a tensor that is [`on_host`]: where they are, whoever else has them; in order, so that a transposed view is
/// copied.
///
/// Burn's way to them, `into_data`, copies numbers that others share twice: once, and again for a stricter alignment.
pub(crate) struct Numbers {
    tensor: FlexTensor,
}

impl Numbers {
    #[allow(clippy::expect_used)] // Cannot fail: `on_host` has seen the device.
    pub(crate) fn of<const D: usize>(x: Tensor<D>) -> Self {
        let tensor = x.try_into_primitive::<Flex>().expect("a tensor on this processor");
        Self { tensor: if tensor.layout().is_contiguous() { tensor } else { tensor.to_contiguous() } }
    }

    #[allow(clippy::expect_used)] // Cannot fail: `on_host` has seen the type, and `of` has put them in order.
    pub(crate) fn as_slice(&self) -> &[f32] {
        self.tensor.as_slice().expect("single precision, in order")
    }

    /// Copied where others share them, or where they are a part of a larger tensor.
    #[allow(clippy::expect_used)] // As above.
    pub(crate) fn into_vec(self) -> Vec<f32> {
        let numbers = self.as_slice();
        if !self.tensor.is_unique() || numbers.len() != self.tensor.storage::<f32>().len() {
            return numbers.to_vec();
        }
        self.tensor.into_data().try_into_vec().expect("single precision")
    }

    /// The numbers, where nobody else has them.
    fn as_mut_slice(&mut self) -> Option<&mut [f32]> {
        let (start, end) = self.tensor.layout().contiguous_offsets()?;
        Some(&mut self.tensor.try_storage_mut()?[start..end])
    }
}

/// Changes the numbers of `x`, which is [`on_host`]: in place where nobody else has them.
pub(crate) fn change<const D: usize>(x: Tensor<D>, f: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let dims = x.dims();
    let mut numbers = Numbers::of(x);
    if let Some(values) = numbers.as_mut_slice() {
        f(values);
        return Tensor::from_primitive::<Flex>(numbers.tensor);
    }
    let mut values = numbers.as_slice().to_vec();
    f(&mut values);
    tensor(values, dims)
}

/// A tensor of these numbers.
pub(crate) fn tensor<const D: usize>(numbers: Vec<f32>, dims: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers, dims), (&Device::flex(), DType::F32))
}
