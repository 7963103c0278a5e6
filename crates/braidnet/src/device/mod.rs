//! Devices that tensors live on, chosen by name: `flex`, `cuda:1`, `vulkan:cpu`.
//!
//! | file | what |
//! |---|---|
//! | `spec.rs` | what a user types, and which of a machine's devices a rank takes |
//! | `kind.rs` | the kinds of devices, the features that build them, and those that are here |
//! | `open.rs` | opening one for a rank, tried out first |
//! | `probe.rs` | the first operation, whose panics become errors |
//! | `launches.rs` | counting the kernels that a piece of work starts |
//! | `error.rs` | everything that can be wrong |

mod error;
mod kind;
mod launches;
mod open;
mod probe;
mod spec;

pub use error::DeviceError;
pub use kind::DeviceKind;
pub use launches::{Launches, count_launches};
pub use open::{Opened, open};
pub use spec::{DeviceSpec, Place};
