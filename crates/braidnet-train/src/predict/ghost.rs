//! States without numbers: they have a size, and what is done with them takes time.

use braidnet_comm::simulate::spend;
use braidnet_comm::{CommError, Transfer};
use braidnet_mgrit::State;

use super::costs::StateCosts;

/// A state of which only the size counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ghost {
    n_bytes: usize,
    /// Seconds of an operation on it.
    axpy: f64,
    /// Seconds of its norm.
    norm: f64,
}

impl Ghost {
    pub fn new(n_bytes: usize, costs: StateCosts, slowdown: f64) -> Self {
        let of = |call: f64, per_byte: f64| slowdown * (call + per_byte * n_bytes as f64);
        let StateCosts { axpy, axpy_per_byte, norm, norm_per_byte } = costs;
        Self { n_bytes, axpy: of(axpy, axpy_per_byte), norm: of(norm, norm_per_byte) }
    }
}

impl Transfer for Ghost {
    /// One to compare with: the times of operations do not travel.
    type Context = Self;

    fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    fn pack(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + self.n_bytes, 0);
    }

    fn unpack(bytes: &[u8], context: &Self) -> Result<Self, CommError> {
        Ok(Self { n_bytes: bytes.len(), ..*context })
    }
}

impl State for Ghost {
    fn axpy(&mut self, _: f64, _: &Self) {
        spend(self.axpy);
    }

    fn scale(&mut self, _: f64) {
        spend(self.axpy);
    }

    fn multiply(&mut self, _: &Self) {
        spend(self.axpy);
    }

    fn norm_squared(&self) -> f64 {
        spend(self.norm);
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ghost_travels_as_its_size() {
        let ghost = Ghost::new(12, StateCosts { axpy_per_byte: 2.0, ..StateCosts::default() }, 1.5);
        let mut bytes = Vec::new();
        ghost.pack(&mut bytes);
        assert_eq!((bytes.len(), ghost.axpy), (12, 36.0));
        assert_eq!(Ghost::unpack(&bytes, &ghost), Ok(ghost));
    }
}
