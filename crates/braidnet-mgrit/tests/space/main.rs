//! Networks whose states differ in shape: from layer to layer, and from level to level where levels coarsen in space.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

#[path = "../common/mod.rs"]
mod common;

mod blocks;
mod coarsening;
mod transpose;
