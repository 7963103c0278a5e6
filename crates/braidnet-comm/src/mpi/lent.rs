//! Buffers that travel apart from their message, from where they are to where they belong.
//!
//! A message that lends buffers tells their sizes and a number from which the MPI tags of the buffers follow. They travel
//! on a world of their own, each under a tag that no other buffer on its way between these ranks has. So a receiver
//! may fetch them in any order, once it has made room, and meanwhile the channel of the message goes on.

use crate::{CommError, DeviceBuffer, Transfer};

/// What a message says about the buffers it lends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lent {
    /// The sender, in the world.
    pub from: usize,
    /// How many buffers the sender had lent this rank before.
    pub first: u64,
    /// The bytes of each buffer.
    pub sizes: Vec<usize>,
}

impl Lent {
    /// Appends the number of buffers, the first one's number, and the sizes.
    pub fn pack(first: u64, buffers: &[DeviceBuffer], out: &mut Vec<u8>) {
        let sizes = buffers.iter().map(|buffer| buffer.n_bytes() as u64);
        let words = [buffers.len() as u64, first].into_iter().chain(sizes);
        out.extend(words.flat_map(u64::to_le_bytes));
    }

    /// What [`pack`](Self::pack) wrote at the start of `bytes`, and how long it is.
    pub fn unpack(bytes: &[u8], from: usize) -> Result<(Self, usize), CommError> {
        let malformed =
            || CommError::malformed("announcement of buffers", "their sizes", format!("{} bytes", bytes.len()));
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let (n, first) = words.next().zip(words.next()).ok_or_else(malformed)?;
        let n = usize::try_from(n).ok().filter(|&n| n <= words.len()).ok_or_else(malformed)?;
        let sizes = words.take(n).map(usize::try_from).collect::<Result<Vec<_>, _>>().map_err(|_| malformed())?;
        Ok((Self { from, first, sizes }, (2 + n) * size_of::<u64>()))
    }

    /// The MPI tags of the buffers.
    pub fn tags(&self, n_tags: u64) -> impl Iterator<Item = i32> {
        tags(self.first, n_tags).take(self.sizes.len())
    }

    /// A value of the receiver's type, and buffers of it that this message's fit.
    pub fn room<T: Transfer>(&self, head: &[u8], context: &T::Context) -> Result<(T, Vec<DeviceBuffer>), CommError> {
        let value = T::room(head, context)?;
        let rooms = value.lend().unwrap_or_default();
        let sizes: Vec<usize> = rooms.iter().map(DeviceBuffer::n_bytes).collect();
        if sizes == self.sizes {
            return Ok((value, rooms));
        }
        let (expected, got) = (format!("buffers of {sizes:?} bytes"), format!("buffers of {:?} bytes", self.sizes));
        Err(CommError::malformed(std::any::type_name::<T>(), expected, got))
    }
}

/// The tags from a buffer's number on. They come round after as many buffers as there are tags.
pub(crate) fn tags(first: u64, n_tags: u64) -> impl Iterator<Item = i32> {
    // MPI's tags are non-negative `c_int`s, so the remainder is one.
    (first..).map(move |number| (number % n_tags) as i32)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn announcements_survive_the_way() {
        let buffers =
            [0, 5].map(|n| DeviceBuffer::of_host((0..n).map(std::sync::atomic::AtomicU8::new).collect::<Arc<_>>()));
        let mut bytes = Vec::new();
        Lent::pack(7, &buffers, &mut bytes);
        let lent = Lent { from: 3, first: 7, sizes: vec![0, 5] };
        bytes.extend_from_slice(b"head");
        let (got, at) = Lent::unpack(&bytes, 3).unwrap();
        assert_eq!((&got, &bytes[at..]), (&lent, &b"head"[..]));
        assert_eq!(lent.tags(8).collect::<Vec<_>>(), [7, 0]);
        for n in 0..at {
            assert!(Lent::unpack(&bytes[..n], 3).is_err());
        }
        assert!(Lent::unpack(&[255; 64], 3).is_err());
    }
}
