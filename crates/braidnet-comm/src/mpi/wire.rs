//! How a message looks on its way: a header of 16 bytes, then the payload.
//!
//! An MPI receive must know its size before the message is known. So both ends of a channel keep the same capacity, by
//! following the same rule: it starts at [`FIRST_CAPACITY`], and a message that does not fit is announced by a
//! [`Header::Grow`] with the new capacity. The receiver has one receive posted at a time, so it re-posts with the new
//! capacity before the message itself can match.

use crate::CommError;

/// The bytes of a header.
pub(crate) const N_HEADER: usize = 16;

/// The capacity of a new channel, header included: small messages need no announcement.
pub(crate) const FIRST_CAPACITY: usize = 256;

/// The most that one MPI call counts in bytes.
pub(crate) const LIMIT: usize = i32::MAX as usize;

const DATA: u32 = 0;
const GROW: u32 = 1;
const LENT: u32 = 2;

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// A payload of this many bytes, of a type with this fingerprint.
    Data { fingerprint: u32, n_bytes: usize },
    /// So many bytes about a value of this type whose buffers follow apart: see [`Lent`](super::lent::Lent).
    Lent { fingerprint: u32, n_bytes: usize },
    /// Nothing: the next message needs this capacity.
    Grow { capacity: usize },
}

impl Header {
    /// Appends the header to an empty buffer.
    pub fn pack(self, out: &mut Vec<u8>) {
        let (kind, fingerprint, length) = match self {
            Self::Data { fingerprint, n_bytes } => (DATA, fingerprint, n_bytes),
            Self::Lent { fingerprint, n_bytes } => (LENT, fingerprint, n_bytes),
            Self::Grow { capacity } => (GROW, 0, capacity),
        };
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&fingerprint.to_le_bytes());
        out.extend_from_slice(&(length as u64).to_le_bytes());
    }

    /// Reads the header of a whole message.
    pub fn unpack(message: &[u8]) -> Result<Self, CommError> {
        let wrong = || CommError::malformed("message", "a header and its payload", format!("{} bytes", message.len()));
        let ([kind, fingerprint], rest) =
            message.split_first_chunk::<8>().map(|(head, rest)| (halves(head), rest)).ok_or_else(wrong)?;
        let (length, payload) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
        let length = u64::from_le_bytes(*length);
        match kind {
            DATA if length == payload.len() as u64 => Ok(Self::Data { fingerprint, n_bytes: payload.len() }),
            LENT if length == payload.len() as u64 => Ok(Self::Lent { fingerprint, n_bytes: payload.len() }),
            GROW if payload.is_empty() && length <= LIMIT as u64 => Ok(Self::Grow { capacity: length as usize }),
            _ => Err(wrong()),
        }
    }
}

fn halves(bytes: &[u8; 8]) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = *bytes;
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// A number that tells types apart; all ranks run the same program, so they agree on it.
pub(crate) fn fingerprint(type_name: &str) -> u32 {
    // FNV-1a.
    type_name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The capacity that a message of `n_bytes` in all asks for: the next power of two, so that a channel grows rarely.
pub(crate) fn grown(n_bytes: usize) -> usize {
    n_bytes.next_power_of_two().min(LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_way() {
        let (fingerprint, n_bytes) = (7, 3);
        let grow = Header::Grow { capacity: 4096 };
        for header in [Header::Data { fingerprint, n_bytes }, Header::Lent { fingerprint, n_bytes }, grow] {
            let mut message = Vec::new();
            header.pack(&mut message);
            assert_eq!(message.len(), N_HEADER);
            if header != grow {
                message.resize(N_HEADER + n_bytes, 1);
            }
            assert_eq!(Header::unpack(&message), Ok(header));
            message.push(0);
            assert!(Header::unpack(&message).is_err());
        }
        assert!(Header::unpack(&[0; 15]).is_err());
        assert!(Header::unpack(&[9; 16]).is_err());
    }

    #[test]
    fn types_have_fingerprints() {
        assert_ne!(fingerprint("f32"), fingerprint("f64"));
        assert_eq!(grown(257), 512);
        assert_eq!(grown(LIMIT), LIMIT);
    }
}
