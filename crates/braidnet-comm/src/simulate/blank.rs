//! Numbers that nobody looks at.

use crate::transfer::sealed::Sealed;
use crate::{CommError, Plain, Reduce, ReduceOp};

/// A number of four bytes that takes no memory: a `Vec<Blank>` of a million travels as 4 MB and occupies nothing, for
/// simulations in which only the sizes of messages matter. Combining two does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Blank;

impl Sealed for Blank {}

impl Plain for Blank {
    const N_BYTES: usize = 4;

    fn pack_all(values: &[Self], out: &mut Vec<u8>) {
        out.resize(out.len() + values.len() * Self::N_BYTES, 0);
    }

    fn unpack_all(bytes: &[u8]) -> Result<Vec<Self>, CommError> {
        if bytes.len().is_multiple_of(Self::N_BYTES) {
            return Ok(vec![Self; bytes.len() / Self::N_BYTES]);
        }
        let expected = format!("a multiple of {} bytes", Self::N_BYTES);
        Err(CommError::malformed("vector of blanks", expected, format!("{} bytes", bytes.len())))
    }
}

impl Reduce for Blank {
    fn combine(self, _other: Self, _op: ReduceOp) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transfer;

    #[test]
    fn a_million_travel_as_four_megabytes() {
        let blanks = vec![Blank; 1_000_000];
        assert_eq!((blanks.n_bytes(), size_of_val(&*blanks)), (4_000_000, 0));
        let mut bytes = vec![7];
        blanks[..3].to_vec().pack(&mut bytes);
        assert_eq!(bytes.len(), 13);
        assert_eq!(Vec::<Blank>::unpack(&bytes[1..], &()), Ok(vec![Blank; 3]));
        let error = Vec::<Blank>::unpack(&bytes, &()).unwrap_err().to_string();
        assert!(
            error.starts_with("malformed vector of blanks: expected a multiple of 4 bytes, got 13 bytes"),
            "{error}"
        );
    }
}
