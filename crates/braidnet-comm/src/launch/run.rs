//! One rank's program, with its panics caught.

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Communicator;

/// The stack of a rank's thread. Only what is touched takes memory.
pub(crate) const STACK: usize = 64 << 20;

/// Runs the program; an error or a panic becomes its message.
pub(crate) fn run_rank<T, E: Display>(
    world: Communicator,
    program: &impl Fn(Communicator) -> Result<T, E>,
) -> Result<T, String> {
    crate::set_thread_rank(world.rank());
    // Nothing that the program may have left half changed is looked at after a panic.
    let result = catch_unwind(AssertUnwindSafe(|| program(world).map_err(|error| error.to_string())));
    result.unwrap_or_else(|panic| Err(format!("panicked: {}", message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
