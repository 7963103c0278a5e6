//! Which rank a thread works for, so that logs and timelines can say so.

use std::cell::Cell;

thread_local! {
    static RANK: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The rank of the world that this thread works for; `None` outside a launch, and on threads that nobody assigned.
pub fn thread_rank() -> Option<usize> {
    RANK.get()
}

/// Says that this thread works for `rank`: for threads that a rank starts, as its data loader.
pub fn set_thread_rank(rank: usize) {
    RANK.set(Some(rank));
}
