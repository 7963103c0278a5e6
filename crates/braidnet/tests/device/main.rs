//! What must hold on every device, on the one that `BRAIDNET_TEST_DEVICE` names (`vulkan`, `cuda:0`): a failure where that one
//! cannot be had, skipped where nothing is named.
#![allow(missing_docs, clippy::unwrap_used)] // What helpers run into fails their test.

mod checkpoints;
mod given;
mod kinds;
mod optimizers;
mod precision;
#[path = "../../examples/reference/mod.rs"]
mod reference;
mod schedules;
mod torch;
mod train;
