//! Waiting for each other.

use crate::communicator::tags;
use crate::timeline::span;
use crate::{CommError, Communicator};

impl Communicator {
    /// Returns once every rank has called it.
    ///
    /// # Errors
    /// Those of [`send`](Self::send) and [`Receive::wait`](crate::Receive::wait).
    ///
    /// # Communication
    /// Collective. Dissemination: `log2 size` rounds, one empty message of every rank in each.
    pub fn barrier(&self) -> Result<(), CommError> {
        let _span = span!("barrier");
        let (rank, size) = (self.rank(), self.size());
        let mut step = 1;
        while step < size {
            let receive = self.post::<()>((rank + size - step) % size, tags::BARRIER)?;
            self.send_collective((rank + step) % size, tags::BARRIER, ())?;
            receive.wait(&())?;
            step *= 2;
        }
        Ok(())
    }
}
