//! Values that travel: numbers, vectors of numbers, strings.

use std::any::type_name;

use crate::{CommError, DeviceBuffer};

/// A value that can travel between ranks. Threads move it; MPI packs it.
///
/// A value of a device may also lend its memory: where
/// [`probe_device_path`](crate::Communicator::probe_device_path) has found the direct path to work, MPI then sends
/// [`pack_head`](Self::pack_head) and reads the buffers of [`lend`](Self::lend) itself, and the receiver makes a value
/// with [`room`](Self::room), lends its buffers, and MPI writes them. Everywhere else it is packed like any other.
pub trait Transfer: Sized + Send + 'static {
    /// What a receiver must know to rebuild the value, for instance a device; `()` for plain data.
    type Context;

    /// The size of the payload, for accounting and reservation.
    fn n_bytes(&self) -> usize;

    /// Appends the payload to `out`.
    fn pack(&self, out: &mut Vec<u8>);

    /// Rebuilds the value that [`pack`](Self::pack) wrote.
    ///
    /// # Errors
    /// [`CommError::Malformed`] if `bytes` encode no such value. Never panics, whatever the bytes.
    fn unpack(bytes: &[u8], context: &Self::Context) -> Result<Self, CommError>;

    /// The memory that the payload lies in, for a library that takes its address; `None`, as by default, if the value is
    /// to be packed. All work of the device that touches the memory must be done when this returns.
    fn lend(&self) -> Option<Vec<DeviceBuffer>> {
        None
    }

    /// Appends what [`room`](Self::room) must know, for instance a shape; by default nothing.
    fn pack_head(&self, _out: &mut Vec<u8>) {}

    /// A value with the head that [`pack_head`](Self::pack_head) wrote and numbers that do not matter. Its memory must
    /// be its own alone, because what it [lends](Self::lend) will be written: as many buffers, and of the same sizes,
    /// as the sender lent.
    ///
    /// # Errors
    /// [`CommError::Malformed`] if `head` is no such head, and by default always. Never panics, whatever the bytes.
    fn room(_head: &[u8], _context: &Self::Context) -> Result<Self, CommError> {
        Err(CommError::malformed(type_name::<Self>(), "a packed value", "lent buffers"))
    }
}

/// A number of fixed size; vectors of it travel as their little-endian bytes.
pub trait Plain: Copy + Send + Sync + 'static + sealed::Sealed {
    /// The bytes of one number.
    const N_BYTES: usize;

    /// Appends `values` to `out`.
    fn pack_all(values: &[Self], out: &mut Vec<u8>);

    /// Rebuilds the values from `bytes`.
    ///
    /// # Errors
    /// [`CommError::Malformed`] if `bytes` is not a multiple of the size of one number.
    fn unpack_all(bytes: &[u8]) -> Result<Vec<Self>, CommError>;
}

pub(crate) mod sealed {
    /// Keeps the set of plain numbers closed: their bytes must mean the same on every rank.
    pub trait Sealed {}
}

macro_rules! plain {
    ($($number:ty),*) => {$(
        impl sealed::Sealed for $number {}

        impl Plain for $number {
            const N_BYTES: usize = size_of::<$number>();

            fn pack_all(values: &[Self], out: &mut Vec<u8>) {
                let start = out.len();
                out.resize(start + values.len() * Self::N_BYTES, 0);
                for (bytes, value) in out[start..].as_chunks_mut().0.iter_mut().zip(values) {
                    *bytes = value.to_le_bytes();
                }
            }

            fn unpack_all(bytes: &[u8]) -> Result<Vec<Self>, CommError> {
                let (chunks, rest) = bytes.as_chunks();
                if !rest.is_empty() {
                    let what = concat!("vector of ", stringify!($number));
                    let expected = format!("a multiple of {} bytes", Self::N_BYTES);
                    return Err(CommError::malformed(what, expected, format!("{} bytes", bytes.len())));
                }
                Ok(chunks.iter().map(|bytes| Self::from_le_bytes(*bytes)).collect())
            }
        }

        impl Transfer for $number {
            type Context = ();

            fn n_bytes(&self) -> usize {
                Self::N_BYTES
            }

            fn pack(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn unpack(bytes: &[u8], (): &()) -> Result<Self, CommError> {
                let wrong = |_| {
                    let (expected, got) = (format!("{} bytes", Self::N_BYTES), format!("{} bytes", bytes.len()));
                    CommError::malformed(stringify!($number), expected, got)
                };
                bytes.try_into().map(Self::from_le_bytes).map_err(wrong)
            }
        }
    )*};
}

plain!(u8, u16, u32, u64, i32, i64, f32, f64);

impl<E: Plain> Transfer for Vec<E> {
    type Context = ();

    fn n_bytes(&self) -> usize {
        self.len() * E::N_BYTES
    }

    fn pack(&self, out: &mut Vec<u8>) {
        E::pack_all(self, out);
    }

    fn unpack(bytes: &[u8], (): &()) -> Result<Self, CommError> {
        E::unpack_all(bytes)
    }
}

/// Travels as a `u64`, so that the size of a pointer does not matter.
impl Transfer for usize {
    type Context = ();

    fn n_bytes(&self) -> usize {
        u64::N_BYTES
    }

    fn pack(&self, out: &mut Vec<u8>) {
        (*self as u64).pack(out);
    }

    fn unpack(bytes: &[u8], context: &()) -> Result<Self, CommError> {
        let value = u64::unpack(bytes, context)?;
        usize::try_from(value).map_err(|_| CommError::malformed("usize", "a number that fits this machine", value))
    }
}

/// Travels as no bytes: a signal.
impl Transfer for () {
    type Context = ();

    fn n_bytes(&self) -> usize {
        0
    }

    fn pack(&self, _out: &mut Vec<u8>) {}

    fn unpack(bytes: &[u8], (): &()) -> Result<Self, CommError> {
        if bytes.is_empty() {
            Ok(())
        } else {
            Err(CommError::malformed("signal", "no bytes", format!("{} bytes", bytes.len())))
        }
    }
}

impl Transfer for String {
    type Context = ();

    fn n_bytes(&self) -> usize {
        self.len()
    }

    fn pack(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn unpack(bytes: &[u8], (): &()) -> Result<Self, CommError> {
        String::from_utf8(bytes.to_vec()).map_err(|error| CommError::malformed("string", "UTF-8", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip<T: Transfer<Context = ()>>(value: &T) -> T {
        let mut bytes = Vec::new();
        value.pack(&mut bytes);
        assert_eq!(bytes.len(), value.n_bytes());
        T::unpack(&bytes, &()).unwrap()
    }

    proptest! {
        #[test]
        fn packing_then_unpacking_is_the_identity(
            bits in prop::collection::vec(any::<u64>(), 0..40), text in ".*", small in any::<u8>(),
        ) {
            let doubles: Vec<f64> = bits.iter().map(|&b| f64::from_bits(b)).collect();
            let back: Vec<u64> = round_trip(&doubles).iter().map(|v| v.to_bits()).collect();
            prop_assert_eq!(&back, &bits);
            prop_assert_eq!(round_trip(&bits), bits.clone());
            prop_assert_eq!(round_trip(&text), text);
            prop_assert_eq!(round_trip(&small), small);
            prop_assert_eq!(round_trip(&bits.len()), bits.len());
        }

        #[test]
        fn malformed_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(Vec::<f32>::unpack(&bytes, &()).is_ok(), bytes.len() % 4 == 0);
            prop_assert_eq!(Vec::<f64>::unpack(&bytes, &()).is_ok(), bytes.len() % 8 == 0);
            prop_assert_eq!(u64::unpack(&bytes, &()).is_ok(), bytes.len() == 8);
            prop_assert_eq!(f32::unpack(&bytes, &()).is_ok(), bytes.len() == 4);
            prop_assert_eq!(<()>::unpack(&bytes, &()).is_ok(), bytes.is_empty());
            prop_assert_eq!(String::unpack(&bytes, &()).is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }

    #[test]
    fn messages_say_what_was_wrong() {
        let error = Vec::<f64>::unpack(&[0; 9], &()).unwrap_err().to_string();
        assert!(error.starts_with("malformed vector of f64: expected a multiple of 8 bytes, got 9 bytes"), "{error}");
    }
}
