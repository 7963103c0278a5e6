//! A tensor as a state.

use braidnet_comm::{CommError, DeviceBuffer, Transfer};
use braidnet_cubecl as kernels;
use braidnet_kernels::axpy;
use braidnet_mgrit::State;
use burn::tensor::{DType, Device, Gradients as TapeGradients, Tensor, TensorData};

use crate::Recorded;
use crate::gpu;
use crate::host::{Numbers, change, on_host, single};
use crate::states::{squares, sums};

/// A tensor that travels along the layers, shape `[batch, ...]`.
#[derive(Debug, Clone)]
pub struct TensorState<const D: usize>(pub Tensor<D>);

/// Element types that travel, with their codes on the wire.
const DTYPES: [(u8, DType); 4] = [(0, DType::F32), (1, DType::F64), (2, DType::F16), (3, DType::BF16)];

/// Code of the element type, then `D` extents as 64-bit numbers.
const fn header(rank: usize) -> usize {
    1 + 8 * rank
}

/// Shape and type from exactly a header.
fn read_head<const D: usize>(head: &[u8]) -> Result<([usize; D], DType), CommError> {
    let Some((&code, extents)) = head.split_first().filter(|_| head.len() == header(D)) else {
        return Err(no_head::<D>(head));
    };
    let dtype = DTYPES.iter().find(|(known, _)| *known == code).map(|(_, dtype)| *dtype);
    let dtype = dtype.ok_or_else(|| CommError::malformed("tensor", "the code of a float type", code))?;
    let mut dims = [0; D];
    for (extent, le) in dims.iter_mut().zip(extents.as_chunks().0) {
        *extent = u64::from_le_bytes(*le) as usize;
    }
    Ok((dims, dtype))
}

fn no_head<const D: usize>(bytes: &[u8]) -> CommError {
    CommError::malformed("tensor", format!("a header of {} bytes", header(D)), format!("{} bytes", bytes.len()))
}

impl<const D: usize> TensorState<D> {
    /// Bytes on the wire of one with `n` elements of single precision.
    pub(crate) const fn n_bytes_of(n: usize) -> usize {
        header(D) + size_of::<f32>() * n
    }
}

impl<const D: usize> Transfer for TensorState<D> {
    type Context = Device;

    fn n_bytes(&self) -> usize {
        header(D) + self.0.shape().num_elements() * self.0.dtype().size()
    }

    fn pack(&self, out: &mut Vec<u8>) {
        self.pack_head(out);
        out.extend_from_slice(self.0.to_data().bytes());
    }

    fn unpack(bytes: &[u8], device: &Device) -> Result<Self, CommError> {
        let Some((head, payload)) = bytes.split_at_checked(header(D)) else { return Err(no_head::<D>(bytes)) };
        let (dims, dtype) = read_head::<D>(head)?;
        let data = TensorData::try_from_bytes_vec(payload.to_vec(), dims, dtype)
            .map_err(|e| CommError::malformed("tensor", "as many bytes as the shape says", e))?;
        Ok(Self(Tensor::from_data(data, (device, dtype))))
    }

    fn lend(&self) -> Option<Vec<DeviceBuffer>> {
        Some(vec![kernels::lend(&self.0)?])
    }

    fn pack_head(&self, out: &mut Vec<u8>) {
        // An unknown type gets a code that no receiver accepts, which names the problem there.
        let code = DTYPES.iter().find(|(_, dtype)| *dtype == self.0.dtype()).map_or(u8::MAX, |(code, _)| *code);
        out.push(code);
        for extent in self.0.dims() {
            out.extend_from_slice(&(extent as u64).to_le_bytes());
        }
    }

    fn room(head: &[u8], device: &Device) -> Result<Self, CommError> {
        let (dims, dtype) = read_head::<D>(head)?;
        let fits = dims.iter().try_fold(dtype.size(), |n, extent| n.checked_mul(*extent)).is_some();
        let room = if fits { kernels::room(dims, dtype, device) } else { None };
        room.map(Self).ok_or_else(|| {
            CommError::malformed("lent tensor", "a shape that a CUDA device has room for", format!("{dims:?}"))
        })
    }
}

impl<const D: usize> State for TensorState<D> {
    fn axpy(&mut self, a: f64, x: &Self) {
        let x = x.0.clone();
        if on_host(&self.0) && on_host(&x) && self.0.dims() == x.dims() {
            let x = Numbers::of(x);
            self.0.inplace(|u| change(u, |u| axpy(u, a as f32, x.as_slice())));
            return;
        }
        self.0.inplace(|u| match a {
            1.0 => u + x,
            -1.0 => u - x,
            a => gpu::axpy(&u, a as f32, &x).unwrap_or_else(|| u + x * a),
        });
    }

    fn axpy_each<'a>(a: f64, mut pairs: impl Iterator<Item = (&'a mut Self, &'a Self)>) {
        let Some((first, x)) = pairs.next() else { return };
        if on_host(&first.0) {
            first.axpy(a, x);
            return pairs.for_each(|(state, x)| state.axpy(a, x));
        }
        let (states, xs): (Vec<_>, Vec<_>) = std::iter::once((first, x)).chain(pairs).unzip();
        match sums(a, &states, &xs) {
            Some(sums) => states.into_iter().zip(sums).for_each(|(state, sum)| state.0 = sum),
            None => states.into_iter().zip(xs).for_each(|(state, x)| state.axpy(a, x)),
        }
    }

    fn scale(&mut self, a: f64) {
        self.0.inplace(|u| u * a);
    }

    fn multiply(&mut self, x: &Self) {
        let x = x.0.clone();
        self.0.inplace(|u| u * x);
    }

    fn norm_squared(&self) -> f64 {
        // Squares and their sum would overflow, or round to nothing, in a type of 16 bits.
        let u = single(self.0.clone());
        (u.clone() * u).sum().into_scalar::<f64>()
    }

    /// On another device than this processor, states of equal shape are read together.
    fn norms_squared<'a>(states: impl Iterator<Item = &'a Self>, mut take: impl FnMut(f64)) {
        let mut elsewhere = Vec::new();
        for state in states {
            if on_host(&state.0) { take(state.norm_squared()) } else { elsewhere.push(state) }
        }
        match squares(&elsewhere) {
            Some(squares) => squares.into_iter().for_each(take),
            None => elsewhere.into_iter().map(Self::norm_squared).for_each(take),
        }
    }
}

impl<const D: usize> Recorded for TensorState<D> {
    fn record(&self) -> Self {
        Self(self.0.clone().autodiff().require_grad())
    }

    fn dot(&self, delta: Self) -> Tensor<1> {
        (self.0.clone() * delta.0.autodiff()).sum()
    }

    fn gradient(&self, tape: &mut TapeGradients) -> Option<Self> {
        self.0.grad_remove(tape).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pack_then_unpack_is_the_identity() {
        let device = Device::flex();
        let state = TensorState(Tensor::<3>::from_floats([[[1.5, -2.0], [3.0, 0.25]]], &device));
        let mut bytes = Vec::new();
        state.pack(&mut bytes);
        assert_eq!((bytes.len(), bytes.len()), (state.n_bytes(), TensorState::<3>::n_bytes_of(4)));
        let back = TensorState::<3>::unpack(&bytes, &device).unwrap();
        assert_eq!(back.0.to_data(), state.0.to_data());
        assert!(TensorState::<3>::unpack(&bytes[..bytes.len() - 1], &device).is_err());
        assert!(TensorState::<4>::unpack(&bytes, &device).is_err());
    }

    #[test]
    fn a_strided_tensor_travels_as_its_values() {
        let device = Device::flex();
        let state = TensorState(Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &device).transpose());
        let mut bytes = Vec::new();
        state.pack(&mut bytes);
        let back = TensorState::<2>::unpack(&bytes, &device).unwrap();
        assert_eq!(back.0.to_data().as_slice::<f32>().unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn norms_see_what_is_not_finite() {
        let state = TensorState(Tensor::<1>::from_floats([1.0, f32::NAN], &Device::flex()));
        assert!(!state.norm_squared().is_finite());
    }

    /// What lends is a CUDA device; the head is what both ways of travelling share.
    #[test]
    fn only_devices_lend() {
        let state = TensorState(Tensor::<2>::zeros([3, 2], &Device::flex()));
        assert!(state.lend().is_none());
        let (mut head, mut bytes) = (Vec::new(), Vec::new());
        state.pack_head(&mut head);
        state.pack(&mut bytes);
        assert_eq!(bytes[..head.len()], head);
        assert_eq!(read_head::<2>(&head).unwrap(), ([3, 2], DType::F32));
        assert!(read_head::<2>(&bytes).is_err() && read_head::<1>(&head).is_err());
        assert!(TensorState::<2>::room(&head, &Device::flex()).unwrap_err().to_string().contains("CUDA"));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = TensorState::<2>::unpack(&bytes, &Device::flex());
            let _ = TensorState::<2>::room(&bytes, &Device::flex());
        }
    }
}
