//! Tensors as names, shapes and bytes.

use crate::{CheckpointError, Dtype};

/// A tensor as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTensor {
    /// Global name, unique in a checkpoint: `layers.00017.conv1.weight`.
    pub name: String,
    /// Type of the elements.
    pub dtype: Dtype,
    /// Dims, outermost first; none for a single number.
    pub shape: Vec<usize>,
    /// The elements, row by row, little endian.
    pub bytes: Vec<u8>,
}

impl NamedTensor {
    /// A tensor of `f32`. Whether `values` fill the shape is checked when it is written.
    pub fn from_f32(name: impl Into<String>, shape: &[usize], values: &[f32]) -> Self {
        let mut bytes = Vec::with_capacity(size_of_val(values));
        for value in values {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Self { name: name.into(), dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }

    /// The elements of a tensor of `f32`.
    ///
    /// # Errors
    /// [`CheckpointError::NotF32`] for any other type: numbers are not converted behind the caller's back.
    pub fn to_f32(&self) -> Result<Vec<f32>, CheckpointError> {
        if self.dtype != Dtype::F32 {
            return Err(CheckpointError::NotF32 { tensor: self.name.clone(), dtype: self.dtype });
        }
        Ok(self.bytes.as_chunks::<4>().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect())
    }
}

/// Bytes of a tensor, or `None` where they overflow or end within a byte.
pub(crate) fn n_bytes(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let elements = shape.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim))?;
    let bits = elements.checked_mul(dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_go_there_and_back_to_the_bit() {
        let values = [0.1, -0.0, f32::NAN, f32::MIN_POSITIVE / 8.0, f32::INFINITY, f32::MAX];
        let back = NamedTensor::from_f32("w", &[2, 3], &values).to_f32().unwrap();
        assert_eq!(back.map_bits(), values.map_bits());
    }

    #[test]
    fn other_types_are_not_converted() {
        let tensor = NamedTensor { name: "w".into(), dtype: Dtype::F64, shape: vec![1], bytes: vec![0; 8] };
        assert!(tensor.to_f32().unwrap_err().to_string().contains("`w`"));
    }

    #[test]
    fn sizes_never_overflow() {
        assert_eq!(n_bytes(Dtype::F32, &[]), Some(4));
        assert_eq!(n_bytes(Dtype::F64, &[3, 0, 2]), Some(0));
        assert_eq!(n_bytes(Dtype::BF16, &[usize::MAX]), None);
        assert_eq!(n_bytes(Dtype::F4, &[3]), None);
    }

    trait MapBits {
        fn map_bits(&self) -> Vec<u32>;
    }

    impl<T: AsRef<[f32]>> MapBits for T {
        fn map_bits(&self) -> Vec<u32> {
            self.as_ref().iter().map(|value| value.to_bits()).collect()
        }
    }
}
