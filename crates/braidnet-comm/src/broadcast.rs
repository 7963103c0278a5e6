//! One value to all ranks.

use crate::communicator::tags;
use crate::timeline::span;
use crate::{CommError, Communicator, Transfer};

impl Communicator {
    /// Gives the root's value to every rank. The other ranks' `value` is ignored.
    ///
    /// # Errors
    /// [`NoSuchRank`](CommError::NoSuchRank) for the root, [`NoValue`](CommError::NoValue) on a root without a value,
    /// and those of [`send`](Self::send) and [`Receive::wait`](crate::Receive::wait).
    ///
    /// # Communication
    /// Collective. A binomial tree: `size - 1` messages in all, at most `log2 size` one after the other.
    pub fn broadcast<T: Transfer + Clone>(
        &self,
        root: usize,
        value: Option<T>,
        context: &T::Context,
    ) -> Result<T, CommError> {
        let _span = span!("broadcast");
        self.check_rank(root)?;
        let size = self.size();
        // The tree is rooted at 0; a rank takes the place of its distance from the root.
        let place = (self.rank() + size - root) % size;
        let rank_at = |place: usize| (place + root) % size;
        let reach = if place == 0 { size.next_power_of_two() } else { lowest_bit(place) };
        let value = if place == 0 {
            value.ok_or(CommError::NoValue { root })?
        } else {
            self.post(rank_at(place - reach), tags::BROADCAST)?.wait(context)?
        };
        let mut step = reach / 2;
        while step > 0 {
            if place + step < size {
                self.send_collective(rank_at(place + step), tags::BROADCAST, value.clone())?;
            }
            step /= 2;
        }
        Ok(value)
    }
}

fn lowest_bit(place: usize) -> usize {
    1 << place.trailing_zeros()
}
